/** Reading the envelope of a queue file, as much of it as the recipient limits allow (queue.md 20). */

import { panic, warning } from "../../lib/log/log.ts";
import { attributeRecordType, readNotifyFlags, splitNameValue } from "../../lib/queue/attributes.ts";
import type { RecordReader } from "../../lib/queue/record_reader.ts";
import { Rec, RecordSets } from "../../lib/queue/records.ts";
import { applyAttribute, applyRecord, type ReadContext } from "./envelope_records.ts";
import type { Manager } from "./manager.ts";
import type { Message } from "./message.ts";
import type { Recipient } from "./recipient.ts";

/** However much memory there is, the file is read in portions of so many recipients. */
const PORTION = 5000;

/** What was said about the next recipient. */
interface Pending {
  dsnOriginal: string;
  notify: number;
  original: string;
}
const nothing = (): Pending => ({ dsnOriginal: "", notify: 0, original: "" });

/** Recipients that may be read now, as their transports share the memory. */
function roomFor(
  { settings, recipientCount, unassignedCount }: Manager,
  message: Message,
  refill: boolean,
): number {
  if (refill) return message.recipientLimit - message.recipientCount;
  return Math.max(settings.recipientLimit - recipientCount - unassignedCount, message.recipientLimit);
}

/** The recipients read, or undefined when the file is no good (said why). The reader must show raw records. */
export function readEnvelope(
  manager: Manager,
  message: Message,
  reader: RecordReader,
): Recipient[] | undefined {
  const refill = message.recipientOffset > 0;
  const limit = manager.settings.preemptive
    ? Math.min(roomFor(manager, message, refill), PORTION)
    : manager.settings.portion;
  if (limit <= 0) panic(`qmgr_message_read: no recipient slots available`);
  if (refill) reader.seek(message.recipientOffset);
  message.recipientOffset = 0;
  message.refillTime = manager.clock.now();
  const recipients: Recipient[] = [];
  const context: ReadContext = { manager, message, reader };
  const readable = readRecords(context, recipients, limit);
  if (message.recipientUnread < 0 || (message.recipientOffset === 0 && message.recipientUnread !== 0)) {
    warning(`${message.id}: rcpt count mismatch (${message.recipientUnread})`);
    message.recipientUnread = 0;
  }
  if (!readable || (!refill && !finishEnvelope(manager, message))) return undefined;
  return recipients;
}

function readRecords(context: ReadContext, recipients: Recipient[], limit: number): boolean {
  const { message, reader } = context;
  let pending = nothing();
  for (;;) {
    let type: number;
    let allowed = true;
    if (message.dataOffset > 0 && reader.position === message.dataOffset) {
      reader.skip(message.dataSize);
      type = reader.read();
      allowed = type === Rec.EXTRACTED;
    } else {
      type = reader.read();
      if (type === Rec.POINTER) {
        if (reader.follow()) continue;
        return false;
      }
      allowed = RecordSets.ENVELOPE.has(type) || RecordSets.EXTRACT.has(type) || type === Rec.EXTRACTED;
    }
    if (type <= 0) {
      warning(`${message.id}: message rejected: missing end record`);
      return false;
    }
    if (!allowed) {
      warning(`Unexpected record type '${String.fromCharCode(type)}' at offset ${reader.offset}`);
      return false;
    }
    if (type === Rec.END) {
      message.complete = true;
      return true;
    }
    let value = reader.string;
    let name = "";
    if (type === Rec.ATTRIBUTE) {
      const attribute = splitNameValue(value);
      if (attribute.kind === "malformed") {
        warning(`${message.id}: bad attribute record: ${attribute.error}: ${value.slice(0, 200)}`);
        return false;
      }
      name = attribute.name;
      const mapped = attributeRecordType(name);
      if (mapped !== 0) {
        type = mapped;
        value = attribute.value;
      } else value = attribute.value;
    }

    const storing = message.recipientOffset === 0;
    switch (type) {
      case Rec.RECIPIENT:
        if (!storing) continue;
        message.recipientUnread--;
        recipients.push({
          offset: reader.offset,
          dsnOriginal: pending.dsnOriginal,
          notify: pending.notify,
          original: pending.original,
          address: value,
          queue: undefined,
        });
        pending = nothing();
        if (recipients.length < limit) continue;
        message.recipientOffset = reader.position;
        if (message.complete) return true;
        if ((message.hints & 1) !== 0) continue;
        if (message.dataOffset > 0 && reader.offset > message.dataOffset) {
          message.complete = true;
          return true;
        }
        if (message.dataOffset > 0) reader.seek(message.dataOffset);
        continue;
      case Rec.DONE:
      case Rec.CANCELED:
        if (!storing) continue;
        message.recipientUnread--;
        pending = nothing();
        continue;
      case Rec.DSN_ORIGINAL_RECIPIENT:
        if (!storing) continue;
        if (pending.dsnOriginal !== "")
          warning(
            `${message.id}: ignoring out-of-order DSN original recipient address <${pending.dsnOriginal}>`,
          );
        pending.dsnOriginal = value;
        continue;
      case Rec.DSN_NOTIFY: {
        if (!storing) continue;
        if (pending.notify !== 0)
          warning(`${message.id}: ignoring out-of-order DSN notify flags <${pending.notify}>`);
        const flags = readNotifyFlags(value);
        if (flags === undefined) warning(`${message.id}: ignoring malformed DSN notify flags <${value}>`);
        pending.notify = flags ?? 0;
        continue;
      }
      case Rec.ORIGINAL_RECIPIENT:
        if (!storing) continue;
        if (pending.original !== "")
          warning(`${message.id}: ignoring out-of-order original recipient <${pending.original}>`);
        pending.original = value;
        continue;
    }
    if (message.complete) continue;
    if (type === Rec.ATTRIBUTE) applyAttribute(context, name, value);
    else if (!applyRecord(context, type, value)) return false;
  }
}

/** Defaults, and what no message can do without. */
function finishEnvelope(manager: Manager, message: Message): boolean {
  if (manager.settings.confirmDelayCleared && message.warnTime < 0) message.traceFlags |= 8192;
  const lacking =
    message.arrival.seconds === 0
      ? "missing arrival time record"
      : message.sender === undefined
        ? "missing sender record"
        : message.dataOffset === 0
          ? "missing size record"
          : undefined;
  if (lacking !== undefined) {
    warning(`${message.id}: message rejected: ${lacking}`);
    return false;
  }
  if (message.rewriteContext === "") message.rewriteContext = "local";
  if (message.createTime === 0) message.createTime = message.arrival.seconds;
  return true;
}
