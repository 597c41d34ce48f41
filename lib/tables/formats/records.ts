/** The records of an index that is being made: keys and values in one piece of memory, since a million objects cost more than all else. */

import type { PlainRecord } from "../source.ts";
import type { IndexRecord } from "./index.ts";
import { type Keys, keyOrder } from "./key_order.ts";

const FIRST_BYTES = 64 * 1024;
const FIRST_COUNT = 1024;
const UPPER_A = 0x41;
const UPPER_Z = 0x5a;
const LOWER_BIT = 0x20;

/** Records by number, in the order in which their keys came. A value stands right behind its key. */
export class Records implements Keys {
  #bytes = Buffer.alloc(FIRST_BYTES);
  #used = 0;
  #count = 0;
  #starts = new Float64Array(FIRST_COUNT);
  #keyLengths = new Uint32Array(FIRST_COUNT);
  #valueLengths = new Uint32Array(FIRST_COUNT);
  #hashes = new Uint32Array(FIRST_COUNT);
  /** Open addressing: a record's number + 1, 0 = free; twice as many places as records, a power of two. */
  #slots = new Uint32Array(2 * FIRST_COUNT);

  /** Records with different keys. */
  static from(records: Iterable<IndexRecord>): Records {
    const result = new Records();
    for (const { key, value } of records) result.addBytes(key, value);
    return result;
  }

  get length(): number {
    return this.#count;
  }
  get bytes(): Buffer {
    return this.#bytes;
  }
  start(index: number): number {
    return this.#starts[index] as number;
  }
  keyLength(index: number): number {
    return this.#keyLengths[index] as number;
  }
  valueLength(index: number): number {
    return this.#valueLengths[index] as number;
  }
  /** Bytes of all keys and values. */
  get size(): number {
    let size = 0;
    for (let index = 0; index < this.#count; index++) size += this.keyLength(index) + this.valueLength(index);
    return size;
  }

  /** Adds a record of byte strings. When the key is there already, `replace` says whether the value takes the place of the old one; false = it does not. */
  add(key: string, value: string, withNul: boolean, replace: () => boolean): boolean {
    const nul = withNul ? 1 : 0;
    this.#reserve(key.length + value.length + 2 * nul);
    const start = this.#used;
    const valueStart = this.#write(key, start, nul);
    const keyLength = valueStart - start;
    const slot = this.#find(start, keyLength);
    if (this.#slots[slot] !== 0 && !replace()) return false;
    this.#used = this.#write(value, valueStart, nul);
    this.#put(slot, start, keyLength);
    return true;
  }

  /** The same for ASCII in a buffer; `fold`: the key in lower case. */
  addPlain(record: PlainRecord, fold: boolean, withNul: boolean, replace: () => boolean): boolean {
    const { bytes: source, keyStart, keyEnd, valueStart, valueEnd } = record;
    const nul = withNul ? 1 : 0;
    const keyLength = keyEnd - keyStart + nul;
    this.#reserve(keyLength + valueEnd - valueStart + nul);
    const bytes = this.#bytes;
    const start = this.#used;
    let end = start;
    for (let at = keyStart; at < keyEnd; at++) {
      const code = source[at] as number;
      bytes[end++] = fold && code >= UPPER_A && code <= UPPER_Z ? code | LOWER_BIT : code;
    }
    if (withNul) bytes[end++] = 0;
    const slot = this.#find(start, keyLength);
    if (this.#slots[slot] !== 0 && !replace()) return false;
    for (let at = valueStart; at < valueEnd; at++) bytes[end++] = source[at] as number;
    if (withNul) bytes[end++] = 0;
    this.#used = end;
    this.#put(slot, start, keyLength);
    return true;
  }

  /** Adds a record, or replaces the one with this key. */
  addBytes(key: Uint8Array, value: Uint8Array): void {
    this.#reserve(key.length + value.length);
    const start = this.#used;
    this.#bytes.set(key, start);
    this.#bytes.set(value, start + key.length);
    this.#used = start + key.length + value.length;
    this.#put(this.#find(start, key.length), start, key.length);
  }

  /** Numbers of the records in the order of their keys. */
  keyOrder(): Uint32Array {
    return keyOrder(this);
  }
  inKeyOrder(): IndexRecord[] {
    return Array.from(this.keyOrder(), (index) => this.record(index));
  }
  inOwnOrder(): IndexRecord[] {
    return Array.from({ length: this.#count }, (_, index) => this.record(index));
  }

  record(index: number): IndexRecord {
    const start = this.start(index);
    const middle = start + this.keyLength(index);
    return {
      key: this.#bytes.subarray(start, middle),
      value: this.#bytes.subarray(middle, middle + this.valueLength(index)),
    };
  }

  /** Puts a byte string into memory; returns where it ends. */
  #write(text: string, start: number, nul: number): number {
    const bytes = this.#bytes;
    const end = start + text.length;
    for (let index = 0; index < text.length; index++) bytes[start + index] = text.charCodeAt(index);
    if (nul !== 0) bytes[end] = 0;
    return end + nul;
  }

  #hash = 0;
  /** The place of a key that is in memory, or the free one where it belongs; its hash is kept for #put. */
  #find(start: number, length: number): number {
    const bytes = this.#bytes;
    let hash = 0x811c9dc5;
    for (let at = start; at < start + length; at++)
      hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
    // the low bits alone choose the place
    hash = (hash ^ (hash >>> 15)) >>> 0;
    this.#hash = hash;
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const index = (this.#slots[slot] as number) - 1;
      if (index < 0) return slot;
      if (
        this.#hashes[index] === hash &&
        this.keyLength(index) === length &&
        this.#same(this.start(index), start, length)
      )
        return slot;
    }
  }

  #same(a: number, b: number, length: number): boolean {
    const bytes = this.#bytes;
    for (let at = 0; at < length; at++) if (bytes[a + at] !== bytes[b + at]) return false;
    return true;
  }

  /** Takes note of the record that ends where the used memory ends. */
  #put(slot: number, start: number, keyLength: number): void {
    const known = (this.#slots[slot] as number) - 1;
    const index = known < 0 ? this.#count : known;
    this.#starts[index] = start;
    this.#keyLengths[index] = keyLength;
    this.#valueLengths[index] = this.#used - start - keyLength;
    this.#hashes[index] = this.#hash;
    if (known >= 0) return;
    this.#slots[slot] = ++this.#count;
    if (this.#count === this.#hashes.length) this.#grow();
  }

  #grow(): void {
    const count = 2 * this.#count;
    this.#starts = larger(this.#starts, new Float64Array(count));
    this.#keyLengths = larger(this.#keyLengths, new Uint32Array(count));
    this.#valueLengths = larger(this.#valueLengths, new Uint32Array(count));
    this.#hashes = larger(this.#hashes, new Uint32Array(count));
    this.#slots = new Uint32Array(2 * count);
    const mask = this.#slots.length - 1;
    for (let index = 0; index < this.#count; index++) {
      let slot = (this.#hashes[index] as number) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = index + 1;
    }
  }

  #reserve(size: number): void {
    const needed = this.#used + size;
    if (needed <= this.#bytes.length) return;
    this.#bytes = larger(this.#bytes, Buffer.alloc(Math.max(needed, 2 * this.#bytes.length)));
  }
}

function larger<T extends Buffer | Float64Array | Uint32Array>(old: T, fresh: T): T {
  fresh.set(old);
  return fresh;
}
