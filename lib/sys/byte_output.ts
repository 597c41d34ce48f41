/** Output gathered as bytes in memory that is used again: where very much is written, a string for each piece costs more than the piece. */
import { isPrintCode, printable } from "./bytes.ts";

/** Shorter texts and pieces are copied byte by byte, which a call of the runtime's functions would cost more than. */
const SHORT = 32;

export class ByteOutput {
  /** The first `length` bytes are what was put. */
  bytes: Buffer;
  length = 0;

  /** `size`: bytes to begin with; more is taken when a piece needs it. */
  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
  }

  /** A byte string. */
  text(text: string): void {
    const { length } = text;
    this.#reserve(length);
    if (length > SHORT) this.bytes.write(text, this.length, "latin1");
    else
      for (let index = 0; index < length; index++) this.bytes[this.length + index] = text.charCodeAt(index);
    this.length += length;
  }

  /** A part of other bytes. */
  copy(source: Buffer, start: number, end: number): void {
    const length = end - start;
    this.#reserve(length);
    if (length > SHORT) source.copy(this.bytes, this.length, start, end);
    else
      for (let index = 0; index < length; index++)
        this.bytes[this.length + index] = source[start + index] ?? 0;
    this.length += length;
  }

  /** A part of other bytes, made printable as printable() does. */
  printable(source: Buffer, start: number, end: number, utf8: boolean): void {
    let at = start;
    while (at < end && isPrintCode(source[at] ?? 0)) at++;
    if (at === end) this.copy(source, start, end);
    else this.text(printable(source.toString("latin1", start, end), utf8));
  }

  /** The same byte several times; none for a count below 1. */
  fill(byte: number, count: number): void {
    if (count <= 0) return;
    this.#reserve(count);
    this.bytes.fill(byte, this.length, this.length + count);
    this.length += count;
  }

  /** What was put, until something is put again. */
  view(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
  }

  #reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.bytes.length));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }
}
