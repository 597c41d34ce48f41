/** What happens when all of a message is there: last checks, the queue's verdict, the reply (smtpd.md 7). */
import { cleanupStatusBit } from "../../lib/ipc/protocols/cleanup.ts";
import { isRejectReply } from "../../lib/smtp/reply.ts";
import { printable } from "../../lib/sys/bytes.ts";
import type { Content } from "./content.ts";
import { endContent } from "./message.ts";
import type { MessageStream, QueueOutcome } from "./message_stream.ts";
import type { ProxyFilter } from "./proxy_filter.ts";
import type { Session } from "./session.ts";
import type { MessageTarget, Transaction } from "./transaction.ts";

const bit = cleanupStatusBit;

/** Finishes the message and answers; true when it was accepted. The transaction is over in any case. */
export async function endOfData(
  session: Session,
  transaction: Transaction,
  stream: MessageTarget,
  content: Content,
  sawBareLf: boolean,
  /** `chunk`: a chunk that is not the last has gone wrong. */
  how: "DATA" | "BDAT" | "chunk",
): Promise<boolean> {
  session.where = how === "chunk" ? "BDAT content" : "END-OF-MESSAGE";
  const { settings } = session;
  let local = 0;
  if (sawBareLf && settings.bareLf === "note") session.sawBareLf = true;
  if (content.tooBig) local |= bit("SIZE");
  if (!stream.writable) local |= bit("WRITE");
  if (sawBareLf && settings.bareLf === "reject") local |= bit("BARE_LF");
  if (local === 0 && !session.standAlone) {
    const checked = session.access.endOfData(content.size);
    const refusal = checked instanceof Promise ? await checked : checked;
    if (refusal !== undefined) {
      session.resetTransaction();
      await session.refuse(refusal);
      await session.chat.flush();
      return false;
    }
  }
  if ((local & bit("BARE_LF")) !== 0) session.logDecision("reject", "bare <LF> received");
  const result =
    stream.kind === "proxy"
      ? await throughFilter(session, stream, local)
      : await intoQueue(session, transaction, stream, local, how === "BDAT" ? content.size : undefined);
  session.endTransaction();
  if (result.accepted) session.forgiveErrors();
  const replied = session.reply(result.reply);
  if (replied instanceof Promise) await replied;
  // The client must not repeat a message because the reply waited for the next command.
  const flushed = session.chat.flush();
  if (flushed instanceof Promise) await flushed;
  return result.accepted;
}

interface Result {
  readonly accepted: boolean;
  readonly reply: string;
}

/** `bytes`: the size that the reply names. */
async function intoQueue(
  session: Session,
  transaction: Transaction,
  stream: MessageStream,
  local: number,
  bytes: number | undefined,
): Promise<Result> {
  let outcome: QueueOutcome = { status: local, reason: "" };
  if (local !== 0) stream.abort();
  else {
    endContent(session, transaction, stream);
    outcome = await stream.finish();
    if (!stream.writable) outcome = { status: bit("WRITE"), reason: "" };
  }
  if (outcome.status !== 0) return { accepted: false, reply: refusalText(session, outcome) };
  return {
    accepted: true,
    reply: `250 2.0.0 Ok: ${bytes === undefined ? "" : `${bytes} bytes `}queued as ${stream.id}`,
  };
}

/** The filter's reply is ours. */
async function throughFilter(session: Session, filter: ProxyFilter, local: number): Promise<Result> {
  let result: Result;
  if (local !== 0) {
    filter.abort();
    result = { accepted: false, reply: refusalText(session, { status: local, reason: "" }) };
  } else {
    const verdict = await filter.finish();
    if (verdict.errorClass !== undefined) session.noteError(verdict.errorClass);
    result = verdict;
  }
  session.logProxied(result.accepted, result.reply);
  return result;
}

function refusalText(session: Session, { status, reason }: QueueOutcome): string {
  const { settings } = session;
  if ((status & bit("BARE_LF")) !== 0) {
    session.noteError("protocol");
    return `${settings.bareLfCode} 5.5.2 ${settings.myhostname} Error: bare <LF> received`;
  }
  if (isRejectReply(reason.split("\n")[0] ?? "")) {
    session.noteError("policy");
    return reason
      .split(/\r?\n/)
      .map((line) => printable(line, false, " "))
      .join("\r\n");
  }
  const clean = printable(reason, settings.utf8, " ");
  if ((status & bit("DEFER")) !== 0)
    return reason === "" ? "451 4.7.1 Error: service unavailable" : `451 ${clean}`;
  if ((status & bit("BAD")) !== 0) {
    session.noteError("software");
    return `451 4.3.0 Error: internal error ${status}`;
  }
  if ((status & bit("SIZE")) !== 0) {
    session.noteError("bounce");
    return "552 5.3.4 Error: message file too big";
  }
  if ((status & bit("HOPS")) !== 0) {
    session.noteError("bounce");
    return "554 5.4.0 Error: too many hops";
  }
  if ((status & bit("CONT")) !== 0) {
    session.noteError("policy");
    return reason === "" ? "550 5.7.1 Error: message content rejected" : `550 ${clean}`;
  }
  if ((status & bit("WRITE")) !== 0) {
    session.noteError("resource");
    return "451 4.3.0 Error: queue file write error";
  }
  session.noteError("software");
  return `451 4.3.0 Error: internal error ${status}`;
}
