/** What is done about the outcome of one recipient: sent, bounced, deferred (delivery.md 2.1, ipc.md 5.4.1). */
import { internalToExternal } from "../address/quote.ts";
import { parameter } from "../config/configuration.ts";
import { appendStatus, bounceOne, type NoticeEnvelope } from "../ipc/clients/bounce.ts";

import { updateVerify } from "../ipc/clients/verify.ts";
import { BOUNCE_FLAG } from "../ipc/protocols/bounce.ts";
import { DELIVERY_FLAG, DELIVERY_TRACE_MASK, NOTIFY, type Recipient } from "../ipc/protocols/delivery.ts";
import { RECIPIENT_STATUS } from "../ipc/protocols/verify.ts";
import { deliveryStatus } from "../log/events/delivery.ts";
import { log, warning } from "../log/log.ts";
import { equalFold } from "../sys/bytes.ts";
import { type Soon, when } from "../sys/when.ts";
import { noteForFlush } from "./flush_domains.ts";
import { type Delays, formatDelays, type MessageStats } from "./stats.ts";
import { type Dsn, dsn, isTraceOnly } from "./status.ts";
import type { StatusFilter } from "./status_filter.ts";

/** What a disposition needs to know of the message; a DeliveryRequest is one. */
export interface MessageContext {
  readonly queueId: string;
  /** Delivery request flags. */
  readonly flags: number;
  readonly stats: MessageStats;
}

export interface Attempt {
  readonly message: MessageContext;
  readonly recipient: Recipient;
  /** `relay=` of the log line: host, service name, or `none`. */
  readonly relay: string;
  /** Stamps of this session, when they differ from the message's. */
  readonly stats?: MessageStats;
  /** The same for the log line, where several recipients share them. */
  readonly delays?: Delays;
  /** `tls=` of the log line (smtp, lmtp). */
  readonly tls?: string;
  /** The agent's delivery status filter. */
  readonly filter?: StatusFilter | undefined;
  /** cleanup's own bounces: the log is removed when the request fails, and there is no fallback to the defer service. */
  readonly clean?: boolean;
  /** Marks the recipient as done in the queue file after a definite outcome; agents that deliver one recipient in parts leave it out. */
  readonly markDone?: (recipient: Recipient) => void;
}

/** `finished`: the recipient needs nothing more; `retry`: the message stays queued for it. */
export type Disposition = "finished" | "retry";

/** The recipient was delivered (or, for probes, could be). */
export const sent = (attempt: Attempt, status: Dsn): Soon<Disposition> =>
  when(filter(attempt, withClass("sent", status, "2")), (filtered) => recordSent(attempt, filtered));

function recordSent(attempt: Attempt, filtered: Dsn): Soon<Disposition> {
  const { flags } = attempt.message;
  if ((flags & DELIVERY_FLAG.mtaVerify) !== 0)
    return probed(attempt, filtered, RECIPIENT_STATUS.ok, "deliverable");
  if ((flags & DELIVERY_FLAG.userVerify) !== 0) return traced(attempt, filtered, "deliverable");
  const action = filtered.action === "" ? "delivered" : filtered.action;
  const { notifyFlags } = attempt.recipient;
  let appends = 0;
  const delayCleared =
    (flags & DELIVERY_FLAG.recordDelayed) !== 0 && (notifyFlags === 0 || (notifyFlags & NOTIFY.delay) !== 0);
  if ((flags & DELIVERY_FLAG.record) !== 0 || delayCleared) appends++;
  if ((notifyFlags & NOTIFY.success) !== 0) appends++;
  const done = (): Disposition => {
    logStatus(attempt, filtered, "sent");
    if ((flags & DELIVERY_FLAG.markDone) !== 0) attempt.markDone?.(attempt.recipient);
    return "finished";
  };
  if (appends === 0) return done();
  return appendTraces(attempt, { ...filtered, action }, appends).then((appended) =>
    appended ? done() : deferred(attempt, dsn("4.3.0", `${attempt.message.queueId}: trace service failed`)),
  );
}

async function appendTraces(attempt: Attempt, status: Dsn, count: number): Promise<boolean> {
  for (let appended = 0; appended < count; appended++)
    if (!(await appendTrace(attempt, status))) return false;
  return true;
}

