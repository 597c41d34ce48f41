/** One message: its sender, size and time, the recipients that failed so far with their reasons, and the others. */
import { internalToExternal, isPlainAddress } from "../../lib/address/quote.ts";
import { headsOf } from "../../lib/ipc/attributes.ts";
import { LIST_TERMINATOR, ShowqMessage, ShowqRecipient } from "../../lib/ipc/protocols/showq.ts";
import { warning } from "../../lib/log/log.ts";
import { readTime } from "../../lib/queue/attributes.ts";
import { type MessageQueue, MODE_EXPIRE, type Queues } from "../../lib/queue/directories.ts";
import type { FileStatus } from "../../lib/queue/file_system.ts";
import type { LogLines } from "../../lib/queue/log_lines.ts";
import { openLog } from "../../lib/queue/log_reader.ts";
import type { QueueId } from "../../lib/queue/queue_id.ts";
import { RecordReader } from "../../lib/queue/record_reader.ts";
import { Rec } from "../../lib/queue/records.ts";
import { ByteOutput } from "../../lib/sys/byte_output.ts";
import { printable } from "../../lib/sys/bytes.ts";
import { errorCode, errorText, unless } from "../../lib/sys/errno.ts";
import { openUnnoted } from "../../lib/sys/files.ts";
import { closeSync, constants } from "../../lib/sys/fs.ts";
import { LoggedRecipient } from "./logged.ts";
import { Remembered } from "./remembered.ts";

const FLUSH_AT = 32 * 1024;
/** No envelope has longer records; users make the files in maildrop where everybody may write there. */
const RECORD_LIMIT = 64 * 1024;
const READ_SIZE = 4096;
const SIZE_TEXT = /^[0-9 ]+$/;
const OPEN = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
const LOGS = ["defer", "bounce"] as const;

/** What the attributes of an element begin with, all but the first after the end of the one before. */
const between = (heads: string[]): string[] => heads.map((head, index) => (index === 0 ? head : `\0${head}`));
const [QUEUE = "", ID = "", TIME = "", SIZE = "", EXPIRE = "", SENDER = ""] = between(headsOf(ShowqMessage));
const [ORIGINAL = "", RECIPIENT = "", CLASS = "", REASON = ""] = between(headsOf(ShowqRecipient));

/** The settings of a listing, its output, and the memory that its messages use one after the other. */
export class Listing {
  readonly output = new ByteOutput(2 * FLUSH_AT);
  readonly buffer = Buffer.allocUnsafeSlow(READ_SIZE);
  readonly logged: LoggedRecipient;
  /** Recipients that a log of this message named. */
  readonly remembered: Remembered;
  /** What the message says of its next recipient: the original one, as it is shown. */
  readonly original = new ByteOutput(256);

  /** `rememberedLimit`: 0 for none (duplicate_filter_limit). */
  constructor(
    readonly queues: Queues,
    readonly queue: MessageQueue,
    readonly utf8: boolean,
    readonly emptyAddress: string,
    rememberedLimit: number,
  ) {
    this.logged = new LoggedRecipient(utf8);
    this.remembered = new Remembered(rememberedLimit === 0 ? Number.POSITIVE_INFINITY : rememberedLimit);
  }

  /** So much was written that it should reach the client. */
  get full(): boolean {
    return this.output.length > FLUSH_AT;
  }
}

export class Message {
  readonly #listing: Listing;
  readonly #id: QueueId;
  readonly #status: FileStatus;
  readonly #reader: RecordReader;
  #time: number | undefined;
  #size: number | undefined;
  /** Its head was written. */
  #begun = false;
  #hasOriginal = false;
  /** The log whose entries come next, and how many were begun. */
  #log: LogLines | undefined;
  #logs = 0;

  private constructor(listing: Listing, id: QueueId, status: FileStatus, reader: RecordReader) {
    this.#listing = listing;
    this.#id = id;
    this.#status = status;
    this.#reader = reader;
    listing.remembered.clear();
  }

  /** Undefined for a file that cannot be opened (said so), or has gone since it was looked at. */
  static open(listing: Listing, id: QueueId, status: FileStatus): Message | undefined {
    const path = listing.queues.path(listing.queue, id);
    try {
      const options = { buffer: listing.buffer, maximum: RECORD_LIMIT };
      return new Message(listing, id, status, new RecordReader(openUnnoted(path, OPEN), path, options));
    } catch (error) {
      if (errorCode(error) !== "ENOENT") warning(`open ${path}: ${errorText(error)}`);
      return undefined;
    }
  }

