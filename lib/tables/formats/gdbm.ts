/**
 * GDBM files as GNU's ndbm makes them, which is what dbm is on Linux: NAME.pag is the database (64-bit offsets, extensible hashing), NAME.dir a mark.
 * The layout is that of a little-endian 64-bit machine.
 */
import { IndexError, type IndexRecord } from "./index.ts";
import type { ReadPart } from "./sdbm.ts";

const MAGIC = 0x13579acf;
const BLOCK = 4096;
const HASH_BITS = 31;
const EMPTY = -1;
const LEAST_DIRECTORY_BITS = 9;

/** Places in the header. */
const HEADER = { directory: 8, directoryBits: 20, bucketSize: 24, bucketElements: 28, size: 40 } as const;
/** Places in a bucket: its bits, the number of its elements, the elements. */
const BUCKET = { bits: 104, count: 108, elements: 112 } as const;
/** Places in an element: hash, start of the key, place of key and value, their sizes. */
const ELEMENT = { hash: 0, start: 4, data: 8, keySize: 16, valueSize: 20, size: 24 } as const;
const BUCKET_ELEMENTS = Math.floor((BLOCK - BUCKET.elements - ELEMENT.size) / ELEMENT.size) + 1;
/** Free places in the first block that could be noted in the header. */
const AVAILABLE = Math.floor((BLOCK - HEADER.size - 16) / 16);

/** The hash of a key: bytes count as signed. */
function hash(key: Buffer): number {
  let value = Math.imul(0x238f13af, key.length);
  for (let index = 0; index < key.length; index++)
    value = (value + (key.readInt8(index) << ((index * 5) % 24))) & 0x7fffffff;
  return (Math.imul(1103515243, value) + 12345) & 0x7fffffff;
}

const bad = (): never => {
  throw new IndexError("bad database");
};

interface Layout {
  readonly directory: number;
  readonly directoryBits: number;
  readonly bucketSize: number;
  readonly bucketElements: number;
}

function layoutOf(pages: ReadPart): Layout {
  const header = pages(0, HEADER.size);
  if (header.length < HEADER.size || header.readUInt32LE(0) !== MAGIC) return bad();
  const layout = {
    directory: Number(header.readBigUInt64LE(HEADER.directory)),
    directoryBits: header.readInt32LE(HEADER.directoryBits),
    bucketSize: header.readInt32LE(HEADER.bucketSize),
    bucketElements: header.readInt32LE(HEADER.bucketElements),
  };
  const { directoryBits, bucketSize, bucketElements } = layout;
  if (directoryBits < 1 || directoryBits > 24 || bucketElements < 1 || bucketSize > 1024 * 1024) return bad();
  return BUCKET.elements + bucketElements * ELEMENT.size > bucketSize ? bad() : layout;
}

const whole = (pages: ReadPart, position: number, size: number): Buffer => {
  const bytes = pages(position, size);
  return bytes.length === size ? bytes : bad();
};

/** The element at a slot of a bucket; undefined when it is free. */
function elementAt(
  pages: ReadPart,
  bucket: Buffer,
  slot: number,
): (IndexRecord & { readonly hashed: number }) | undefined {
  const at = BUCKET.elements + slot * ELEMENT.size;
  const hashed = bucket.readInt32LE(at + ELEMENT.hash);
  if (hashed === EMPTY) return undefined;
  const keySize = bucket.readInt32LE(at + ELEMENT.keySize);
  const valueSize = bucket.readInt32LE(at + ELEMENT.valueSize);
  if (keySize < 0 || valueSize < 0 || keySize + valueSize > 0x10000000) return bad();
  const data = whole(pages, Number(bucket.readBigUInt64LE(at + ELEMENT.data)), keySize + valueSize);
  return { hashed, key: data.subarray(0, keySize), value: data.subarray(keySize) };
}

const bucketAt = (pages: ReadPart, layout: Layout, entry: number): number =>
  Number(whole(pages, layout.directory + 8 * entry, 8).readBigUInt64LE());

export function gdbmGet(_: Buffer, pages: ReadPart, key: Buffer): Buffer | undefined {
  const layout = layoutOf(pages);
  const hashed = hash(key);
  const entry = hashed >>> (HASH_BITS - layout.directoryBits);
  const bucket = whole(pages, bucketAt(pages, layout, entry), layout.bucketSize);
  for (let step = 0; step < layout.bucketElements; step++) {
    const element = elementAt(pages, bucket, (hashed + step) % layout.bucketElements);
    if (element === undefined) return undefined;
    if (element.hashed === hashed && element.key.equals(key)) return element.value;
  }
  return undefined;
}

