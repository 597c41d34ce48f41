/** Reads the records of a file one by one; the incremental twin for sockets is in record_decoder.ts. */

import { warning } from "../log/log.ts";
import { fromBytes } from "../sys/bytes.ts";
import { readSync } from "../sys/fs.ts";
import { REC_EOF, REC_ERROR, Rec } from "./records.ts";

export interface RecordReaderOptions {
  /** Show pointers and padding as records instead of acting on them. Default false. */
  readonly raw?: boolean;
  /** Longest data that is accepted. Default 16 MB: a file with holes costs its maker nothing, and its reader what it claims to hold. */
  readonly maximum?: number;
  /** False for a pipe or terminal. Default true. */
  readonly seekable?: boolean;
  /** Bytes read with one call. Default 16384. */
  readonly bufferSize?: number;
  /** Memory to read into, for a program that reads many files one after another. */
  readonly buffer?: Buffer;
  /** Where reading begins. Default 0. */
  readonly start?: number;
  /** Nothing is read from here on, even if the file has grown. Default: no limit. */
  readonly limit?: number;
}

const REVERSE_JUMP_LIMIT = 10_000;
/** Forward jumps are bounded by the file, but not the walks between reverse jumps of a hostile file. */
const JUMP_LIMIT = 1_000_000;
const DEFAULT_MAXIMUM = 16 * 1024 * 1024;
const EMPTY = Buffer.alloc(0);
const POINTER_VALUE = /^[ \t\n\v\f\r]*([0-9]+)$/;

export type PointerTarget =
  | { readonly kind: "target"; readonly offset: number }
  | { readonly kind: "malformed" };

/** Decodes the data of a pointer record; offset 0 is a dummy. */
export function decodePointer(data: string): PointerTarget {
  const digits = data.length > 4096 ? undefined : POINTER_VALUE.exec(data)?.[1];
  const offset = digits === undefined ? Number.NaN : Number(digits);
  return Number.isSafeInteger(offset) ? { kind: "target", offset } : { kind: "malformed" };
}

/**
 * Synchronous reader over a descriptor, by absolute offsets: the descriptor's own position is neither used nor changed
 * when it is seekable. `read()` gives the type of the next record, REC_EOF or REC_ERROR; its data is in `data` until the next `read()`.
 */
export class RecordReader {
  /** Memory that holds the data of the last record, and where in it; overwritten by the next `read()`. */
  source: Buffer = EMPTY;
  start = 0;
  end = 0;
  /** Where the last record begins. */
  offset = 0;
  raw: boolean;
  maximum: number;
  readonly seekable: boolean;
  readonly #limit: number;

  #buffer: Buffer;
  /** File offset of the first byte in the buffer. */
  #base: number;
  /** Next byte to take, and end of the bytes read, within the buffer. */
  #at = 0;
  #end = 0;
  #reverseJumps = 0;
  #jumps = 0;
  #lastTarget = 0;

  constructor(
    readonly fd: number,
    /** Name of the input in warnings. */
    readonly path: string,
    options: RecordReaderOptions = {},
  ) {
    this.raw = options.raw ?? false;
    this.maximum = options.maximum ?? DEFAULT_MAXIMUM;
    this.seekable = options.seekable ?? true;
    this.#base = options.start ?? 0;
    this.#limit = options.limit ?? Number.MAX_SAFE_INTEGER;
    this.#buffer = options.buffer ?? Buffer.allocUnsafeSlow(options.bufferSize ?? 16384);
  }

  /** Offset of the next record. */
  get position(): number {
    return this.#base + this.#at;
  }

  /** Data of the last record; overwritten by the next `read()`. */
  get data(): Buffer {
    return this.source.subarray(this.start, this.end);
  }

  /** Data of the last record as a byte string. */
  get text(): string {
    return this.source.toString("latin1", this.start, this.end);
  }

  /** Data of the last record up to its first NUL, as consumers of C strings see it. */
  get string(): string {
    const { text } = this;
    const end = text.indexOf("\0");
    return end < 0 ? text : text.slice(0, end);
  }

