/** The replies of a transaction and what they mean for its recipients (delivery.md 9.2, "Replies"). */
import type { Recipient } from "../../lib/delivery/request.ts";
import { type Dsn, isTraceOnly } from "../../lib/delivery/status.ts";
import { warning } from "../../lib/log/log.ts";
import type { ServerReply } from "../../lib/smtp/client_reply.ts";
import { nameAddressPort, type SmtpSession } from "../../lib/smtp/client_session.ts";
import { inTurn, type Soon } from "../../lib/sys/when.ts";
import { type Delivery, flatReply, isProtocolError, refusal, replyStatus } from "./delivery.ts";
import type { SessionNotes } from "./notice.ts";
import { isIntermediate, isPositive, type Step } from "./steps.ts";

const XFORWARD_COMMAND = {
  xforwardName: "XFORWARD name/address command",
  xforwardProtocol: "XFORWARD helo/protocol command",
} as const;

/** A kept connection turned out to be useless before anything was done with it. */
export class StaleSession extends Error {}

export class Outcome {
  /** Recipients whose acceptance was heard, in the order of the commands. */
  readonly accepted: Recipient[] = [];
  mailRejected = false;
  /** DATA was answered with 354. */
  dataReady = false;
  /** RSET was refused: the session is not to be used again. */
  resetRefused = false;
  /** The server holds an open transaction. */
  open = false;
  /** Recipients that go to another server although this one is still used. */
  readonly #kept = new Set<Recipient>();

  constructor(
    private readonly delivery: Delivery,
    private readonly session: SmtpSession,
    private readonly notes: SessionNotes,
  ) {}

  /** Recipients that the transaction still has to account for. */
  pending(): Recipient[] {
    return this.delivery.remaining.filter((recipient) => !this.#kept.has(recipient));
  }

  /** The pending recipients fail. */
  fail(kind: "site" | "message", status: Dsn): Promise<void> {
    return this.delivery.fail(kind, status, this.session, this.pending());
  }

  get isProbe(): boolean {
    return isTraceOnly(this.delivery.request.flags);
  }
  /** A probe that ends with the replies to RCPT. */
  get endsAtRecipients(): boolean {
    return this.isProbe && this.delivery.agent.settings.verifyTarget !== "data";
  }

  /** Takes the reply to a command. */
  take(step: Step, reply: ServerReply): Soon<void> {
    if (!isExpected(step, reply) && isProtocolError(reply)) this.notes.mark("protocol");
    switch (step.kind) {
      case "probe":
        if (!isPositive(reply)) throw new StaleSession();
        this.session.unproven = false;
        return;
      case "xforwardName":
      case "xforwardProtocol":
        if (!isPositive(reply))
          warning(
            `host ${nameAddressPort(this.session.peer)} said: ${flatReply(reply)} (in reply to ${XFORWARD_COMMAND[step.kind]})`,
          );
        return;
      case "mail":
        if (isPositive(reply)) return;
        this.mailRejected = true;
        return this.fail("message", refusal(this.session, reply, "MAIL FROM command"));
      case "rcpt":
        return this.#recipient(step.recipient, reply);
      case "data":
        return this.#data(reply);
      case "dot":
        return this.#endOfData(step.recipients, reply);
      case "rset":
        if (!isPositive(reply)) this.resetRefused = true;
        return;
      case "quit":
        return;
    }
  }

  #recipient(recipient: Recipient, reply: ServerReply): Soon<void> {
    if (this.mailRejected) return;
    if (!isPositive(reply))
      return this.#failRecipient(recipient, refusal(this.session, reply, "RCPT TO command"));
    if (this.endsAtRecipients)
      return this.delivery.succeed(
        [recipient],
        replyStatus(this.session, reply, flatReply(reply)),
        this.session,
      );
    this.accepted.push(recipient);
  }

  async #failRecipient(recipient: Recipient, status: Dsn): Promise<void> {
    if (await this.delivery.failRecipient(recipient, status, this.session)) this.#kept.add(recipient);
  }

  async #data(reply: ServerReply): Promise<void> {
    const { delivery, session } = this;
    this.dataReady = isIntermediate(reply);
    if (this.mailRejected) return;
    if (!this.dataReady) {
      if (this.accepted.length > 0)
        await delivery.fail("message", refusal(session, reply, "DATA command"), session, this.accepted);
      return;
    }
    if (!this.isProbe) return;
    // The data stage was reached: that is all a probe wants to know.
    const status = { ...replyStatus(session, reply, flatReply(reply)), status: "2.0.0" };
    await delivery.succeed(this.accepted, status, session);
  }

  #endOfData(recipients: ReadonlyArray<Recipient>, reply: ServerReply): Soon<void> {
    this.open = false;
    const { delivery, session } = this;
    if (recipients.length === 0) return;
    if (isPositive(reply)) {
      delivery.transactionCompleted();
      const status = replyStatus(session, reply, flatReply(reply), this.#successAction);
      return delivery.succeed(recipients, status, session);
    }
    const status = refusal(session, reply, "end of DATA command");
    return delivery.agent.settings.mode === "smtp"
      ? delivery.fail("message", status, session, recipients)
      : inTurn(recipients, (recipient) => this.#failRecipient(recipient, status));
  }

  /** How success is reported: this system has handed the message on, unless the server is the final place. */
  get #successAction(): string {
    const { flags, settings } = this.delivery.agent;
    const final = flags.finalDelivery || settings.assumeFinal;
    return settings.mode === "lmtp" && final && !this.session.features.keywords.has("DSN")
      ? "delivered"
      : "relayed";
  }
}

/** Replies that show no misunderstanding, whatever they say. */
function isExpected(step: Step, reply: ServerReply): boolean {
  switch (step.kind) {
    case "probe":
    case "quit":
    case "rset":
      return true;
    case "data":
      return isIntermediate(reply);
    default:
      return isPositive(reply);
  }
}
