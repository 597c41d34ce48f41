/** What each record and attribute of the envelope says about the message (queue.md 7, 8.3 and 20). */
import { loggedAddress } from "../../lib/delivery/disposition.ts";
import { DELIVERY_FLAG } from "../../lib/ipc/protocols/delivery.ts";
import { messageActive } from "../../lib/log/events/qmgr.ts";
import { log, warning } from "../../lib/log/log.ts";
import { readReturnFlags, readTime, TRACE_FLAGS_IN_FILE } from "../../lib/queue/attributes.ts";
import type { RecordReader } from "../../lib/queue/record_reader.ts";
import { Rec } from "../../lib/queue/records.ts";
import { decodeSize } from "../../lib/queue/size_record.ts";
import { trimSpace } from "../../lib/sys/bytes.ts";
import { leadingInteger, readDecimal } from "../../lib/sys/numbers.ts";
import type { Manager } from "./manager.ts";
import type { Message } from "./message.ts";

export interface ReadContext {
  readonly manager: Manager;
  readonly message: Message;
  readonly reader: RecordReader;
}

/** False when the record makes the file unusable. */
export function applyRecord(context: ReadContext, type: number, value: string): boolean {
  const { manager, message, reader } = context;
  switch (type) {
    case Rec.SIZE:
      return message.dataOffset > 0 || applySize(context, value);
    case Rec.TIME:
      if (message.arrival.seconds === 0) message.arrival = readTime(value) ?? message.arrival;
      return true;
    case Rec.CREATE_TIME:
      if (message.createTime === 0) message.createTime = readDecimal(trimSpace(value)) ?? 0;
      return true;
    case Rec.FILTER:
      message.filter = value;
      return true;
    case Rec.INSPECTOR:
      message.inspected = true;
      return true;
    case Rec.REDIRECT:
      message.redirect = value;
      return true;
    case Rec.FROM:
      if (message.sender !== undefined) return true;
      message.sender = value;
      log(
        messageActive({
          queueId: message.id,
          from: loggedAddress(value),
          size: message.contentSize,
          nrcpt: message.recipientTotal,
        }),
      );
      return true;
    case Rec.DSN_ENVELOPE_ID:
      message.envelopeId = value;
      return true;
    case Rec.DSN_RET: {
      const flags = readReturnFlags(trimSpace(value));
      if (flags === undefined)
        warning(
          `${message.id}: ignoring malformed DSN RET flags in queue file record: ${value.slice(0, 100)}`,
        );
      else message.returnFlags = flags;
      return true;
    }
    case Rec.WARN_TIME:
      if (message.warnOffset === 0) {
        message.warnOffset = reader.offset;
        message.warnTime = readInteger(value);
      }
      return true;
    case Rec.VERP:
      if (message.verpDelimiters === "") applyVerp(manager, message, value);
      return true;
    default:
      return true;
  }
}

const INTEGER = /^-?[0-9]{1,15}$/;
/** A decimal number of any sign; 0 when it is none. */
function readInteger(text: string): number {
  const trimmed = trimSpace(text);
  return INTEGER.test(trimmed) ? Number(trimmed) : 0;
}

function applySize(context: ReadContext, value: string): boolean {
  const { message } = context;
  const result = decodeSize(value);
  switch (result.kind) {
    case "invalid":
      message.recipientUnread = readInteger(trimSpace(value).split(/ +/, 3)[2] ?? "");
      warning(`${message.id}: ${result.why}: ${value.slice(0, 200)}`);
      return false;
    case "ancient":
      return applyAncientSize(context);
    case "size": {
      const { fields } = result;
      message.dataSize = fields.contentSize;
      message.dataOffset = fields.dataOffset;
      message.contentSize = fields.messageLength;
      message.recipientTotal = fields.recipientCount;
      message.recipientUnread = fields.recipientCount;
      message.hints = fields.hints;
      message.sendOptions = fields.sendOptions;
      return true;
    }
  }
}

