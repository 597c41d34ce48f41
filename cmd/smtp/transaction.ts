/** One mail transaction over a session that is ready for it: commands, replies, content (delivery.md 9.2). */
import type { Recipient } from "../../lib/delivery/request.ts";
import { dsn, isTraceOnly } from "../../lib/delivery/status.ts";
import { warning } from "../../lib/log/log.ts";
import { UnsafeCommand } from "../../lib/smtp/client_command.ts";
import { CommandPipeline } from "../../lib/smtp/client_pipeline.ts";
import type { ServerReply } from "../../lib/smtp/client_reply.ts";
import {
  type Breakdown,
  breakdown,
  nameAddress,
  nameAddressPort,
  type SmtpSession,
} from "../../lib/smtp/client_session.ts";
import { ChecksFailed } from "./checks.ts";
import { ContentFailure, needsDowngrade, writeContent } from "./content.ts";
import type { ContentWriter } from "./content_writer.ts";
import { type Delivery, flatReply, isProtocolError, refusal, replyStatus } from "./delivery.ts";
import { mailCommand, rcptCommand, xforwardCommands } from "./envelope.ts";
import type { PixWorkarounds } from "./hello.ts";
import type { SessionNotes } from "./notice.ts";

/** A command whose reply is due. */
type Step =
  | { readonly kind: "xforwardName" | "xforwardProtocol" | "mail" | "data" | "rset" | "quit" }
  | { readonly kind: "rcpt"; readonly recipient: Recipient }
  /** The end of data: one reply for the message, in LMTP one for each accepted recipient. */
  | { readonly kind: "dot"; readonly recipients: ReadonlyArray<Recipient> };

/** What is being done, in texts about broken connections. */
const DOING: Readonly<Record<Step["kind"], string>> = {
  xforwardName: "sending XFORWARD name/address",
  xforwardProtocol: "sending XFORWARD protocol/helo_name",
  mail: "sending MAIL FROM",
  rcpt: "sending RCPT TO",
  data: "sending DATA command",
  dot: "sending end of data -- message may be sent more than once",
  rset: "sending final RSET",
  quit: "sending QUIT",
};
const DOING_BODY = "sending message body";

/** The connection broke; what it was doing is in session.state. */
export function brokenStatus(session: SmtpSession, kind: Breakdown) {
  const peer = nameAddress(session.peer);
  const what = kind === "timeout" ? `conversation with ${peer} timed out` : `lost connection with ${peer}`;
  return dsn("4.4.2", `${what} while ${session.state}`);
}

const isPositive = (reply: ServerReply): boolean => reply.code >= 200 && reply.code < 300;

export interface TransactionOptions {
  readonly pix: PixWorkarounds;
  /** The connection may be kept for another delivery when all goes well. */
  readonly mayKeep: boolean;
}

class Transaction {
  readonly #delivery: Delivery;
  readonly #session: SmtpSession;
  readonly #pipe: CommandPipeline<Step>;
  readonly #pipelining: boolean;
  /** Recipients that go to another server although this one is still used. */
  readonly #kept = new Set<Recipient>();
  readonly #accepted: Recipient[] = [];
  #mailRejected = false;
  #dataCode = 0;
  /** A transaction is open at the server. */
  #open = false;
  /** Content is on its way. */
  #inContent = false;
  /** The outcome is settled: what breaks now does not matter. */
  #settled = false;
  #keep: boolean;

  constructor(
    delivery: Delivery,
    session: SmtpSession,
    private readonly notes: SessionNotes,
    private readonly options: TransactionOptions,
  ) {
    this.#delivery = delivery;
    this.#session = session;
    this.#keep = options.mayKeep;
    this.#pipelining = session.features.keywords.has("PIPELINING");
    this.#pipe = new CommandPipeline<Step>(
      session,
      this.#pipelining,
      (step, reply) => this.#onReply(step, reply),
      (step) => {
        session.state = DOING[step.kind];
      },
    );
    if (this.#pipelining)
      session.onJunk = (line) => {
        const protocol = delivery.agent.settings.mode === "smtp" ? "ESMTP" : "LMTP";
        warning(
          `${delivery.queueId}: non-${protocol} response from ${nameAddressPort(session.peer)}: ${line}`,
        );
        warning(
          `to prevent loss of mail, turn off command pipelining for ${session.peer.address} with the ${delivery.agent.settings.name("discard_ehlo_keyword_address_maps")} parameter`,
        );
      };
  }

