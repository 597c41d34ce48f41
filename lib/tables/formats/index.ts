/** What the formats of index files have in common. */

/** A file that is not what it should be. */
export class IndexError extends Error {
  constructor(text: string) {
    super(text);
    this.name = "IndexError";
  }
}

export interface IndexRecord {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** Bytes in the middle of others, as they are until the next call: a view of them would cost more than the text that is made of them. */
export interface Extent {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

export const extentOf = (bytes: Buffer): Extent => ({ bytes, start: 0, end: bytes.length });
/** A view of an extent. */
export const viewOf = ({ bytes, start, end }: Extent): Buffer => bytes.subarray(start, end);

/** Reading access to one index file. Methods throw IndexError for malformed content and SysError-like errors of node:fs. */
export interface IndexReader {
  get(key: Buffer): Extent | undefined;
  /** The record that follows `key` in the order of the file; the first one without a key. */
  after(key: Buffer | undefined): IndexRecord | undefined;
}

/** Byte-wise unsigned order, the shorter key first. */
export const compareKeys = (a: Uint8Array, b: Uint8Array): number => Buffer.compare(a, b);

/** compareKeys() for a key inside of a page. Keys are short: a loop is faster than a call of the runtime's. */
export function compareExtent(bytes: Buffer, start: number, end: number, key: Buffer): number {
  const length = end - start;
  const common = Math.min(length, key.length);
  for (let index = 0; index < common; index++) {
    const difference = (bytes[start + index] as number) - (key[index] as number);
    if (difference !== 0) return difference;
  }
  return length - key.length;
}

/** A 16-bit number; the methods of buffers take longer. Outside of the page: 0. */
export const u16 = (page: Buffer, offset: number): number =>
  (page[offset] ?? 0) | ((page[offset + 1] ?? 0) << 8);

export const u32 = (page: Buffer, offset: number): number =>
  u16(page, offset) + u16(page, offset + 2) * 0x10000;

/** Writes a 16-bit number. */
export function put16(page: Buffer, offset: number, value: number): void {
  page[offset] = value;
  page[offset + 1] = value >> 8;
}

export function put32(page: Buffer, offset: number, value: number): void {
  put16(page, offset, value);
  put16(page, offset + 2, value >>> 16);
}

/** All records of a file in its order; stops with an error when a damaged file leads in a circle. */
export function* allRecords(reader: IndexReader, limit: number): Generator<IndexRecord> {
  let record = reader.after(undefined);
  for (let count = 0; record !== undefined; count++) {
    if (count > limit) throw new IndexError("records form a loop");
    yield record;
    record = reader.after(record.key);
  }
}

/** Drops the oldest entry of a full cache. */
export function makeRoom<K, V>(cache: Map<K, V>, limit: number): void {
  if (cache.size < limit) return;
  for (const key of cache.keys()) {
    cache.delete(key);
    return;
  }
}
