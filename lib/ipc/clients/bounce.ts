/** Clients of bounce(8) under its three names: bounce, defer and trace (ipc.md 5.3). */
import { parameter } from "../../config/configuration.ts";
import { bounceServiceFailed } from "../../log/events/bounce.ts";
import { log } from "../../log/log.ts";
import type { Message, ValueOf } from "../attributes.ts";
import { requestOnce } from "../client.ts";
import {
  BounceAppend,
  BounceFlush,
  BounceGreeting,
  BounceOne,
  BounceStatus,
  BounceTrace,
  BounceVerp,
  BounceWarn,
} from "../protocols/bounce.ts";
import type { Dsn, Recipient } from "../protocols/delivery.ts";

/** What the service needs to know of a message to write a notice about it. */
export type NoticeEnvelope = ValueOf<typeof BounceFlush>;

export interface StatusAppend {
  /** `BOUNCE_FLAG` and trace bits. */
  readonly flags: number;
  readonly queueId: string;
  readonly recipient: Recipient;
  readonly status: Dsn;
}

const ask = async <T>(service: string, request: Message<T>, value: T): Promise<boolean> =>
  (
    await requestOnce(
      "private",
      service,
      BounceGreeting,
      request,
      value,
      BounceStatus,
      parameter("ipc_timeout"),
    )
  )?.status === 0;

/** Adds a recipient's status to the message's log; false when the service failed. */
export const appendStatus = (
  service: string,
  { flags, queueId, recipient, status }: StatusAppend,
): Promise<boolean> =>
  ask(service, BounceAppend, { flags, queueId, ...recipientFields(recipient), ...statusFields(status) });

const recipientFields = (recipient: Recipient): Recipient => ({
  originalRecipient: recipient.originalRecipient,
  recipient: recipient.recipient,
  offset: recipient.offset,
  dsnOriginalRecipient: recipient.dsnOriginalRecipient,
  notifyFlags: recipient.notifyFlags,
});

const statusFields = (status: Dsn): Dsn => ({
  status: status.status,
  diagnosticType: status.diagnosticType,
  diagnosticText: status.diagnosticText,
  mtaType: status.mtaType,
  mtaName: status.mtaName,
  action: status.action,
  reason: status.reason,
});

/** Asks for a notice; with soft_bounce nothing is returned to anybody. */
async function notice<T>(
  service: string,
  request: Message<T>,
  value: T,
  queueId: string,
  what: string,
): Promise<boolean> {
  if (parameter("soft_bounce")) return false;
  if (await ask(service, request, value)) return true;
  log(bounceServiceFailed({ queueId, what }));
  return false;
}

/** Turns the log of a message into a non-delivery notice. `service`: bounce, or defer for an expired message. */
export const flushBounces = (service: string, envelope: NoticeEnvelope): Promise<boolean> =>
  notice(service, BounceFlush, envelope, envelope.queueId, "bounce");

/** The same, one notice a recipient. */
export const flushBouncesVerp = (
  service: string,
  envelope: NoticeEnvelope,
  verpDelimiters: string,
): Promise<boolean> =>
  notice(service, BounceVerp, { ...envelope, verpDelimiters }, envelope.queueId, "verp-bounce");

/** Turns the defer log into a delay notice. */
export async function warnDelay(envelope: NoticeEnvelope): Promise<boolean> {
  if (await ask(parameter("defer_service_name"), BounceWarn, envelope)) return true;
  log(bounceServiceFailed({ queueId: envelope.queueId, what: "delay warning" }));
  return false;
}

/** Turns the trace log into a delivery report. */
export async function flushTrace(envelope: NoticeEnvelope): Promise<boolean> {
  if (await ask(parameter("trace_service_name"), BounceTrace, envelope)) return true;
  log(bounceServiceFailed({ queueId: envelope.queueId, what: "trace" }));
  return false;
}

/** A non-delivery notice about one recipient, at once and without a log. */
export const bounceOne = (envelope: NoticeEnvelope, recipient: Recipient, status: Dsn): Promise<boolean> =>
  ask(parameter("bounce_service_name"), BounceOne, {
    ...envelope,
    ...recipientFields(recipient),
    ...statusFields(status),
  });