/** Files from before Postfix 1.0 state the content size alone: everything else must be looked for. */
function applyAncientSize({ message, reader }: ReadContext): boolean {
  const here = reader.position;
  let recipients = 0;
  let content = 0;
  let extracted = 0;
  for (;;) {
    const type = reader.read();
    if (type < 0) {
      warning(`${message.id}: message rejected: missing end record`);
      return false;
    }
    if (type === Rec.CONTENT && content === 0) content = reader.position;
    else if (type === Rec.EXTRACTED && extracted === 0) extracted = reader.offset;
    else if (type === Rec.RECIPIENT && (content === 0 || extracted > 0)) recipients++;
    else if (type === Rec.END) break;
  }
  if (content === 0 || extracted <= content) {
    warning(`${message.id}: invalid size record`);
    return false;
  }
  message.dataOffset = content;
  message.dataSize = extracted - content;
  message.contentSize = message.dataSize;
  message.recipientTotal = recipients;
  message.recipientUnread = recipients;
  message.hints = 1;
  reader.seek(here);
  return true;
}

function applyVerp(manager: Manager, message: Message, value: string): void {
  if (message.sender === undefined || message.sender === "") {
    warning(`${message.id}: ignoring VERP request for null sender`);
    return;
  }
  const allowed = manager.settings.verpDelimiters;
  if (value.length !== 2 || !allowed.includes(value.charAt(0)) || !allowed.includes(value.charAt(1))) {
    warning(`${message.id}: ignoring bad VERP request: "${value.slice(0, 100)}"`);
    return;
  }
  message.verpDelimiters = value;
}

type OnceField = "saslMethod" | "saslUsername" | "saslSender" | "logIdent" | "rewriteContext";
const ONCE: ReadonlyMap<string, OnceField> = new Map([
  ["sasl_method", "saslMethod"],
  ["sasl_username", "saslUsername"],
  ["sasl_sender", "saslSender"],
  ["log_ident", "logIdent"],
  ["rewrite_context", "rewriteContext"],
]);

type LastField = "encoding" | "clientName" | "clientAddress" | "clientPort" | "protocolName" | "heloName";
const LAST: ReadonlyMap<string, LastField> = new Map([
  ["encoding", "encoding"],
  ["log_client_name", "clientName"],
  ["log_client_address", "clientAddress"],
  ["log_client_port", "clientPort"],
  ["log_protocol_name", "protocolName"],
  ["log_helo_name", "heloName"],
]);

/** Used when no attribute for logs came before. */
const FALLBACK: ReadonlyMap<string, LastField> = new Map([
  ["client_name", "clientName"],
  ["client_address", "clientAddress"],
  ["client_port", "clientPort"],
  ["protocol_name", "protocolName"],
  ["helo_name", "heloName"],
]);

export function applyAttribute({ manager, message, reader }: ReadContext, name: string, value: string): void {
  const last = LAST.get(name);
  if (last !== undefined) {
    message[last] = value;
    if (last !== "encoding") message.hasLogAttributes = true;
    return;
  }
  const fallback = FALLBACK.get(name);
  if (fallback !== undefined) {
    if (!message.hasLogAttributes) message[fallback] = value;
    return;
  }
  const once = ONCE.get(name);
  if (once !== undefined) {
    if (message[once] === "") message[once] = value;
    else warning(`${message.id}: ignoring multiple ${name} attribute: ${value}`);
    return;
  }
  if (name === "trace_flags" && message.traceFlags === 0) {
    message.traceFlags = leadingInteger(value) & TRACE_FLAGS_IN_FILE;
    if (message.traceFlags === DELIVERY_FLAG.record) message.traceOffset = reader.offset;
    if ((message.traceFlags & DELIVERY_FLAG.mtaVerify) !== 0)
      message.probeTooMany = ++manager.probeCount > manager.settings.probeLimit;
  }
}
