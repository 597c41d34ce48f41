/** Berkeley DB hash files. */
import {
  appendOverflow,
  type BdbFile,
  HASH_SORTED,
  HASH_UNSORTED,
  invalid,
  itemCount,
  itemOffset,
  NO_PAGE,
  newMeta,
  newPage,
  PAGE_HEADER,
  PAGE_SIZE,
} from "./bdb_pages.ts";
import {
  compareExtent,
  compareKeys,
  type Extent,
  extentOf,
  type IndexReader,
  type IndexRecord,
  u32,
  viewOf,
} from "./index.ts";

const PLAIN = 1;
const OFF_PAGE = 3;
const OFF_PAGE_SIZE = 12;
const SPARES = 96;
const SPARE_COUNT = 32;

/** The hash function of the library (32-bit FNV-1 without its offset basis). */
export function hashKey(key: Uint8Array): number {
  let hash = 0;
  for (const byte of key) hash = (Math.imul(hash, 16777619) ^ byte) >>> 0;
  return hash;
}

const log2Ceil = (value: number): number => {
  let log = 0;
  for (let limit = 1; limit < value; limit *= 2) log++;
  return log;
};

interface HashMeta {
  readonly page: Buffer;
  readonly highestBucket: number;
  readonly highMask: number;
  readonly lowMask: number;
}

export class HashReader implements IndexReader {
  constructor(private readonly file: BdbFile) {}

  private meta(): HashMeta {
    const page = this.file.meta("hash");
    const highestBucket = page.readUInt32LE(72);
    if (highestBucket > this.file.pageCount) throw invalid();
    return { page, highestBucket, highMask: page.readUInt32LE(76), lowMask: page.readUInt32LE(80) };
  }

  private firstPage(meta: HashMeta, bucket: number): number {
    const spare = log2Ceil(bucket + 1);
    if (spare >= SPARE_COUNT) throw invalid();
    return bucket + meta.page.readUInt32LE(SPARES + 4 * spare);
  }

  private bucketOf(meta: HashMeta, key: Buffer): number {
    const hash = hashKey(key);
    const bucket = (hash & meta.highMask) >>> 0;
    const chosen = bucket > meta.highestBucket ? (bucket & meta.lowMask) >>> 0 : bucket;
    if (chosen > meta.highestBucket) throw invalid();
    return chosen;
  }

  get(key: Buffer): Extent | undefined {
    const meta = this.meta();
    for (const page of this.chain(this.firstPage(meta, this.bucketOf(meta, key)), true)) {
      const count = itemCount(page);
      for (let i = 0; i + 1 < count; i += 2) {
        if (this.isKey(page, i, key)) return this.extent(page, i + 1);
      }
    }
    return undefined;
  }

  private isKey(page: Buffer, index: number, key: Buffer): boolean {
    const offset = itemOffset(page, index, 1);
    if (page[offset] !== PLAIN) return compareKeys(this.item(page, index), key) === 0;
    const end = index === 0 ? page.length : itemOffset(page, index - 1, 0);
    return end - offset - 1 === key.length && compareExtent(page, offset + 1, end, key) === 0;
  }

  /** The pages of a bucket; `passing`: each is good until the next one. */
  private *chain(first: number, passing = false): Generator<Buffer> {
    let number = first;
    for (let steps = 0; number !== NO_PAGE; steps++) {
      if (steps > this.file.pageCount) throw invalid();
      const page = passing ? this.file.look(number) : this.file.page(number);
      if (page[25] !== HASH_UNSORTED && page[25] !== HASH_SORTED) {
        if (page[25] === 0) return;
        throw invalid();
      }
      yield page;
      number = page.readUInt32LE(16);
    }
  }

  private item(page: Buffer, index: number): Buffer {
    return viewOf(this.extent(page, index));
  }
  private extent(page: Buffer, index: number): Extent {
    const offset = itemOffset(page, index, 1);
    const end = index === 0 ? page.length : itemOffset(page, index - 1, 0);
    if (end <= offset) throw invalid();
    switch (page[offset]) {
      case PLAIN:
        return { bytes: page, start: offset + 1, end };
      case OFF_PAGE:
        if (end - offset < OFF_PAGE_SIZE) throw invalid();
        return extentOf(this.file.overflow(u32(page, offset + 4), u32(page, offset + 8)));
      default:
        throw invalid();
    }
  }

  /** Bucket by bucket. The place of `key` is found by its hash. */
  after(key: Buffer | undefined): IndexRecord | undefined {
    const meta = this.meta();
    let bucket = 0;
    if (key !== undefined) {
      bucket = this.bucketOf(meta, key);
      const next = this.nextInBucket(meta, bucket, key);
      if (next !== undefined) return next;
      bucket++;
    }
    for (; bucket <= meta.highestBucket; bucket++) {
      const first = this.nextInBucket(meta, bucket, undefined);
      if (first !== undefined) return first;
    }
    return undefined;
  }