  close(): void {
    this.#log?.close();
    closeSync(this.#reader.fd);
  }

  /** Writes what it has for the client. True when that is not all, but the output is full. */
  proceed(): boolean {
    while (!this.#listing.full) {
      if (this.#log !== undefined) this.#showEntry(this.#log);
      else if (!this.#showRecord()) return false;
    }
    return true;
  }

  /** False at the end of the file, or of what is of use in it. */
  #showRecord(): boolean {
    const reader = this.#reader;
    const type = reader.read();
    switch (type) {
      case Rec.TIME:
        this.#time ??= readTime(reader.text)?.seconds;
        return true;
      case Rec.SIZE:
        if (this.#listing.queue !== "maildrop") this.#size ??= readSize(reader.text, this.#id);
        return true;
      case Rec.FROM:
        return this.#begin();
      case Rec.ORIGINAL_RECIPIENT: {
        if (!this.#begun) return this.#skip("missing sender address", this.#shown(reader.string));
        const { original } = this.#listing;
        original.clear();
        this.#show(original);
        this.#hasOriginal = true;
        return true;
      }
      case Rec.RECIPIENT:
        if (!this.#begun) return this.#skip("missing sender address", this.#shown(reader.string));
        this.#showRecipient();
        this.#hasOriginal = false;
        return true;
      case Rec.DONE:
      case Rec.CANCELED:
        this.#hasOriginal = false;
        return true;
      case Rec.CONTENT:
        if (this.#size !== undefined) reader.skip(this.#size);
        return true;
      default:
        return type > 0 || this.#end();
    }
  }

  #begin(): boolean {
    if (this.#begun) return this.#skip("duplicate sender address", this.#reader.string);
    this.#begun = true;
    const { output, queue, emptyAddress } = this.#listing;
    output.text(QUEUE);
    output.text(queue);
    output.text(ID);
    output.text(this.#id);
    output.text(TIME);
    output.text(String(this.#time ?? this.#status.modified));
    output.text(SIZE);
    output.text(String(this.#size ?? this.#status.size));
    output.text(EXPIRE);
    output.text((this.#status.mode & MODE_EXPIRE) !== 0 ? "1" : "0");
    output.text(SENDER);
    this.#show(output, emptyAddress);
    output.text("\0");
    this.#nextLog();
    return true;
  }

  #skip(why: string, address: string): false {
    warning(`${this.#id}: ${why}: ${address} -- skipping remainder of this file`);
    return this.#end();
  }

  #end(): false {
    if (this.#begun) this.#listing.output.text(LIST_TERMINATOR);
    return false;
  }

  /** Goes on with the next log that there is, or with the file. */
  #nextLog(): void {
    const { queues, queue, utf8 } = this.#listing;
    this.#log = undefined;
    while (this.#log === undefined) {
      const log = LOGS[this.#logs++];
      if (log === undefined) return;
      const expected = log === "defer" && queue === "deferred";
      this.#log = unless(["EACCES"], () => openLog(queues, log, this.#id, { utf8, expected }));
    }
  }

  #showEntry(log: LogLines): void {
    const { output, logged, remembered } = this.#listing;
    if (!logged.read(log)) {
      log.close();
      this.#nextLog();
      return;
    }
    const { original, recipient, reason } = logged;
    output.text(ORIGINAL);
    output.copy(original.bytes, 0, original.length);
    output.text(RECIPIENT);
    output.copy(recipient.bytes, 0, recipient.length);
    output.text(CLASS);
    output.text(LOGS[this.#logs - 1] ?? "");
    output.text(REASON);
    output.copy(reason.bytes, 0, reason.length);
    output.text("\0");
    remembered.add(recipient.bytes, 0, recipient.length);
  }

  /** Shows the recipient in the record just read, which is taken back when a log named it. */
  #showRecipient(): void {
    const { output, original, remembered } = this.#listing;
    const before = output.length;
    output.text(ORIGINAL);
    if (this.#hasOriginal) output.copy(original.bytes, 0, original.length);
    else this.#show(output);
    output.text(RECIPIENT);
    const start = output.length;
    this.#show(output);
    if (remembered.has(output.bytes, start, output.length)) {
      output.length = before;
      return;
    }
    output.text(CLASS);
    output.text(REASON);
    output.text("\0");
  }

  /** Writes the address in the record just read as it is shown: quoted, without control characters. */
  #show(output: ByteOutput, ifEmpty = ""): void {
    const { source, start, end } = this.#reader;
    if (isPlainAddress(source, start, end)) output.copy(source, start, end);
    else output.text(this.#shown(this.#reader.string || ifEmpty));
  }

  #shown(address: string): string {
    return printable(address === "" ? '""' : internalToExternal(address), this.#listing.utf8);
  }
}

function readSize(text: string, id: QueueId): number | undefined {
  const size = SIZE_TEXT.test(text) ? Number.parseInt(text, 10) || 0 : Number.NaN;
  if (Number.isSafeInteger(size)) return size;
  warning(`${id}: malformed size record: ${text.slice(0, 100)} -- using file size instead`);
  return undefined;
}
