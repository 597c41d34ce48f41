/** Message content as SMTP lines: CR LF, leading dots doubled, lines that are too long broken (RFC 5321 4.5.2, 4.5.3.1.6). */

const SIZE = 65536;
const CR = 0x0d;
const LF = 0x0a;
const DOT = 0x2e;
const SPACE = 0x20;

/** Buffers between two messages; a delivery takes one for its time. */
const spare: Buffer[] = [];
const SPARE_LIMIT = 16;

export class ContentWriter {
  #out: Buffer;
  #used = 0;
  /** Bytes of the present line, without a doubled dot. */
  #column = 0;
  #broken = false;
  bytes = 0;

  constructor(
    /** Longest line in bytes; 0 = no limit. */
    private readonly lineLimit: number,
    /** Hears of the first line that was broken. */
    private readonly onBreak: () => void,
  ) {
    this.#out = spare.pop() ?? Buffer.allocUnsafeSlow(SIZE);
  }

  /** So much has gathered that it should be sent. */
  get full(): boolean {
    return this.#used > this.#out.length / 2;
  }

  /** What has gathered; to be sent before the next add(). */
  take(): Buffer {
    const bytes = this.#out.subarray(0, this.#used);
    this.bytes += this.#used;
    this.#used = 0;
    return bytes;
  }

  /** Adds a piece of a line; `last`: the line ends with it. */
  add(data: Buffer, last: boolean): void {
    const { length } = data;
    this.#reserve(length + 4);
    if (this.lineLimit > 0 && this.#column + length > this.lineLimit) this.#addBroken(data);
    else {
      if (this.#column === 0 && data[0] === DOT) this.#out[this.#used++] = DOT;
      data.copy(this.#out, this.#used);
      this.#used += length;
      this.#column += length;
    }
    if (last) this.#endLine();
  }

  /** The same with a part of a larger buffer. */
  addSlice(source: Buffer, start: number, end: number, last: boolean): void {
    const length = end - start;
    if (this.lineLimit > 0 && this.#column + length > this.lineLimit) {
      this.add(source.subarray(start, end), last);
      return;
    }
    this.#reserve(length + 4);
    if (this.#column === 0 && length > 0 && source[start] === DOT) this.#out[this.#used++] = DOT;
    this.#used += source.copy(this.#out, this.#used, start, end);
    this.#column += length;
    if (last) this.#endLine();
  }

  /** Adds a complete line given as byte string. */
  line(text: string): void {
    this.add(Buffer.from(text, "latin1"), true);
  }

  /** Ends a line that was left open. */
  endPiece(): void {
    if (this.#column > 0) {
      this.#reserve(2);
      this.#endLine();
    }
  }

  /** Adds protocol text that is no content. */
  raw(text: string): void {
    this.#reserve(text.length);
    this.#used += this.#out.write(text, this.#used, "latin1");
  }

  /** Gives the buffer back. */
  release(): void {
    if (this.#out.length === SIZE && spare.length < SPARE_LIMIT) spare.push(this.#out);
    this.#out = Buffer.alloc(0);
  }

  #endLine(): void {
    this.#out[this.#used++] = CR;
    this.#out[this.#used++] = LF;
    this.#column = 0;
  }

  #addBroken(data: Buffer): void {
    if (!this.#broken) {
      this.#broken = true;
      this.onBreak();
    }
    const limit = this.lineLimit;
    this.#reserve(data.length + 4 + 3 * (1 + Math.ceil(data.length / Math.max(1, limit - 1))));
    let from = 0;
    let fresh = this.#column === 0;
    for (;;) {
      const room = Math.max(limit - this.#column, fresh ? 1 : 0);
      const count = Math.min(room, data.length - from);
      if (this.#column === 0 && data[from] === DOT) this.#out[this.#used++] = DOT;
      data.copy(this.#out, this.#used, from, from + count);
      this.#used += count;
      this.#column += count;
      from += count;
      if (from === data.length) return;
      this.#endLine();
      this.#out[this.#used++] = SPACE;
      this.#column = 1;
      fresh = true;
    }
  }

  /** Room for so many bytes; a single huge record makes the buffer grow for the rest of this message. */
  #reserve(count: number): void {
    if (this.#used + count <= this.#out.length) return;
    const grown = Buffer.allocUnsafeSlow(this.#used + count + SIZE);
    this.#out.copy(grown, 0, 0, this.#used);
    if (this.#out.length === SIZE && spare.length < SPARE_LIMIT) spare.push(this.#out);
    this.#out = grown;
  }
}