  /** The record with the lowest key of a bucket that is above `key`: an order that survives changes of the bucket. */
  private nextInBucket(meta: HashMeta, bucket: number, key: Buffer | undefined): IndexRecord | undefined {
    let best: { key: Buffer; page: Buffer; index: number } | undefined;
    for (const page of this.chain(this.firstPage(meta, bucket))) {
      const count = itemCount(page);
      for (let i = 0; i + 1 < count; i += 2) {
        const candidate = this.item(page, i);
        if (key !== undefined && compareKeys(candidate, key) <= 0) continue;
        if (best === undefined || compareKeys(candidate, best.key) < 0)
          best = { key: candidate, page, index: i };
      }
    }
    return best === undefined
      ? undefined
      : { key: Buffer.from(best.key), value: Buffer.from(this.item(best.page, best.index + 1)) };
  }
}

/** Off-page when larger than this share of a page. */
const PLAIN_LIMIT = PAGE_SIZE / 4;
/** Bytes of records per bucket that a new file is laid out for. */
const BUCKET_FILL = 2400;

/** A hash file with these records. */
export function buildHash(records: ReadonlyArray<IndexRecord>): Buffer[] {
  const bytes = records.reduce((sum, { key, value }) => sum + itemSize(key) + itemSize(value) + 4, 0);
  let buckets = 2;
  while (buckets * BUCKET_FILL < bytes) buckets *= 2;
  const contents: IndexRecord[][] = Array.from({ length: buckets }, () => []);
  for (const record of records) contents[hashKey(record.key) & (buckets - 1)]?.push(record);

  const meta = newMeta("hash");
  const pages: Buffer[] = [meta];
  for (let bucket = 0; bucket < buckets; bucket++) pages.push(newPage(bucket + 1, HASH_SORTED, 0));
  for (const [bucket, members] of contents.entries()) {
    members.sort((a, b) => compareKeys(a.key, b.key));
    fillBucket(pages, bucket + 1, members);
  }
  meta.writeUInt32LE(pages.length - 1, 32);
  meta.writeUInt32LE(records.length, 40);
  meta.writeUInt32LE(records.length, 44);
  meta.writeUInt32LE(buckets - 1, 72);
  meta.writeUInt32LE(buckets - 1, 76);
  meta.writeUInt32LE(buckets / 2 - 1, 80);
  meta.writeUInt32LE(0, 84);
  meta.writeUInt32LE(Math.max(4096, records.length), 88);
  meta.writeUInt32LE(hashKey(Buffer.from("%$sniglet^&\0", "latin1")), 92);
  for (let spare = 0; spare <= log2Ceil(buckets); spare++) meta.writeUInt32LE(1, SPARES + 4 * spare);
  return pages;
}

const itemSize = (data: Buffer): number => (data.length + 1 > PLAIN_LIMIT ? OFF_PAGE_SIZE : data.length + 1);

function makeItem(pages: Buffer[], data: Buffer): Buffer {
  if (data.length + 1 <= PLAIN_LIMIT) return Buffer.concat([Buffer.from([PLAIN]), data]);
  const item = Buffer.alloc(OFF_PAGE_SIZE);
  item[0] = OFF_PAGE;
  item.writeUInt32LE(appendOverflow(pages, data), 4);
  item.writeUInt32LE(data.length, 8);
  return item;
}

function fillBucket(pages: Buffer[], first: number, members: ReadonlyArray<IndexRecord>): void {
  let page = pages[first];
  if (page === undefined) throw invalid();
  let low = PAGE_HEADER;
  let high = PAGE_SIZE;
  let count = 0;
  for (const { key, value } of members) {
    const items = [makeItem(pages, key), makeItem(pages, value)];
    const size = items.reduce((sum, item) => sum + item.length, 0);
    if (low + 4 > high - size) {
      const next = newPage(pages.length, HASH_SORTED, 0);
      next.writeUInt32LE(page.readUInt32LE(8), 12);
      page.writeUInt32LE(pages.length, 16);
      pages.push(next);
      page = next;
      low = PAGE_HEADER;
      high = PAGE_SIZE;
      count = 0;
    }
    for (const item of items) {
      high -= item.length;
      item.copy(page, high);
      page.writeUInt16LE(high, low);
      low += 2;
      count++;
    }
    page.writeUInt16LE(count, 20);
    page.writeUInt16LE(high, 22);
  }
}
