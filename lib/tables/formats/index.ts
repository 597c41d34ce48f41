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

/** Reading access to one index file. Methods throw IndexError for malformed content and SysError-like errors of node:fs. */
export interface IndexReader {
  get(key: Buffer): Buffer | undefined;
  /** The record that follows `key` in the order of the file; the first one without a key. */
  after(key: Buffer | undefined): IndexRecord | undefined;
}

/** Byte-wise unsigned order, the shorter key first. */
export const compareKeys = (a: Uint8Array, b: Uint8Array): number => Buffer.compare(a, b);

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
