/** The lines of bounce, defer and trace logs, as fields whose values are bytes: whoever lists a queue reads very many. */
import { warning } from "../log/log.ts";
import { isAlnumCode, printable } from "../sys/bytes.ts";
import { closeSync, readSync } from "../sys/fs.ts";
import { splitNameValue } from "./attributes.ts";

const CHUNK = 16 * 1024;
/** Longer lines are cut: no log of ours has them. */
const LINE_LIMIT = 64 * 1024;

const FIELDS = [
  "recipient",
  "original_recipient",
  "offset",
  "dsn_orig_rcpt",
  "notify_flags",
  "status",
  "action",
  "diag_type",
  "diag_text",
  "mta_type",
  "mta_mname",
  "reason",
] as const;
export type LogField = (typeof FIELDS)[number];

const isField = (name: string): name is LogField => (FIELDS as ReadonlyArray<string>).includes(name);

const EQUALS = 0x3d;
const NEWLINE = 0x0a;
const SPACE = 0x20;
const LESS = 0x3c;
/** Ends the recipient of an old-style line. */
const CLOSE = ">: ";

/** Buffers of readers that are done. */
const spare: Buffer[] = [];

export class LogLines {
  /** What the last line gave: these bytes from `start` to `end`, as they are in the file, until the next line is asked for. */
  bytes: Buffer = spare.pop() ?? Buffer.allocUnsafeSlow(CHUNK);
  start = 0;
  end = 0;
  #fd: number;
  readonly #path: string;
  readonly #utf8: boolean;
  /** Where the next line begins, and how many bytes were read. */
  #next = 0;
  #read = 0;
  #ended = false;
  /** The reason of an old-style line that comes next; -1 for none. */
  #reason = -1;
  #reasonEnd = 0;

  constructor(fd: number, path: string, utf8: boolean) {
    this.#fd = fd;
    this.#path = path;
    this.#utf8 = utf8;
  }

  /**
   * What comes next. A field gives its value without blanks around it, an old-style line (`<recipient>: reason`) its recipient and then, as a line of
   * its own, its reason; an unusual line gives itself.
   */
  next(): LogField | "blank" | "unusual" | "end" {
    if (this.#reason >= 0) return this.#oldReason();
    for (;;) {
      const start = this.#next;
      let end = this.bytes.indexOf(NEWLINE, start);
      if (end < 0 || end >= this.#read) {
        if (this.#fill()) continue;
        // a last line without its end
        end = this.#read;
        if (start >= end) return "end";
      }
      this.#next = end + 1;
      return start === end ? "blank" : this.#line(start, end);
    }
  }

  #line(start: number, end: number): LogField | "unusual" {
    const { bytes } = this;
    if (bytes[start] === LESS) return this.#oldRecipient(start, end);
    let equals = start;
    while (equals < end && bytes[equals] !== EQUALS) equals++;
    const field = equals < end ? fieldAt(bytes, start, equals) : undefined;
    this.#give(field === undefined ? start : equals + 1, end);
    if (field === undefined) return "unusual";
    this.#trimStart();
    while (this.end > this.start && bytes[this.end - 1] === SPACE) this.end--;
    return field;
  }

  #oldRecipient(start: number, end: number): LogField | "unusual" {
    const length = this.bytes.subarray(start, end).indexOf(CLOSE);
    if (length < 0) {
      this.#give(start, end);
      return "unusual";
    }
    this.#reason = start + length + CLOSE.length;
    this.#reasonEnd = end;
    this.#give(start + 1, start + length);
    return "recipient";
  }

  #oldReason(): LogField {
    this.#give(this.#reason, this.#reasonEnd);
    this.#reason = -1;
    this.#trimStart();
    return "reason";
  }

  #give(start: number, end: number): void {
    this.start = start;
    this.end = end;
  }

  /** Other white space is not printable, and no space any more when that was seen to. */
  #trimStart(): void {
    while (this.start < this.end && this.bytes[this.start] === SPACE) this.start++;
  }

  /** What the last line gave, as printable text. */
  get text(): string {
    return printable(this.bytes.toString("latin1", this.start, this.end), this.#utf8);
  }

  /** The field in an unusual line, which has blanks before its equals sign. Without any it was complained about. */
  get field(): readonly [LogField, string] | undefined {
    const line = this.text;
    const parsed = isAlnumCode(line.charCodeAt(0)) ? splitNameValue(line) : undefined;
    if (parsed === undefined) warning(`${this.#path}: malformed record: ${line.slice(0, 100)}...`);
    else if (parsed.kind === "malformed") warning(`${this.#path}: malformed record: ${parsed.error}`);
    else if (isField(parsed.name)) return [parsed.name, parsed.value];
    else warning(`${this.#path}: unknown attribute name: ${parsed.name}, ignored`);
    return undefined;
  }

  /** Reads on, behind what is left; false at the end. */
  #fill(): boolean {
    if (this.#ended) return false;
    this.bytes.copyWithin(0, this.#next, this.#read);
    this.#read -= this.#next;
    this.#next = 0;
    if (this.#read === this.bytes.length) this.#makeRoom();
    const room = this.bytes.length - this.#read;
    const count = readSync(this.#fd, this.bytes, this.#read, room, null);
    this.#read += count;
    // a file gives less than is asked for at its end alone
    this.#ended = count < room;
    return true;
  }

  /** A line fills the buffer: a larger one, or the line loses what comes now. */
  #makeRoom(): void {
    if (this.bytes.length >= LINE_LIMIT) {
      this.#read -= CHUNK;
      return;
    }
    const larger = Buffer.allocUnsafeSlow(2 * this.bytes.length);
    this.bytes.copy(larger, 0, 0, this.#read);
    this.bytes = larger;
  }

  close(): void {
    if (this.#fd < 0) return;
    closeSync(this.#fd);
    this.#fd = -1;
    this.#ended = true;
    this.#next = this.#read;
    if (this.bytes.length === CHUNK) spare.push(this.bytes);
  }
}

/** The fields whose names have this length: few. */
const BY_LENGTH = Array.from({ length: 1 + Math.max(...FIELDS.map(({ length }) => length)) }, (_, length) =>
  FIELDS.filter((name) => name.length === length),
);

/** The field whose name stands there. */
function fieldAt(bytes: Buffer, start: number, end: number): LogField | undefined {
  return BY_LENGTH[end - start]?.find((name) => isTextAt(bytes, start, name));
}

function isTextAt(bytes: Buffer, start: number, text: string): boolean {
  for (let index = 0; index < text.length; index++)
    if (bytes[start + index] !== text.charCodeAt(index)) return false;
  return true;
}