  get #settings() {
    return this.#delivery.agent.settings;
  }

  /** Runs the transaction; true when the connection can be kept. */
  async run(): Promise<boolean> {
    const session = this.#session;
    try {
      await this.#perform();
      return this.#keep && !session.broken;
    } catch (error) {
      session.broken = true;
      await this.#onError(error);
      return false;
    } finally {
      session.onJunk = undefined;
    }
  }

  /** Recipients that this transaction still has to account for. */
  #pending(): Recipient[] {
    return this.#delivery.remaining.filter((recipient) => !this.#kept.has(recipient));
  }

  async #onError(error: unknown): Promise<void> {
    if (error instanceof ContentFailure) {
      await this.#delivery.fail("message", error.status, this.#session, this.#pending());
      return;
    }
    if (error instanceof ChecksFailed) {
      this.notes.mark("data");
      const status = dsn("4.3.0", `local data error while talking to ${nameAddress(this.#session.peer)}`);
      await this.#delivery.fail("site", status, this.#session, this.#pending());
      return;
    }
    const kind = breakdown(error);
    if (kind === undefined) throw error;
    if (this.#settled || this.#pending().length === 0) return;
    if (this.#inContent && (await this.#earlyRefusal())) return;
    await this.#delivery.fail("site", brokenStatus(this.#session, kind), this.#session, this.#pending());
  }

  /** The server may have said why before it closed the connection in the middle of the content. */
  async #earlyRefusal(): Promise<boolean> {
    if (this.#session.channel.buffered === 0) return false;
    try {
      const reply = await this.#session.reply(1);
      if (reply.code < 400) return false;
      await this.#delivery.fail(
        "message",
        refusal(this.#session, reply, "end of DATA command"),
        this.#session,
        this.#pending(),
      );
      return true;
    } catch (error) {
      if (breakdown(error) === undefined) throw error;
      return false;
    }
  }

  async #perform(): Promise<void> {
    const { request } = this.#delivery;
    const { features, peer } = this.#session;
    const { sizeLimit } = features;
    if (sizeLimit > 0 && request.size > sizeLimit) {
      const reason = `message size ${request.size} exceeds size limit ${sizeLimit} of server ${nameAddress(peer)}`;
      await this.#delivery.fail("message", dsn("5.3.4", reason), this.#session, this.#pending());
      if (!this.#keep) this.#session.broken = true;
      return;
    }
    if (!(await this.#sendEnvelope())) return this.#abandon();
    if (this.#isProbe && this.#settings.get("address_verify_target") !== "data") return this.#abandon();
    if (!(await this.#command({ kind: "data" }, "DATA", this.#settings.limits.dataInit)))
      return this.#abandon();
    await this.#pipe.collect();
    if (this.#dataCode === 354 || (this.#dataCode >= 300 && this.#dataCode < 400)) return this.#sendContent();
    return this.#abandon();
  }

  get #isProbe(): boolean {
    return isTraceOnly(this.#delivery.request.flags);
  }

  /** Sends a command as the pipeline allows; false when replies that came meanwhile make it pointless. */
  async #command(step: Step, line: string, seconds: number): Promise<boolean> {
    if (this.#pipe.mustCollect(line)) {
      await this.#pipe.collect();
      if (this.#isPointless(step)) return false;
    }
    this.#pipe.add(step, line, seconds);
    return true;
  }

  #isPointless(step: Step): boolean {
    if (step.kind === "rcpt") return this.#mailRejected;
    return step.kind === "data" && (this.#mailRejected || this.#accepted.length === 0);
  }

  /** XFORWARD, MAIL and RCPT; false when DATA is not to follow. */
  async #sendEnvelope(): Promise<boolean> {
    const delivery = this.#delivery;
    const { limits } = this.#settings;
    const { features } = this.#session;
    const mail = await this.#safely(() => mailCommand(delivery, features));
    if (mail === undefined) {
      const status = dsn("5.1.7", "bad sender address syntax");
      await delivery.fail("message", status, this.#session, this.#pending());
      return false;
    }
    const xforward = xforwardCommands(delivery, features);
    if (xforward.nameAddress !== undefined)
      await this.#command({ kind: "xforwardName" }, xforward.nameAddress, limits.xforward);
    if (xforward.protocolHelo !== undefined)
      await this.#command({ kind: "xforwardProtocol" }, xforward.protocolHelo, limits.xforward);
    await this.#command({ kind: "mail" }, mail, limits.mail);
    this.#open = true;
    let sent = 0;
    for (const recipient of this.#pending()) {
      const line = await this.#safely(() => rcptCommand(delivery, recipient, features));
      if (line === undefined) {
        await delivery.finish(dsn("5.1.3", "bad recipient address syntax"), this.#session, [recipient]);
        continue;
      }
      if (!(await this.#command({ kind: "rcpt", recipient }, line, limits.rcpt))) return false;
      sent++;
    }
    if (sent > 0) return true;
    await this.#pipe.collect();
    return false;
  }

  /** A command's text, undefined when it would hold control characters. */
  async #safely(make: () => Promise<string>): Promise<string | undefined> {
    try {
      return await make();
    } catch (error) {
      if (error instanceof UnsafeCommand) return undefined;
      throw error;
    }
  }

  async #onReply(step: Step, reply: ServerReply): Promise<void> {
    const session = this.#session;
    if (
      step.kind !== "quit" &&
      step.kind !== "rset" &&
      !(step.kind === "data" ? reply.code === 354 : isPositive(reply))
    )
      if (isProtocolError(reply)) this.notes.mark("protocol");
    switch (step.kind) {
      case "xforwardName":
      case "xforwardProtocol":
        if (!isPositive(reply))
          warning(
            `host ${nameAddressPort(session.peer)} said: ${flatReply(reply)} (in reply to ${XFORWARD_COMMAND[step.kind]})`,
          );
        return;
      case "mail":
        if (isPositive(reply)) return;
        this.#mailRejected = true;
        await this.#failPending(reply, "MAIL FROM command");
        return;
      case "rcpt":
        return this.#onRecipient(step.recipient, reply);
      case "data":
        this.#dataCode = reply.code;
        if (reply.code >= 300 && reply.code < 400) {
          if (this.#isProbe) await this.#probeAccepted(reply);
          return;
        }
        if (!this.#mailRejected && this.#accepted.length > 0) await this.#failAccepted(reply, "DATA command");
        return;
      case "dot":
        return this.#onEndOfData(step.recipients, reply);
      case "rset":
        if (!isPositive(reply)) this.#keep = false;
        return;
      case "quit":
        return;
    }
  }

  async #failPending(reply: ServerReply, command: string): Promise<void> {
    await this.#delivery.fail(
      "message",
      refusal(this.#session, reply, command),
      this.#session,
      this.#pending(),
    );
  }
  async #failAccepted(reply: ServerReply, command: string): Promise<void> {
    await this.#delivery.fail(
      "message",
      refusal(this.#session, reply, command),
      this.#session,
      this.#accepted,
    );
  }

  async #onRecipient(recipient: Recipient, reply: ServerReply): Promise<void> {
    if (this.#mailRejected) return;
    const delivery = this.#delivery;
    if (!isPositive(reply)) {
      if (
        await delivery.failRecipient(
          recipient,
          refusal(this.#session, reply, "RCPT TO command"),
          this.#session,
        )
      )
        this.#kept.add(recipient);
      return;
    }
    if (this.#isProbe && this.#settings.get("address_verify_target") !== "data")
      await delivery.succeed(recipient, replyStatus(this.#session, reply, flatReply(reply)), this.#session);
    else this.#accepted.push(recipient);
  }

  /** The data stage was reached: that is all a probe wants to know. */
  async #probeAccepted(reply: ServerReply): Promise<void> {
    for (const recipient of this.#accepted) {
      const status = replyStatus(this.#session, reply, flatReply(reply));
      await this.#delivery.succeed(recipient, { ...status, status: "2.0.0" }, this.#session);
    }
  }

  /** How success is reported: this system has handed the message on, unless the server is the final place. */
  get #successAction(): string {
    const final = this.#delivery.agent.flags.finalDelivery || this.#settings.assumeFinal;
    return this.#settings.mode === "lmtp" && final && !this.#session.features.keywords.has("DSN")
      ? "delivered"
      : "relayed";
  }

  async #onEndOfData(recipients: ReadonlyArray<Recipient>, reply: ServerReply): Promise<void> {
    this.#open = false;
    if (recipients.length === 0) return;
    const session = this.#session;
    const delivery = this.#delivery;
    if (!isPositive(reply)) {
      const status = refusal(session, reply, "end of DATA command");
      if (this.#settings.mode === "smtp") await delivery.fail("message", status, session, recipients);
      else
        for (const recipient of recipients)
          if (await delivery.failRecipient(recipient, status, session)) this.#kept.add(recipient);
      return;
    }
    delivery.transactionCompleted();
    const status = replyStatus(session, reply, flatReply(reply), this.#successAction);
    for (const recipient of recipients) await delivery.succeed(recipient, status, session);
  }

  /** The message, or nothing when nobody is left to get it, and the end of data. */
  async #sendContent(): Promise<void> {
    const session = this.#session;
    if (this.#isProbe) {
      // There is no way back from the data stage but to hang up.
      session.broken = true;
      this.#settled = true;
      return;
    }
    const { limits, mode } = this.#settings;
    const recipients = this.#mailRejected ? [] : this.#accepted;
    const groups =
      mode === "lmtp" && recipients.length > 0 ? recipients.map((recipient) => [recipient]) : [recipients];
    const quitNow = this.#pipelining && !this.#keep;
    const ending = quitNow ? ".\r\nQUIT\r\n" : ".\r\n";
    if (recipients.length === 0) session.channel.write(ending);
    else await this.#sendBody(ending);
    await session.flush(limits.dataTransfer);
    this.#inContent = false;
    session.note(" Out: .");
    if (quitNow) this.#noteQuit();
    for (const group of groups) this.#pipe.expect({ kind: "dot", recipients: group }, limits.dataDone);
    await this.#pipe.collect();
    this.#settled = true;
    if (quitNow) {
      if (!this.#settings.skipQuitResponse) await this.#awaitQuit();
      return;
    }
    if (!this.#keep) await this.#quit();
  }

  async #sendBody(ending: string): Promise<void> {
    const session = this.#session;
    const { limits, perRequestDeadline, minDataRate } = this.#settings;
    session.state = DOING_BODY;
    this.#inContent = true;
    if (perRequestDeadline)
      session.channel.setDeadline(limits.dataTransfer + this.#delivery.request.size / minDataRate);
    const send = async (chunk: Buffer): Promise<void> => {
      session.channel.write(chunk);
      await session.send(limits.dataTransfer);
    };
    const writer: ContentWriter = await writeContent(
      this.#delivery,
      needsDowngrade(this.#delivery, session.features.keywords.has("8BITMIME")),
      send,
    );
    try {
      if (this.options.pix.delayDot) {
        await send(writer.take());
        await new Promise((resolve) =>
          setTimeout(resolve, this.#settings.get("pix_workaround_delay_time") * 1000),
        );
      }
      writer.raw(ending);
      session.state = DOING.dot;
      await send(writer.take());
    } finally {
      writer.release();
    }
  }

  #noteQuit(): void {
    this.#session.note(" Out: QUIT");
    this.#session.quitting = true;
  }

  /** Ends a transaction that leads to nothing. */
  async #abandon(): Promise<void> {
    const session = this.#session;
    await this.#pipe.collect();
    this.#settled = true;
    if (session.broken) return;
    if (this.#open) {
      this.#open = false;
      this.#pipe.add({ kind: "rset" }, "RSET", this.#settings.limits.rset);
      if (this.#keep || !this.#pipelining) await this.#pipe.collect();
    }
    if (this.#keep) return;
    await this.#quit();
  }

  async #quit(): Promise<void> {
    const { limits, skipQuitResponse } = this.#settings;
    this.#session.command("QUIT");
    this.#session.quitting = true;
    if (this.#pipe.outstanding > 0) await this.#pipe.collect();
    else await this.#session.flush(limits.quit);
    if (!skipQuitResponse) await this.#awaitQuit();
  }

  async #awaitQuit(): Promise<void> {
    this.#pipe.expect({ kind: "quit" }, this.#settings.limits.quit);
    await this.#pipe.collect();
  }
}

const XFORWARD_COMMAND = {
  xforwardName: "XFORWARD name/address command",
  xforwardProtocol: "XFORWARD protocol/helo_name command",
} as const;

/** Sends the message to the recipients that are left; true when the connection can be kept for another delivery. */
export const transact = (
  delivery: Delivery,
  session: SmtpSession,
  notes: SessionNotes,
  options: TransactionOptions,
): Promise<boolean> => new Transaction(delivery, session, notes, options).run();

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