/** The recipient is undeliverable for good. */
export async function bounced(attempt: Attempt, status: Dsn): Promise<Disposition> {
  const filtered = await filter(attempt, withClass("bounce_append", status, "5"));
  return filtered.status.startsWith("4")
    ? recordDeferred(attempt, filtered)
    : recordBounced(attempt, filtered);
}

/** The recipient is to be tried again. */
export async function deferred(attempt: Attempt, status: Dsn): Promise<Disposition> {
  const filtered = await filter(attempt, withClass("defer_append", status, "4"));
  return filtered.status.startsWith("5")
    ? recordBounced(attempt, filtered)
    : recordDeferred(attempt, filtered);
}

/** Bounced or deferred by the status's class. */
export const failed = (attempt: Attempt, status: Dsn): Promise<Disposition> =>
  status.status.startsWith("4") ? deferred(attempt, status) : bounced(attempt, status);

/** A status of the wrong class becomes x.0.0. */
export function withClass(caller: string, status: Dsn, digit: "2" | "4" | "5"): Dsn {
  if (status.status.startsWith(digit)) return status;
  warning(`${caller}: ignoring dsn code "${status.status}"`);
  return { ...status, status: `${digit}.0.0` };
}

export const filter = (attempt: Attempt, status: Dsn): Soon<Dsn> =>
  attempt.filter === undefined ? status : attempt.filter.apply(status);

/**
 * Returns one recipient to somebody else than the sender, at once and without the bounce log (the owner of a list). Probes and
 * soft_bounce are handled as in `bounced`.
 */
export async function bouncedTo(
  attempt: Attempt,
  envelope: Omit<NoticeEnvelope, "flags">,
  status: Dsn,
): Promise<Disposition> {
  const filtered = await filter(attempt, withClass("bounce_one", status, "5"));
  if (filtered.status.startsWith("4")) return recordDeferred(attempt, filtered);
  const { flags } = attempt.message;
  if (isTraceOnly(flags) || parameter("soft_bounce")) return recordBounced(attempt, filtered);
  const record: Dsn = { ...filtered, action: "failed" };
  const done =
    (await bounceOne({ ...envelope, flags: serviceFlags(attempt) }, attempt.recipient, record)) &&
    ((flags & DELIVERY_FLAG.record) === 0 || (await appendTrace(attempt, record)));
  if (!done) return recordDeferred(attempt, dsn("4.3.0", "bounce or trace service failure"));
  logStatus(attempt, record, "bounced");
  attempt.markDone?.(attempt.recipient);
  return "finished";
}

async function recordBounced(attempt: Attempt, status: Dsn): Promise<Disposition> {
  const { message } = attempt;
  if ((message.flags & DELIVERY_FLAG.mtaVerify) !== 0)
    return probed(attempt, status, RECIPIENT_STATUS.bounce, "undeliverable");
  if ((message.flags & DELIVERY_FLAG.userVerify) !== 0) return traced(attempt, status, "undeliverable");
  const soft = parameter("soft_bounce");
  const record: Dsn = soft
    ? { ...status, status: `4${status.status.slice(1)}`, action: "delayed" }
    : { ...status, action: "failed" };
  const service = parameter(soft ? "defer_service_name" : "bounce_service_name");
  const appended =
    (await append(attempt, service, record)) &&
    ((message.flags & DELIVERY_FLAG.record) === 0 || (await appendTrace(attempt, record)));
  if (!appended) {
    if (attempt.clean === true) return "retry";
    return recordDeferred(attempt, dsn("4.3.0", "bounce or trace service failure"));
  }
  logStatus(attempt, record, soft ? "SOFTBOUNCE" : "bounced");
  if (soft) return "retry";
  attempt.markDone?.(attempt.recipient);
  return "finished";
}