/** All pairs, bucket by bucket. */
export function* gdbmPairs(pages: ReadPart, size: number): Generator<IndexRecord> {
  if (size === 0) return;
  const layout = layoutOf(pages);
  let last = -1;
  for (let entry = 0; entry < 2 ** layout.directoryBits; entry++) {
    const place = bucketAt(pages, layout, entry);
    // the entries of one bucket follow each other
    if (place === last) continue;
    last = place;
    const bucket = whole(pages, place, layout.bucketSize);
    for (let slot = 0; slot < layout.bucketElements; slot++) {
      const element = elementAt(pages, bucket, slot);
      if (element !== undefined) yield { key: element.key, value: element.value };
    }
  }
}

interface Leaf {
  readonly bits: number;
  readonly prefix: number;
  readonly records: ReadonlyArray<IndexRecord & { readonly hashed: number }>;
}

/** Buckets that hold their records, from the lowest hash on. */
function* leaves(records: Leaf["records"], bits: number, prefix: number): Generator<Leaf> {
  if (records.length <= BUCKET_ELEMENTS) {
    yield { bits, prefix, records };
    return;
  }
  if (bits >= 24) throw new IndexError("too many keys with the same hash");
  const side = (one: 0 | 1): Leaf["records"] =>
    records.filter(({ hashed }) => ((hashed >>> (HASH_BITS - bits - 1)) & 1) === one);
  yield* leaves(side(0), bits + 1, 2 * prefix);
  yield* leaves(side(1), bits + 1, 2 * prefix + 1);
}

const blocks = (size: number): number => Math.ceil(size / BLOCK) * BLOCK;

/** What both files hold for these pairs. Throws IndexError when they do not fit. */
export function buildGdbm(records: Iterable<IndexRecord>): { directory: Buffer; pages: Buffer } {
  const hashed = Array.from(records, ({ key, value }) => ({ key, value, hashed: hash(key) }));
  const buckets = [...leaves(hashed, 0, 0)];
  const directoryBits = Math.max(LEAST_DIRECTORY_BITS, ...buckets.map(({ bits }) => bits));
  const directorySize = 8 * 2 ** directoryBits;
  const firstBucket = BLOCK + blocks(directorySize);
  const firstData = firstBucket + buckets.length * BLOCK;
  const dataSize = hashed.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
  const pages = Buffer.alloc(firstData + blocks(dataSize));
  const header = [MAGIC, BLOCK, BLOCK, 0, directorySize, directoryBits, BLOCK, BUCKET_ELEMENTS];
  header.forEach((number, index) => {
    pages.writeUInt32LE(number, 4 * index);
  });
  pages.writeBigUInt64LE(BigInt(pages.length), 32);
  pages.writeUInt32LE(AVAILABLE, HEADER.size);
  let data = firstData;
  buckets.forEach(({ bits, prefix, records: own }, index) => {
    const place = firstBucket + index * BLOCK;
    const span = 2 ** (directoryBits - bits);
    for (let entry = prefix * span; entry < (prefix + 1) * span; entry++)
      pages.writeBigUInt64LE(BigInt(place), BLOCK + 8 * entry);
    const bucket = pages.subarray(place, place + BLOCK);
    bucket.writeInt32LE(bits, BUCKET.bits);
    bucket.writeInt32LE(own.length, BUCKET.count);
    const at = (slot: number): number => BUCKET.elements + slot * ELEMENT.size;
    for (let slot = 0; slot < BUCKET_ELEMENTS; slot++) bucket.writeInt32LE(EMPTY, at(slot));
    for (const { key, value, hashed: number } of own) {
      let slot = number % BUCKET_ELEMENTS;
      while (bucket.readInt32LE(at(slot)) !== EMPTY) slot = (slot + 1) % BUCKET_ELEMENTS;
      bucket.writeInt32LE(number, at(slot) + ELEMENT.hash);
      key.copy(bucket, at(slot) + ELEMENT.start, 0, 4);
      bucket.writeBigUInt64LE(BigInt(data), at(slot) + ELEMENT.data);
      bucket.writeInt32LE(key.length, at(slot) + ELEMENT.keySize);
      bucket.writeInt32LE(value.length, at(slot) + ELEMENT.valueSize);
      data += key.copy(pages, data);
      data += value.copy(pages, data);
    }
  });
  // "GDBM" and the version of the library that it is said to be of
  return { directory: Buffer.from([0x47, 0x44, 0x42, 0x4d, 0, 0, 0, 1, 0, 0, 0, 23, 0, 0, 0, 0]), pages };
}
