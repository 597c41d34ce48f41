/** The envelope and the extracted segment: what cleanup makes of each record (queue.md 13.2, 13.4). */
import { CLEANUP_FLAG } from "../../lib/ipc/protocols/cleanup.ts";
import {
  attributeRecordType,
  readNotifyFlags,
  readReturnFlags,
  readTime,
  splitNameValue,
} from "../../lib/queue/attributes.ts";
import { padNumber, Rec, type RecordSet, RecordSets } from "../../lib/queue/records.ts";
import { DERIVED_SEND_OPTIONS, SizeHint, scanSizeNumbers } from "../../lib/queue/size_record.ts";
import { readDecimal } from "../../lib/sys/numbers.ts";
import { timeOfDay } from "../../lib/sys/process.ts";
import type { Message } from "./message.ts";
import type { Recipients } from "./recipients.ts";
import type { CleanupSettings } from "./settings.ts";

const EXTRA_FLAGS = CLEANUP_FLAG.hold | CLEANUP_FLAG.discard;
const TRACE_FLAGS = 256 | 512 | 1024;
const NOT_PRINTABLE = /[^\t -~]/;

/** An `A` record taken apart, or a record as it is. */
interface Item {
  /** The type that the record stands for. */
  readonly type: number;
  readonly text: string;
  readonly name?: string;
}

export class Envelope {
  constructor(
    private readonly settings: CleanupSettings,
    private readonly recipients: Recipients,
  ) {}

  /** One record of the envelope. `text` is its data as a C string. The content marker ends the envelope. */
  record(message: Message, type: number, text: string): Promise<void> | undefined {
    const item = this.prepare(message, type, text, RecordSets.ENVELOPE, "in envelope");
    if (item === undefined) return undefined;
    if (!message.inRecipients && RecordSets.ENVELOPE_RECIPIENT.has(type) && !this.beginRecipients(message))
      return undefined;
    if (type === Rec.CONTENT) {
      message.put(Rec.CONTENT);
      message.dataOffset = message.output.position;
      message.phase = "content";
      return undefined;
    }
    if (item.type === Rec.RECIPIENT) return this.recipients.recipient(message, item.text);
    if (this.aboutRecipient(message, item)) return undefined;
    if (message.inRecipients) message.hints |= SizeHint.MIXED;
    return this.messageRecord(message, type, text, item);
  }

  /** One record of the extracted segment. */
  extracted(message: Message, type: number, text: string): Promise<void> | undefined {
    const item = this.prepare(message, type, text, RecordSets.EXTRACT, "in extracted envelope");
    if (item === undefined) return undefined;
    if (!message.inRecipients && RecordSets.EXTRACT_RECIPIENT.has(type)) {
      message.inRecipients = true;
      if (message.filter !== undefined) message.put(Rec.FILTER, message.filter);
      if (message.redirect !== undefined) message.put(Rec.REDIRECT, message.redirect);
      if (message.messageId !== undefined) message.putAttribute("message_id", message.messageId);
      if (message.encoding !== "") message.putAttribute("encoding", message.encoding);
    }
    if (type === Rec.END) return this.end(message);
    if (item.type === Rec.RECIPIENT) return this.recipients.recipient(message, item.text);
    if (this.aboutRecipient(message, item)) return undefined;
    if (message.inRecipients) message.hints |= SizeHint.MIXED;
    message.put(type, text);
    return undefined;
  }

  private end(message: Message): Promise<void> | undefined {
    const { alwaysBcc } = this.settings;
    const copies =
      message.has("bcc") && alwaysBcc !== "" ? [alwaysBcc, ...message.checkBcc] : message.checkBcc;
    if (copies.length > 0) return this.copyTo(message, copies).then(() => finishEnvelope(message));
    finishEnvelope(message);
    return undefined;
  }

  private async copyTo(message: Message, addresses: readonly string[]): Promise<void> {
    for (const address of addresses) await this.recipients.automatic(message, address);
  }

  /** Takes flags and attributes apart and refuses what does not belong here. */
  private prepare(
    message: Message,
    type: number,
    text: string,
    allowed: RecordSet,
    where: string,
  ): Item | undefined {
    if (type === Rec.FLAGS) {
      extraFlags(message, text);
      return undefined;
    }
    if (!allowed.has(type)) {
      message.reject(`unexpected record type ${type} ${where}`);
      return undefined;
    }
    return type === Rec.ATTRIBUTE ? this.attributeItem(message, text) : { type, text };
  }

  private attributeItem(message: Message, text: string): Item | undefined {
    const split = splitNameValue(text);
    if (split.kind === "malformed") {
      message.reject(`malformed attribute: ${split.error}: ${text.slice(0, 100)}`);
      return undefined;
    }
    const { name, value } = split;
    if (value === "") {
      message.warn(`spurious null attribute value for "${name}" -- ignored`);
      return undefined;
    }
    const standsFor = attributeRecordType(name);
    return standsFor === 0 ? { type: Rec.ATTRIBUTE, text: value, name } : { type: standsFor, text: value };
  }

  private beginRecipients(message: Message): boolean {
    if (message.sender === undefined) {
      message.reject("missing sender envelope record");
      return false;
    }
    if (message.arrival === undefined) {
      message.reject("missing time envelope record");
      return false;
    }
    const { delayWarningTime } = this.settings;
    if (!message.warnTimeSeen && message.sender !== "" && delayWarningTime > 0)
      message.put(Rec.WARN_TIME, padNumber(message.arrival.seconds + delayWarningTime));
    message.inRecipients = true;
    return true;
  }