async function recordDeferred(attempt: Attempt, status: Dsn): Promise<Disposition> {
  const { message, recipient } = attempt;
  if ((message.flags & DELIVERY_FLAG.mtaVerify) !== 0)
    return probed(attempt, status, RECIPIENT_STATUS.defer, "undeliverable");
  if ((message.flags & DELIVERY_FLAG.userVerify) !== 0) return traced(attempt, status, "undeliverable");
  const record: Dsn = { ...status, action: "delayed" };
  const appended = await append(attempt, parameter("defer_service_name"), record);
  logStatus(attempt, record, "deferred");
  if (!appended) {
    warning(`${message.queueId}: defer service failure`);
    return "retry";
  }
  if ((message.flags & DELIVERY_FLAG.record) !== 0 && !(await appendTrace(attempt, record)))
    warning(`${message.queueId}: trace service failure`);
  const at = recipient.recipient.lastIndexOf("@");
  const site = at < 0 ? "" : recipient.recipient.slice(at + 1);
  if (site !== "") await noteForFlush(site, message.queueId);
  return "retry";
}

/** Flags for the bounce services: the trace bits alone, since the low bits mean something else there. */
const serviceFlags = (attempt: Attempt): number =>
  (attempt.message.flags & DELIVERY_TRACE_MASK) | (attempt.clean === true ? BOUNCE_FLAG.clean : 0);

const append = (attempt: Attempt, service: string, status: Dsn): Promise<boolean> =>
  appendStatus(service, {
    flags: serviceFlags(attempt),
    queueId: attempt.message.queueId,
    recipient: attempt.recipient,
    status,
  });

const appendTrace = (attempt: Attempt, status: Dsn): Promise<boolean> =>
  append(attempt, parameter("trace_service_name"), {
    ...status,
    reason: attempt.relay === "none" ? status.reason : `delivery via ${attempt.relay}: ${status.reason}`,
  });

/** Records the expansion of an alias for a recipient that asked for NOTIFY=SUCCESS; nothing is logged. */
export const traceExpansion = (attempt: Attempt, status: Dsn): Promise<boolean> =>
  appendTrace(attempt, status);

/** `sendmail -bv`: the outcome goes to the trace service alone. */
async function traced(
  attempt: Attempt,
  status: Dsn,
  word: "deliverable" | "undeliverable",
): Promise<Disposition> {
  const record = { ...status, action: word };
  if (!(await appendTrace(attempt, record))) return "retry";
  logStatus(attempt, record, word);
  attempt.markDone?.(attempt.recipient);
  return "finished";
}

/** An address probe: the outcome goes to verify(8) alone. */
async function probed(
  attempt: Attempt,
  status: Dsn,
  result: number,
  word: "deliverable" | "undeliverable",
): Promise<Disposition> {
  const { recipient } = attempt;
  if (result !== RECIPIENT_STATUS.ok && !parameter("address_verify_negative_cache")) {
    logStatus(attempt, status, "undeliverable-but-not-cached");
    attempt.markDone?.(recipient);
    return "finished";
  }
  const addresses = [recipient.originalRecipient, recipient.recipient].filter((address) => address !== "");
  for (const address of new Set(addresses))
    if (!(await updateVerify(address, result, status.reason))) return "retry";
  logStatus(attempt, status, word);
  attempt.markDone?.(recipient);
  return "finished";
}

/** An address in the form of info_log_address_format. */
export const loggedAddress = (address: string): string =>
  address === "" || parameter("info_log_address_format") === "internal"
    ? address
    : internalToExternal(address);

/** Stamps in the form of the log line. */
export const delaysOf = (stats: MessageStats): Delays =>
  formatDelays(stats, parameter("delay_logging_resolution_limit"));

/** Logs the delivery status line. */
export function logStatus(attempt: Attempt, status: Dsn, word: string): void {
  const { message, recipient, relay } = attempt;
  const stats = attempt.stats ?? message.stats;
  const { delay, delays } = attempt.delays ?? delaysOf(stats);
  const { originalRecipient } = recipient;
  log(
    deliveryStatus({
      queueId: message.queueId,
      to: loggedAddress(recipient.recipient),
      origTo:
        originalRecipient !== "" && !equalFold(originalRecipient, recipient.recipient)
          ? loggedAddress(originalRecipient)
          : undefined,
      relay,
      connUse: stats.reuseCount > 0 ? stats.reuseCount + 1 : undefined,
      delay,
      delays,
      tls: attempt.tls,
      dsn: status.status,
      status: word,
      reason: status.reason,
    }),
  );
}
