/** Decodes records that arrive in chunks (cleanup's and postdrop's input). Pointers and padding are shown as they are. */
import { warning } from "../log/log.ts";
import { MAX_RECORD_LENGTH, REC_EOF, REC_ERROR, REC_MORE } from "./records.ts";

const EMPTY = Buffer.alloc(0);

export class RecordDecoder {
  #chunk: Buffer = EMPTY;
  #at = 0;
  /** Where the data of the last record stand in the chunk. */
  #start = 0;
  #end = 0;
  /** Where the first NUL of the chunk stands; undefined until somebody wants to know. */
  #nul: number | undefined;
  /** Chunks that wait for the rest of a record which is longer than what has arrived. */
  #waiting: Buffer[] = [];
  #waitingLength = 0;
  #needed = 0;
  #ended = false;
  #failed = false;

  constructor(
    /** Name of the input in warnings. */
    readonly path: string,
    readonly maximum: number = MAX_RECORD_LENGTH,
  ) {}

  /** Data of the last record: a view into the chunk that held it, where possible. */
  get data(): Buffer {
    return this.#chunk.subarray(this.#start, this.#end);
  }

  /** Data of the last record as a byte string. */
  get text(): string {
    return this.#chunk.toString("latin1", this.#start, this.#end);
  }

  /** Data of the last record up to its first NUL, as consumers of C strings see it. */
  get string(): string {
    const { text } = this;
    this.#nul ??= nulIn(this.#chunk);
    if (this.#end <= this.#nul) return text;
    const end = text.indexOf("\0");
    return end < 0 ? text : text.slice(0, end);
  }

  #setChunk(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#at = this.#start = this.#end = 0;
    this.#nul = undefined;
  }

  /** Gives input. The chunk must not be changed while records of it are in use. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    if (this.#needed > 0) {
      this.#waiting.push(bytes);
      this.#waitingLength += bytes.length;
      if (this.#waitingLength >= this.#needed) this.#join();
    } else if (this.#at === this.#chunk.length) {
      this.#setChunk(bytes);
    } else {
      this.#setChunk(Buffer.concat([this.#chunk.subarray(this.#at), bytes]));
    }
  }

  /** No more input will come. */
  end(): void {
    this.#ended = true;
    if (this.#needed > 0) this.#join();
  }

  /** Bytes that were pushed and not yet decoded (for what follows the last record). */
  rest(): Buffer {
    if (this.#needed > 0) this.#join();
    const rest = this.#chunk.subarray(this.#at);
    this.#setChunk(EMPTY);
    return rest;
  }

  /**
   * Undecoded bytes at hand, for a consumer that looks at many records at once; it may change them in place. The last record may
   * be incomplete. Empty while the rest of a record is awaited.
   */
  peek(): Buffer {
    return this.#failed || this.#needed > 0 ? EMPTY : this.#chunk.subarray(this.#at);
  }

  /** Passes over complete records seen with `peek()`. */
  skip(bytes: number): void {
    this.#at += bytes;
  }

  /** The type of the next record, REC_MORE, REC_EOF (after `end()`) or REC_ERROR (for good). */
  next(): number {
    this.#start = this.#end = 0;
    if (this.#failed) return REC_ERROR;
    if (this.#needed > 0) return REC_MORE;
    const chunk = this.#chunk;
    let at = this.#at;
    if (at === chunk.length) return this.#ended ? REC_EOF : REC_MORE;
    const type = chunk[at++] ?? 0;
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      if (shift + 7 >= 32) return this.#fail(`too many length bits, record type ${type}`);
      const byte = chunk[at++];
      if (byte === undefined)
        return this.#ended ? this.#fail(`unexpected EOF reading length, record type ${type}`) : REC_MORE;
      length |= (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) break;
    }
    if (length > this.maximum) return this.#fail(`illegal length ${length}, record type ${type}`);
    if (at + length > chunk.length) {
      if (this.#ended) return this.#fail(`unexpected EOF in data, record type ${type} length ${length}`);
      this.#needed = at + length - this.#at;
      this.#waiting = [chunk.subarray(this.#at)];
      this.#waitingLength = chunk.length - this.#at;
      this.#setChunk(EMPTY);
      return REC_MORE;
    }
    this.#start = at;
    this.#end = this.#at = at + length;
    return type;
  }

  #join(): void {
    this.#setChunk(Buffer.concat(this.#waiting, this.#waitingLength));
    this.#waiting = [];
    this.#waitingLength = this.#needed = 0;
  }

  #fail(what: string): number {
    this.#failed = true;
    warning(`${this.path}: ${what}`);
    return REC_ERROR;
  }
}

function nulIn(chunk: Buffer): number {
  const at = chunk.indexOf(0);
  return at < 0 ? chunk.length : at;
}
