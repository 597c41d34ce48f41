/** The commands of a transaction, and what is said about each. */
import type { Recipient } from "../../lib/delivery/request.ts";
import { type Dsn, dsn } from "../../lib/delivery/status.ts";
import type { ServerReply } from "../../lib/smtp/client_reply.ts";
import { type Breakdown, breakdown, nameAddress, type SmtpSession } from "../../lib/smtp/client_session.ts";

/** A command whose reply is due. */
export type Step =
  | { readonly kind: "probe" | "xforwardName" | "xforwardProtocol" | "mail" | "data" | "rset" | "quit" }
  | { readonly kind: "rcpt"; readonly recipient: Recipient }
  /** The end of data: one reply for the message, in LMTP one for each accepted recipient. */
  | { readonly kind: "dot"; readonly recipients: ReadonlyArray<Recipient> };

/** What is being done, in texts about broken connections. */
export const DOING: Readonly<Record<Step["kind"], string>> = {
  probe: "sending RSET probe",
  xforwardName: "sending XFORWARD name/address",
  xforwardProtocol: "sending XFORWARD protocol/helo_name",
  mail: "sending MAIL FROM",
  rcpt: "sending RCPT TO",
  data: "sending DATA command",
  dot: "sending end of data -- message may be sent more than once",
  rset: "sending final RSET",
  quit: "sending QUIT",
};
export const DOING_BODY = "sending message body";

export const isPositive = (reply: ServerReply): boolean => reply.code >= 200 && reply.code < 300;
/** 354, and whatever a server says in its place. */
export const isIntermediate = (reply: ServerReply): boolean => reply.code >= 300 && reply.code < 400;

/** The connection broke; what it was doing is in session.state. */
export function brokenStatus(session: SmtpSession, kind: Breakdown): Dsn {
  const peer = nameAddress(session.peer);
  if (kind === "data") return dsn("4.3.0", `local data error while talking to ${peer}`);
  const what = kind === "timeout" ? `conversation with ${peer} timed out` : `lost connection with ${peer}`;
  return dsn("4.4.2", `${what} while ${session.state}`);
}

/** Says QUIT to a server that is of no use; what it answers, or whether it does, does not matter. */
export async function sayQuit(session: SmtpSession, seconds: number, skipResponse: boolean): Promise<void> {
  if (session.broken || session.quitting || session.channel.closed) return;
  session.quitting = true;
  try {
    session.command("QUIT");
    await session.flush(seconds);
    if (!skipResponse) await session.reply(seconds);
  } catch (error) {
    if (breakdown(error) === undefined) throw error;
  }
}
