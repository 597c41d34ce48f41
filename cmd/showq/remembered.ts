/** The recipients of one message that a log named, as they were shown: these are not shown again. */
import { ByteOutput } from "../../lib/sys/byte_output.ts";

/** So few, as nearly every message has, are compared one by one; more of them have an index. */
const FEW = 4;
const SIZE = 256;

export class Remembered {
  readonly #limit: number;
  readonly #bytes = new ByteOutput(SIZE);
  /** Where each of the few ends. */
  readonly #ends: number[] = [];
  #index: Set<string> | undefined;

  /** `limit`: so many are remembered at most (duplicate_filter_limit). */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Another message begins. */
  clear(): void {
    this.#bytes.clear();
    this.#ends.length = 0;
    this.#index = undefined;
  }

  add(bytes: Buffer, start: number, end: number): void {
    if ((this.#index?.size ?? this.#ends.length) >= this.#limit) return;
    if (this.#ends.length < FEW) {
      if (this.has(bytes, start, end)) return;
      this.#bytes.copy(bytes, start, end);
      this.#ends.push(this.#bytes.length);
      return;
    }
    this.#index ??= new Set(
      this.#ends.map((at, index) => this.#bytes.bytes.toString("latin1", this.#ends[index - 1] ?? 0, at)),
    );
    this.#index.add(bytes.toString("latin1", start, end));
  }

  has(bytes: Buffer, start: number, end: number): boolean {
    if (this.#index !== undefined) return this.#index.has(bytes.toString("latin1", start, end));
    let from = 0;
    for (const to of this.#ends) {
      if (to - from === end - start && this.#isAt(from, bytes, start, end)) return true;
      from = to;
    }
    return false;
  }

  #isAt(from: number, bytes: Buffer, start: number, end: number): boolean {
    const mine = this.#bytes.bytes;
    for (let at = start; at < end; at++) if (bytes[at] !== mine[from + at - start]) return false;
    return true;
  }
}
