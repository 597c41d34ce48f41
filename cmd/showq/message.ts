/** One message: its sender, size and time, the recipients that failed so far with their reasons, and the others. */

import { internalToExternal } from "../../lib/address/quote.ts";
import { LIST_TERMINATOR, messageText, recipientText } from "../../lib/ipc/protocols/showq.ts";
import { warning } from "../../lib/log/log.ts";
import { readTime } from "../../lib/queue/attributes.ts";
import { type MessageQueue, MODE_EXPIRE, type Queues } from "../../lib/queue/directories.ts";
import type { FileStatus } from "../../lib/queue/file_system.ts";
import { type LogReader, readLog } from "../../lib/queue/log_reader.ts";
import type { QueueId } from "../../lib/queue/queue_id.ts";
import { RecordReader } from "../../lib/queue/record_reader.ts";
import { REC_EOF, Rec } from "../../lib/queue/records.ts";
import { printable } from "../../lib/sys/bytes.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { errorCode, errorText, unless } from "../../lib/sys/errno.ts";
import { closeSync, constants, openSync } from "../../lib/sys/fs.ts";

/** A queue on its way to a client. */
export interface Listing {
  readonly channel: Channel;
  readonly queues: Queues;
  readonly queue: MessageQueue;
  /** Files are read into it, one after the other. */
  readonly buffer: Buffer;
  /** smtputf8_enable */
  readonly utf8: boolean;
  /** empty_address_recipient */
  readonly emptyAddress: string;
  /** Recipients of a log that are remembered (duplicate_filter_limit). */
  readonly rememberedLimit: number;
}

const FLUSH_AT = 32 * 1024;
/** No envelope has longer records; users make the files in maildrop where everybody may write there. */
const RECORD_LIMIT = 64 * 1024;
const SIZE_TEXT = /^[0-9 ]+$/;
const OPEN = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
const LOGS = ["defer", "bounce"] as const;

export class Message {
  readonly #listing: Listing;
  readonly #id: QueueId;
  readonly #status: FileStatus;
  readonly #reader: RecordReader;
  #time: number | undefined;
  #size: number | undefined;
  #sender: string | undefined;
  #original: string | undefined;
  /** Recipients that a log named, as far as they are to be remembered. */
  #listed: Set<string> | undefined;
  /** The log whose entries come next, and how many were begun. */
  #log: LogReader | undefined;
  #logs = 0;

  private constructor(listing: Listing, id: QueueId, status: FileStatus, reader: RecordReader) {
    this.#listing = listing;
    this.#id = id;
    this.#status = status;
    this.#reader = reader;
  }

  /** Undefined for a file that cannot be opened (said so), or has gone since it was looked at. */
  static open(listing: Listing, id: QueueId, status: FileStatus): Message | undefined {
    const path = listing.queues.path(listing.queue, id);
    try {
      const options = { buffer: listing.buffer, maximum: RECORD_LIMIT };
      return new Message(listing, id, status, new RecordReader(openSync(path, OPEN), path, options));
    } catch (error) {
      if (errorCode(error) !== "ENOENT") warning(`open ${path}: ${errorText(error)}`);
      return undefined;
    }
  }

  close(): void {
    this.#log?.close();
    closeSync(this.#reader.fd);
  }

  /** Writes to the client. True when there is more, and the client must catch up before. */
  proceed(): boolean {
    const { channel } = this.#listing;
    while (channel.unsent <= FLUSH_AT) {
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
        return this.#begin(reader.string);
      case Rec.ORIGINAL_RECIPIENT:
        if (this.#sender === undefined)
          return this.#skip("missing sender address", this.#shown(reader.string));
        this.#original = reader.string;
        return true;
      case Rec.RECIPIENT: {
        const address = this.#shown(reader.string);
        if (this.#sender === undefined) return this.#skip("missing sender address", address);
        if (this.#listed?.has(address) !== true)
          this.#showRecipient(
            this.#original === undefined ? address : this.#shown(this.#original),
            address,
            "",
            "",
          );
        this.#original = undefined;
        return true;
      }
      case Rec.DONE:
      case Rec.CANCELED:
        this.#original = undefined;
        return true;
      case Rec.CONTENT:
        if (this.#size !== undefined) reader.skip(this.#size);
        return true;
      default:
        return type > REC_EOF || this.#end();
    }
  }

  #begin(address: string): boolean {
    if (this.#sender !== undefined) return this.#skip("duplicate sender address", address);
    const { channel, queue, emptyAddress } = this.#listing;
    this.#sender = address === "" ? emptyAddress : address;
    channel.write(
      messageText(
        queue,
        this.#id,
        this.#time ?? this.#status.modified,
        this.#size ?? this.#status.size,
        (this.#status.mode & MODE_EXPIRE) !== 0,
        this.#shown(this.#sender),
      ),
    );
    this.#nextLog();
    return true;
  }

  #skip(why: string, address: string): false {
    warning(`${this.#id}: ${why}: ${address} -- skipping remainder of this file`);
    return this.#end();
  }

  #end(): false {
    if (this.#sender !== undefined) this.#listing.channel.write(LIST_TERMINATOR);
    return false;
  }

  /** Goes on with the next log that there is, or with the file. */
  #nextLog(): void {
    const { queues, utf8 } = this.#listing;
    this.#log = undefined;
    while (this.#log === undefined) {
      const queue = LOGS[this.#logs++];
      if (queue === undefined) return;
      this.#log = unless(["ENOENT", "EACCES"], () => readLog(queues, queue, this.#id, { utf8 }));
    }
  }

  #showEntry(log: LogReader): void {
    const entry = log.next();
    if (entry === undefined) {
      this.#nextLog();
      return;
    }
    const { originalRecipient, recipient, reason } = entry;
    this.#showRecipient(originalRecipient, recipient, log.queue, reason);
    this.#listed ??= new Set();
    if (this.#listed.size < this.#listing.rememberedLimit) this.#listed.add(recipient);
  }

  #showRecipient(original: string, recipient: string, logClass: string, reason: string): void {
    this.#listing.channel.write(recipientText(original, recipient, logClass, reason));
  }

  /** Address of the queue file as it is shown: quoted, without control characters. */
  #shown(address: string): string {
    return printable(address === "" ? '""' : internalToExternal(address), this.#listing.utf8);
  }
}

function readSize(text: string, id: QueueId): number | undefined {
  const size = SIZE_TEXT.test(text) ? Number.parseInt(text, 10) : Number.NaN;
  if (Number.isSafeInteger(size)) return size;
  warning(`${id}: malformed size record: ${text.slice(0, 100)} -- using file size instead`);
  return undefined;
}