  /** The type byte of the next record, without taking it; REC_EOF at the end. */
  peek(): number {
    if (this.#at === this.#end && this.#fill() === 0) return REC_EOF;
    return this.#buffer[this.#at] ?? REC_EOF;
  }

  /** Continues at an absolute offset. */
  seek(position: number): void {
    const within = position - this.#base;
    if (within >= 0 && within <= this.#end) {
      this.#at = within;
    } else {
      this.#base = position;
      this.#at = this.#end = 0;
    }
  }

  /** The next record: with `raw` each record as it is; else pointers are followed, padding is skipped, and END leads to the end of the file. */
  read(): number {
    for (;;) {
      const type = this.#next();
      if (this.raw || type < 0) return type;
      switch (type) {
        case Rec.POINTER:
          if (!this.follow()) return REC_ERROR;
          break;
        case Rec.PADDING:
          break;
        case Rec.END:
          this.#skipToEnd();
          return type;
        default:
          return type;
      }
    }
  }

  /** Acts on the pointer record just read; false (with a warning) when it cannot be followed. */
  follow(): boolean {
    const pointer =
      this.end - this.start > 4096 ? ({ kind: "malformed" } as const) : decodePointer(this.text);
    if (pointer.kind === "malformed") {
      warning(`${this.path}: malformed pointer record value: ${fromBytes(this.data.subarray(0, 100))}`);
      return false;
    }
    if (pointer.offset === 0) return true;
    if (!this.seekable) return false;
    if (pointer.offset <= this.#lastTarget) this.#reverseJumps++;
    this.#jumps++;
    if (this.#reverseJumps > REVERSE_JUMP_LIMIT || this.#jumps > JUMP_LIMIT) {
      warning(`${this.path}: too many reverse jump records`);
      return false;
    }
    this.#lastTarget = pointer.offset;
    this.seek(pointer.offset);
    return true;
  }

  /** Skips bytes, forward; on a pipe by reading them. */
  skip(count: number): void {
    if (this.seekable) {
      this.seek(this.position + count);
      return;
    }
    let rest = count;
    while (rest > 0) {
      if (this.#at === this.#end && this.#fill() === 0) return;
      const step = Math.min(rest, this.#end - this.#at);
      this.#at += step;
      rest -= step;
    }
  }

  #skipToEnd(): void {
    if (this.seekable) {
      // Nothing is ever read beyond the largest offset: the next read is an end of file.
      this.#base = Number.MAX_SAFE_INTEGER;
      this.#at = this.#end = 0;
    } else {
      do this.#at = this.#end;
      while (this.#fill() > 0);
    }
  }

  #next(): number {
    this.offset = this.position;
    this.start = this.end = 0;
    if (this.#at === this.#end && this.#fill() === 0) return REC_EOF;
    const type = this.#buffer[this.#at++] ?? 0;
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      if (shift + 7 >= 32) {
        warning(`${this.path}: too many length bits, record type ${type}`);
        return REC_ERROR;
      }
      if (this.#at === this.#end && this.#fill() === 0) {
        warning(`${this.path}: unexpected EOF reading length, record type ${type}`);
        return REC_ERROR;
      }
      const byte = this.#buffer[this.#at++] ?? 0;
      length |= (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) break;
    }
    if (length > this.maximum) {
      warning(`${this.path}: illegal length ${length}, record type ${type}`);
      this.skip(length);
      return REC_ERROR;
    }
    if (length <= this.#end - this.#at) {
      this.source = this.#buffer;
      this.start = this.#at;
      this.#at += length;
      this.end = this.#at;
      return type;
    }
    return this.#long(type, length);
  }

  /** A record that does not lie in the buffer as a whole. Memory grows only as data really arrives. */
  #long(type: number, length: number): number {
    if (length <= this.#buffer.length) {
      this.#compact();
      while (this.#end - this.#at < length) if (this.#extend() === 0) return this.#truncated(type, length);
      this.source = this.#buffer;
      this.start = this.#at;
      this.#at += length;
      this.end = this.#at;
      return type;
    }
    const pieces: Buffer[] = [];
    let rest = length;
    while (rest > 0) {
      if (this.#at === this.#end && this.#fill() === 0) return this.#truncated(type, length);
      const step = Math.min(rest, this.#end - this.#at);
      pieces.push(Buffer.from(this.#buffer.subarray(this.#at, this.#at + step)));
      this.#at += step;
      rest -= step;
    }
    this.source = Buffer.concat(pieces, length);
    this.end = length;
    return type;
  }

  #truncated(type: number, length: number): number {
    warning(`${this.path}: unexpected EOF in data, record type ${type} length ${length}`);
    this.start = this.end = 0;
    return REC_ERROR;
  }

  /** Replaces the buffer, which was used up, by the following bytes. */
  #fill(): number {
    this.#base += this.#end;
    this.#at = this.#end = 0;
    return this.#extend();
  }

  #compact(): void {
    this.#buffer.copyWithin(0, this.#at, this.#end);
    this.#base += this.#at;
    this.#end -= this.#at;
    this.#at = 0;
  }

  #extend(): number {
    const where = this.#base + this.#end;
    if (where >= this.#limit) return 0;
    const count = readSync(
      this.fd,
      this.#buffer,
      this.#end,
      Math.min(this.#buffer.length - this.#end, this.#limit - where),
      this.seekable ? where : null,
    );
    this.#end += count;
    return count;
  }
}
