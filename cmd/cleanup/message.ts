/** The state of one message on its way through cleanup. */
import { internalToExternal } from "../../lib/address/quote.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { CLEANUP_FLAG, type CleanupStatusName, cleanupStatusBit } from "../../lib/ipc/protocols/cleanup.ts";
import { SENDOPT } from "../../lib/ipc/protocols/delivery.ts";
import { warning } from "../../lib/log/log.ts";
import type { QueueId } from "../../lib/queue/queue_id.ts";
import type { RecordWriter } from "../../lib/queue/record_writer.ts";
import { Rec } from "../../lib/queue/records.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import type { TimeOfDay } from "../../lib/sys/process.ts";

/** Errors after which the rest of a message that is to be bounced need not be stored. */
const INCOMPLETE =
  cleanupStatusBit("BAD") | cleanupStatusBit("WRITE") | cleanupStatusBit("SIZE") | cleanupStatusBit("DEFER");
/** Errors for which cleanup cannot bounce a message itself. */
const CANNOT_BOUNCE =
  cleanupStatusBit("BAD") | cleanupStatusBit("WRITE") | cleanupStatusBit("DEFER") | cleanupStatusBit("RCPT");
/** A file is written in blocks of this size: one that is too large is noticed with the block that crosses the limit, or at its end. */
const BLOCK_SIZE = 4096;
const WIRE_FLAGS = 0xffff;

export type Phase = "envelope" | "content" | "extracted" | "complete";
/** How headers are rewritten; `none` for mail of remote clients without remote_header_rewrite_domain. */
export type HeaderContext = "local" | "remote" | "none";

/** DSN parameters of the recipient that comes next. */
export interface NextRecipient {
  original: string | undefined;
  dsnOriginal: string | undefined;
  notify: number;
}

export class Message {
  phase: Phase = "envelope";
  /** Status bits of the errors so far. */
  status = 0;
  /** `D.S.N text` for the client. */
  reason = "";
  /** Sender options of the SIZE record. */
  sendOptions = 0;
  /** Queue manager hints of the SIZE record. */
  hints = 0;
  sender: string | undefined;
  /** The last recipient, cleaned, before virtual expansion; for log lines. */
  recipient: string | undefined;
  arrival: TimeOfDay | undefined;
  fullName: string | undefined;
  envelopeId = "";
  returnFlags = 0;
  verpDelimiters: string | undefined;
  warnTimeSeen = false;
  traceFlags = 0;
  encoding = "";
  headerContext: HeaderContext = "local";
  readonly attributes = new Map<string, string>();
  next: NextRecipient = { original: undefined, dsnOriginal: undefined, notify: 0 };
  inRecipients = false;
  recipientCount = 0;
  readonly seenRecipients = new Set<string>();
  dataOffset = 0;
  contentEnd = 0;
  filter: string | undefined;
  redirect: string | undefined;
  readonly checkBcc: string[] = [];
  /** The id of the first Message-Id header, or of the one that was added. */
  messageId: string | undefined;
  hops = 0;
  readonly seenHeaders = new Set<string>();
  resent = false;
  /** This run appended to the trace log of the message. */
  traced = false;
  /** Bytes of the queue file beyond which the message is too large, whatever follows. */
  private readonly sizeLimit: number;

  constructor(
    readonly queueId: QueueId,
    readonly created: TimeOfDay,
    readonly output: RecordWriter,
    /** Request flags (`CLEANUP_FLAG`). */
    public flags: number,
    private readonly limits: { readonly messageSizeLimit: number; readonly lineLimit: number },
  ) {
    this.attributes.set("log_message_origin", "local");
    const { messageSizeLimit } = limits;
    this.sizeLimit =
      messageSizeLimit > 0 ? Math.ceil(messageSizeLimit / BLOCK_SIZE) * BLOCK_SIZE : Number.POSITIVE_INFINITY;
    if ((flags & ~WIRE_FLAGS) !== 0) this.flags &= WIRE_FLAGS;
    if (this.has("smtputf8Requested")) this.sendOptions |= SENDOPT.smtputf8Requested;
    if (this.has("requireTls")) this.sendOptions |= SENDOPT.requireTls;
  }

  has(flag: keyof typeof CLEANUP_FLAG): boolean {
    return (this.flags & CLEANUP_FLAG[flag]) !== 0;
  }
  set(flag: keyof typeof CLEANUP_FLAG): void {
    this.flags |= CLEANUP_FLAG[flag];
  }
  /** Further checks and Milters are off. */
  stopFiltering(): void {
    this.flags &= ~(CLEANUP_FLAG.filter | CLEANUP_FLAG.milter);
  }

  /** Records are still stored. */
  get accepts(): boolean {
    if ((this.flags & CLEANUP_FLAG.discard) !== 0) return false;
    return this.status === 0 || (this.has("bounce") && (this.status & INCOMPLETE) === 0);
  }
  /** The errors so far are such that cleanup returns the message to its sender. */
  get canBounce(): boolean {
    return (
      this.status !== 0 &&
      this.has("bounce") &&
      (this.status & CANNOT_BOUNCE) === 0 &&
      this.sender !== undefined
    );
  }

  warn(text: string): void {
    warning(`${this.queueId}: ${text}`);
  }
  fail(status: CleanupStatusName, reason?: string): void {
    this.status |= cleanupStatusBit(status);
    if (reason !== undefined && this.reason === "") this.reason = reason;
  }
  /** A protocol error of the client. */
  reject(text: string): void {
    this.warn(`message rejected: ${text}`);
    this.fail("BAD");
  }

  /** An address for a log line. */
  logged(address: string): string {
    return address === "" || parameter("info_log_address_format") === "internal"
      ? address
      : internalToExternal(address);
  }

  /** Appends a record while the message is still good. */
  put(type: number, data: string | Uint8Array = ""): void {
    if (!this.accepts) return;
    try {
      this.output.put(type, data);
    } catch (error) {
      this.writeFailed(error);
      return;
    }
    this.checkSize();
  }

  /** Appends encoded records. */
  append(records: Uint8Array): void {
    if (!this.accepts) return;
    this.write(() => this.output.append(records));
  }

  /** A text line; one longer than line_length_limit takes several records, the last of which has the type. */
  putText(type: number, data: string | Uint8Array): void {
    const { lineLimit } = this.limits;
    let rest = data;
    while (rest.length > lineLimit) {
      this.put(Rec.CONTINUED, rest.slice(0, lineLimit));
      rest = rest.slice(lineLimit);
    }
    this.put(type, rest);
  }

  putAttribute(name: string, value: string | number): void {
    this.put(Rec.ATTRIBUTE, `${name}=${value}`);
  }

  /** Does something that writes the queue file. */
  write(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.writeFailed(error);
      return;
    }
    this.checkSize();
  }

  private checkSize(): void {
    if (this.output.position > this.sizeLimit) this.tooBig();
  }

  /** The queue file would exceed the limit. */
  get oversized(): boolean {
    const { messageSizeLimit } = this.limits;
    return messageSizeLimit > 0 && this.output.position > messageSizeLimit;
  }

  writeFailed(error: unknown): void {
    const code = errorCode(error);
    if (code === undefined) throw error;
    if (code === "EFBIG") this.tooBig();
    else {
      this.warn(`write queue file: ${errorText(error)}`);
      this.fail("WRITE");
    }
  }

  tooBig(): void {
    if ((this.status & cleanupStatusBit("SIZE")) !== 0) return;
    this.warn("queue file size limit exceeded");
    this.fail("SIZE");
  }
}