  /** Records about the recipient that comes next, the same in both segments; false for any other. */
  private aboutRecipient(message: Message, { type, text }: Item): boolean {
    const { next } = message;
    switch (type) {
      case Rec.DONE:
      case Rec.CANCELED:
        message.next = { original: undefined, dsnOriginal: undefined, notify: 0 };
        return true;
      case Rec.ORIGINAL_RECIPIENT:
        if (next.original !== undefined)
          message.warn(`ignoring out-of-order original recipient record <${next.original}>`);
        next.original = text;
        return true;
      case Rec.DSN_ORIGINAL_RECIPIENT:
        if (next.dsnOriginal !== undefined)
          message.warn(`ignoring out-of-order DSN original recipient record <${next.dsnOriginal}>`);
        next.dsnOriginal = text;
        return true;
      case Rec.DSN_NOTIFY: {
        if (next.notify !== 0) message.warn(`ignoring out-of-order DSN notify record <${next.notify}>`);
        const notify = readNotifyFlags(text);
        if (notify === undefined)
          message.warn(`ignoring malformed DSN notify record <notify_flags=${text.slice(0, 100)}>`);
        else {
          next.notify = notify;
          message.hints |= notify << 1;
        }
        return true;
      }
      default:
        return false;
    }
  }

  /** Records about the message as a whole. */
  private messageRecord(message: Message, type: number, text: string, item: Item): Promise<void> | undefined {
    switch (item.type) {
      case Rec.SIZE:
        message.sendOptions |= (scanSizeNumbers(text)[5] ?? 0) & ~DERIVED_SEND_OPTIONS;
        return undefined;
      case Rec.CREATE_TIME:
        return undefined;
      case Rec.TIME:
        if (message.arrival === undefined) {
          // what is no time does not count as one
          message.arrival = readTime(text);
          message.put(Rec.TIME, text);
        }
        message.putAttribute("create_time", timeOfDay().seconds);
        return undefined;
      case Rec.FULL_NAME:
        if (message.fullName !== undefined) return undefined;
        message.fullName = text;
        message.put(Rec.FULL_NAME, text);
        return undefined;
      case Rec.WARN_TIME:
        if (message.warnTimeSeen) return undefined;
        message.warnTimeSeen = true;
        message.put(Rec.WARN_TIME, text);
        return undefined;
      case Rec.FROM:
        if (message.sender === undefined) return this.recipients.sender(message, text);
        message.reject("multiple envelope sender records");
        return undefined;
      case Rec.DSN_ENVELOPE_ID:
        if (NOT_PRINTABLE.test(item.text)) {
          message.reject("bad DSN envelope ID record");
          return undefined;
        }
        message.envelopeId = item.text;
        message.put(type, text);
        return undefined;
      case Rec.DSN_RET: {
        const flags = readReturnFlags(item.text);
        if (flags === undefined) {
          message.reject(`bad DSN RET record <${text.slice(0, 100)}>`);
          return undefined;
        }
        message.returnFlags = flags;
        message.put(type, text);
        return undefined;
      }
      case Rec.VERP:
        this.verp(message, text);
        return undefined;
      default:
        if (item.name !== undefined && !this.attribute(message, item.name, item.text)) return undefined;
        message.put(type, text);
        return undefined;
    }
  }

  private verp(message: Message, text: string): void {
    if (message.sender === undefined || message.sender === "") {
      message.warn("ignoring VERP request for null sender");
      return;
    }
    const { verpDelimiterFilter } = this.settings;
    const [first, second] = text;
    const valid =
      text.length === 2 &&
      verpDelimiterFilter.includes(first ?? "") &&
      verpDelimiterFilter.includes(second ?? "");
    if (!valid) {
      message.warn(`ignoring bad VERP request: "${text.slice(0, 100)}"`);
      return;
    }
    if (message.verpDelimiters !== undefined) return;
    message.verpDelimiters = text;
    message.put(Rec.VERP, text);
  }

  /** Notes an attribute; false when it makes the message unacceptable. */
  private attribute(message: Message, name: string, value: string): boolean {
    const { attributeLimit, remoteHeaderRewriteDomain } = this.settings;
    if (message.attributes.size >= attributeLimit) {
      message.reject(`attribute count exceeds limit ${attributeLimit}`);
      return false;
    }
    message.attributes.set(name, value);
    switch (name) {
      case "rewrite_context":
        if (value === "local") message.headerContext = "local";
        else if (value === "remote")
          message.headerContext = remoteHeaderRewriteDomain === "" ? "none" : "remote";
        else {
          message.reject(`bad rewriting context: ${value.slice(0, 100)}`);
          return false;
        }
        return true;
      case "trace_flags": {
        const flags = readDecimal(value, 0x7fffffff);
        if (flags === undefined) {
          message.reject(`bad TFLAG record <trace_flags=${value.slice(0, 100)}>`);
          return false;
        }
        message.traceFlags = flags & TRACE_FLAGS;
        return true;
      }
      case "encoding":
        message.encoding = value;
        return true;
      default:
        return true;
    }
  }
}

function finishEnvelope(message: Message): void {
  message.put(Rec.END);
  message.phase = "complete";
}

function extraFlags(message: Message, text: string): void {
  const flags = readDecimal(text, 0x7fffffff) ?? 0;
  if ((flags & ~EXTRA_FLAGS) !== 0) message.warn(`ignoring bad extra flags: 0x${flags.toString(16)}`);
  else message.flags |= flags;
}
