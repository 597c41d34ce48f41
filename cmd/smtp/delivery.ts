/** One delivery request on its way: which recipients are left, and what becomes of those that fail (delivery.md 11). */
import { type Attempt, type Disposition, delaysOf, failed, sent } from "../../lib/delivery/disposition.ts";
import {
  type DeliveryRequest,
  type DeliveryResult,
  markRecipientDone,
  type Recipient,
} from "../../lib/delivery/request.ts";
import { type MessageStats, type Moment, moment } from "../../lib/delivery/stats.ts";
import { type Dsn, dsn } from "../../lib/delivery/status.ts";
import { NO_MOMENT, NOTIFY } from "../../lib/ipc/protocols/delivery.ts";
import { info } from "../../lib/log/log.ts";
import type { ServerReply } from "../../lib/smtp/client_reply.ts";
import { nameAddress, nameAddressPort, type SmtpSession } from "../../lib/smtp/client_session.ts";
import { inTurn, type Soon, when } from "../../lib/sys/when.ts";
import type { Agent } from "./agent.ts";

/** How a failure reaches beyond its recipients. */
export type FailureKind =
  /** The server or the way to it: the queue manager leaves the destination alone for a while. */
  | "site"
  /** This message alone. */
  | "message";

export class Delivery {
  /** Recipients without a definite outcome or deferral, in the order of the request. */
  readonly #open: Set<Recipient>;
  /** No other server will be tried after this one. */
  finalServer = false;
  /** The last reason why recipients are still here. */
  lastReason: Dsn | undefined;
  /** `tls=` of the log line, undefined before anything is known. */
  tls: string | undefined;
  /** Its second item, for a message that demands REQUIRETLS. */
  requireTls = "";
  /** When the connection was ready for mail. */
  connected: Moment = NO_MOMENT;
  /** Connections may be looked for in the cache, or kept in it. */
  loadSessions = false;
  storeSessions = false;
  #disposition: Disposition = "finished";
  #siteTrouble: Dsn | undefined;
  #transactionDone = false;

  constructor(
    readonly request: DeliveryRequest,
    readonly agent: Agent,
  ) {
    this.#open = new Set(request.recipients);
  }

  get remaining(): ReadonlyArray<Recipient> {
    return [...this.#open];
  }
  get done(): boolean {
    return this.#open.size === 0;
  }

  get queueId(): string {
    return this.request.queueId;
  }

  /** A message was transferred or refused as a whole: later trouble is no reason to throttle the destination. */
  transactionCompleted(): void {
    this.#transactionDone = true;
  }

  result(): DeliveryResult {
    return {
      disposition: this.#disposition,
      siteTrouble: this.#disposition === "retry" ? this.#siteTrouble : undefined,
    };
  }

  /** Whether a failure leaves its recipients to another server. */
  #triesElsewhere(status: Dsn): boolean {
    return !this.finalServer && (status.status.startsWith("4") || this.agent.settings.softBounce);
  }

  /** All remaining recipients fail, or stay for the next server. */
  async fail(
    kind: FailureKind,
    status: Dsn,
    session?: SmtpSession,
    among: ReadonlyArray<Recipient> = this.remaining,
  ): Promise<void> {
    if (this.#triesElsewhere(status)) {
      info(`${this.queueId}: ${status.reason}`);
      this.lastReason = status;
      return;
    }
    await this.finish(status, session ?? "none", among);
    if (kind === "site" && this.#disposition === "retry" && !this.#transactionDone)
      this.#siteTrouble ??= status;
  }

  /** One recipient fails; true when it stays for the next server instead. */
  async failRecipient(recipient: Recipient, status: Dsn, session: SmtpSession): Promise<boolean> {
    await this.fail("message", status, session, [recipient]);
    return this.#open.has(recipient);
  }

  /** Recipients are bounced or deferred, whatever servers there may be. */
  async finish(
    status: Dsn,
    /** Of the log line: a session, or a name. */
    where: SmtpSession | string,
    among: ReadonlyArray<Recipient> = this.remaining,
  ): Promise<void> {
    const recipients = [...among];
    this.#forget(recipients);
    for (const recipient of recipients)
      this.#note(await failed({ ...this.#circumstances(where), recipient }, status));
  }

  /** Recipients are bounced or deferred because of the destination, with relay=none. */
  async finishSite(status: Dsn): Promise<void> {
    await this.finish(status, "none");
    if (this.#disposition === "retry" && !this.#transactionDone) this.#siteTrouble ??= status;
  }

  /** Recipients were delivered with one reply, or for a probe would be. */
  succeed(recipients: ReadonlyArray<Recipient>, status: Dsn, session: SmtpSession): Soon<void> {
    const circumstances = this.#circumstances(session);
    // The next system will report success itself (RFC 3461 6.1).
    const reports = session.features.keywords.has("DSN");
    return inTurn(recipients, (recipient) => {
      this.#open.delete(recipient);
      const notifyFlags = reports ? recipient.notifyFlags & ~NOTIFY.success : recipient.notifyFlags;
      const asked = notifyFlags === recipient.notifyFlags ? recipient : { ...recipient, notifyFlags };
      return when(sent({ ...circumstances, recipient: asked }, status), (disposition) =>
        this.#note(disposition),
      );
    });
  }

  /** Recipients that another agent took over. */
  handedOver(recipient: Recipient, disposition: Disposition): void {
    this.#forget([recipient]);
    this.#note(disposition);
  }

  #forget(recipients: ReadonlyArray<Recipient>): void {
    for (const recipient of recipients) this.#open.delete(recipient);
  }

  #note(disposition: Disposition): void {
    if (disposition === "retry") this.#disposition = "retry";
  }

  /** What an attempt is for every recipient whose outcome is known now. */
  #circumstances(where: SmtpSession | string): Omit<Attempt, "recipient"> {
    const { request, agent } = this;
    const stats: MessageStats = {
      ...request.stats,
      connectionSetupDone: this.connected,
      deliverDone: moment(),
      reuseCount: typeof where === "string" ? 0 : where.reuseCount,
    };
    return {
      message: request,
      relay: typeof where === "string" ? where : nameAddressPort(where.peer),
      stats,
      delays: delaysOf(stats),
      ...(this.tls === undefined || !agent.settings.logTls ? {} : { tls: this.tls + this.requireTls }),
      filter: agent.tables.statusFilter,
      markDone: (done) => markRecipientDone(request, done),
    };
  }
}

/** A reply on one line, as reasons and reports show it. */
export const flatReply = (reply: ServerReply): string => reply.text.replaceAll("\n", " ");

/** The status that a server's reply stands for. `text` is the reason. */
export function replyStatus(session: SmtpSession, reply: ServerReply, text: string, action = ""): Dsn {
  return dsn(reply.status, text, {
    action,
    diagnosticType: "smtp",
    diagnosticText: flatReply(reply),
    mtaType: "dns",
    mtaName: session.peer.host,
  });
}

/** A negative reply to a command. One whose status says success is a protocol error. */
export function refusal(session: SmtpSession, reply: ServerReply, command: string): Dsn {
  const reason = `host ${nameAddress(session.peer)} said: ${flatReply(reply)} (in reply to ${command})`;
  if (!reply.status.startsWith("2")) return replyStatus(session, reply, reason);
  return { ...replyStatus(session, reply, `Protocol error: ${reason}`), status: "5.5.0" };
}

/** Codes that show a misunderstanding between client and server (notify class `protocol`). */
export const isProtocolError = ({ code }: ServerReply): boolean =>
  code < 400 || code > 599 || code === 555 || (code >= 500 && code < 510);
