/** Forwarding: new messages through cleanup, one for each sender and Delivered-To: address, all or nothing (delivery.md 4.5). */
import { internalToExternal } from "../../lib/address/quote.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { contentReader } from "../../lib/delivery/copy.ts";
import { type Disposition, deferred, sent } from "../../lib/delivery/disposition.ts";
import { type DeliveryRequest, markCorrupt } from "../../lib/delivery/request.ts";
import { dsn, isTraceOnly } from "../../lib/delivery/status.ts";
import { autodetects, receivedLines, Submission } from "../../lib/ipc/clients/cleanup.ts";
import { CLEANUP_FLAG } from "../../lib/ipc/protocols/cleanup.ts";
import { SENDOPT } from "../../lib/ipc/protocols/delivery.ts";
import { ClientAbort, warning } from "../../lib/log/log.ts";
import { Rec, timeData } from "../../lib/queue/records.ts";
import { timeOfDay } from "../../lib/sys/process.ts";
import { foldCase } from "../../lib/tables/casefold.ts";
import { attemptOf, defer, type State, sentTo, withoutSuccess } from "./state.ts";

const UNABLE = dsn("4.3.0", "unable to forward message");

interface Forward {
  readonly submission: Submission;
  readonly delivered: string;
}

/** The new messages that one top-level recipient gives rise to. */
export class Forwards {
  readonly #open = new Map<string, Forward>();

  constructor(
    private readonly request: DeliveryRequest,
    private readonly prependDelivered: boolean,
    private readonly utf8: boolean,
  ) {}

  get empty(): boolean {
    return this.#open.size === 0;
  }

  /** The message for this sender and delivered address, opened at its first recipient. Throws ClientAbort. */
  async message(state: State): Promise<Submission> {
    const delivered = state.delivered ?? state.recipient.recipient;
    const key = `${delivered}\0${state.sender}`;
    const known = this.#open.get(key);
    if (known !== undefined) return known.submission;
    const submission = await Submission.open(this.#flags());
    this.#open.set(key, { submission, delivered });
    this.#envelope(submission, state);
    return submission;
  }

  #flags(): number {
    const { sendopts } = this.request;
    return (
      CLEANUP_FLAG.bounce |
      CLEANUP_FLAG.map |
      (autodetects("forward") ? CLEANUP_FLAG.smtputf8Autodetect : 0) |
      ((sendopts & SENDOPT.smtputf8Requested) !== 0 ? CLEANUP_FLAG.smtputf8Requested : 0) |
      ((sendopts & SENDOPT.requireTls) !== 0 ? CLEANUP_FLAG.requireTls : 0)
    );
  }

  #envelope(submission: Submission, state: State): void {
    const { request } = this;
    submission.record(Rec.TIME, timeData(timeOfDay()));
    submission.record(Rec.FROM, state.sender);
    if (state.retFlags !== 0) submission.attribute("ret_flags", state.retFlags);
    const attributes = [
      ["envelope_id", state.envelopeId],
      ["log_client_name", request.clientName],
      ["log_client_address", request.clientAddress],
      ["log_protocol_name", request.clientProtocol],
      ["log_helo_name", request.clientHelo],
      ["sasl_method", request.saslMethod],
      ["sasl_username", request.saslUsername],
      ["sasl_sender", request.saslSender],
      ["log_ident", request.logIdent],
      ["rewrite_context", request.rewriteContext],
    ] as const;
    for (const [name, value] of attributes) if (value !== "") submission.attribute(name, value);
  }

  /** Sends all messages on their way, or with `retry` drops them all; logs them under the top-level recipient. */
  async finish(top: State, disposition: Disposition): Promise<Disposition> {
    const forwards = [...this.#open.values()];
    this.#open.clear();
    let result = disposition;
    for (const { submission, delivered } of forwards) {
      if (result === "retry") submission.abandon();
      else result = await this.#commit(top, submission, delivered);
    }
    return result;
  }

  async #commit(top: State, submission: Submission, delivered: string): Promise<Disposition> {
    submission.record(Rec.CONTENT);
    receivedLines(submission, timeOfDay().seconds);
    if (this.prependDelivered)
      submission.line(`Delivered-To: ${foldCase(internalToExternal(delivered), this.utf8)}`);
    const copied = await this.#copyContent(submission);
    if (!copied) {
      submission.abandon();
      return "retry";
    }
    const { status } = await submission.finish();
    if (status !== 0) return deferred(attemptOf(top), UNABLE);
    // who is told of success is for the new message to say
    const attempt = { ...attemptOf(top), recipient: withoutSuccess(top.recipient) };
    return sent(attempt, dsn("2.0.0", `forwarded as ${submission.queueId}`, { action: "relayed" }));
  }

  /** False when the queue file is broken, and then it is marked so. */
  async #copyContent(submission: Submission): Promise<boolean> {
    const reader = contentReader(this.request);
    for (;;) {
      const type = reader.read();
      if (type !== Rec.NORMAL && type !== Rec.CONTINUED) {
        if (type === Rec.EXTRACTED) return true;
        markCorrupt(this.request, type);
        return false;
      }
      submission.record(type, reader.data);
      await submission.relieve();
    }
  }
}

/** Adds the recipient to a new message. */
export async function forward(state: State): Promise<Disposition> {
  const { session, recipient } = state;
  const address = recipient.recipient;
  if (session.duplicates.seen(`indirect ${address}`)) return "finished";
  if (isTraceOnly(session.request.flags)) return sentTo(state, dsn("2.0.0", `forwards to ${address}`));
  let submission: Submission;
  try {
    submission = await session.forwards.message(state);
  } catch (error) {
    if (!(error instanceof ClientAbort)) throw error;
    warning(error.message);
    return defer(state, UNABLE);
  }
  session.outcomes++;
  if (recipient.dsnOriginalRecipient !== "")
    submission.attribute("dsn_orig_rcpt", recipient.dsnOriginalRecipient);
  if (recipient.notifyFlags !== 0) submission.attribute("notify_flags", recipient.notifyFlags);
  if (parameter("enable_original_recipient") && recipient.originalRecipient !== "")
    submission.record(Rec.ORIGINAL_RECIPIENT, recipient.originalRecipient);
  submission.record(Rec.RECIPIENT, address);
  await submission.relieve();
  return "finished";
}
