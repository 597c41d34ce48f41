/**
 * sdbm files (the public domain library by Ozan Yigit, also in Perl): NAME.pag holds pages of pairs, NAME.dir one bit for each node of the tree
 * of splits. A page that overflows is split by the next bit of its keys' hashes.
 */
import { IndexError, type IndexRecord } from "./index.ts";

export const SDBM_PAGE = 1024;
const DIRECTORY_BLOCK = 4096;
/** Longest key and value together, in bytes. */
export const SDBM_PAIR_LIMIT = 1008;
/** Splits in a row that do not help mean keys with the same hash. */
const SPLIT_LIMIT = 10;
const OFFSET = 2;

/** The hash of a key: bytes count as signed. */
function hash(key: Buffer): number {
  let value = 0;
  for (const byte of key) value = (Math.imul(value, 65599) + (byte > 127 ? byte - 256 : byte)) | 0;
  return value >>> 0;
}

/** The pairs of a page. Throws IndexError for a page that makes no sense. */
function pairsOf(page: Buffer): IndexRecord[] {
  const count = page.readUInt16LE(0);
  if (count % 2 !== 0 || count > SDBM_PAGE / OFFSET - 1) throw new IndexError("bad page");
  const pairs: IndexRecord[] = [];
  let end = SDBM_PAGE;
  for (let index = 1; index < count; index += 2) {
    const key = page.readUInt16LE(OFFSET * index);
    const value = page.readUInt16LE(OFFSET * (index + 1));
    if (key > end || value > key || value < OFFSET * (count + 1)) throw new IndexError("bad page");
    pairs.push({ key: page.subarray(key, end), value: page.subarray(value, key) });
    end = value;
  }
  return pairs;
}

/** Reads a part of a file; shorter where the file ends. */
export type ReadPart = (position: number, size: number) => Buffer;

const page = (pages: ReadPart, number: number): Buffer => {
  const bytes = pages(number * SDBM_PAGE, SDBM_PAGE);
  if (bytes.length === SDBM_PAGE) return bytes;
  return Buffer.concat([bytes, Buffer.alloc(SDBM_PAGE - bytes.length)]);
};

/** The page where a key is, if it is anywhere. */
function pageNumber(directory: Buffer, hashed: number): number {
  let node = 0;
  let bits = 0;
  while (isSplit(directory, node)) {
    node = 2 * node + ((hashed >>> bits) & 1 ? 2 : 1);
    bits++;
    if (bits > 31) throw new IndexError("bad directory");
  }
  return bits === 0 ? 0 : hashed & (2 ** bits - 1);
}

const isSplit = (directory: Buffer, node: number): boolean =>
  ((directory[node >>> 3] ?? 0) & (1 << (node & 7))) !== 0;

export function sdbmGet(directory: Buffer, pages: ReadPart, key: Buffer): Buffer | undefined {
  const found = pairsOf(page(pages, pageNumber(directory, hash(key)))).find((pair) => pair.key.equals(key));
  return found === undefined ? undefined : Buffer.from(found.value);
}

/** All pairs, page by page. */
export function* sdbmPairs(pages: ReadPart, size: number): Generator<IndexRecord> {
  for (let number = 0; number * SDBM_PAGE < size; number++)
    for (const { key, value } of pairsOf(page(pages, number)))
      yield { key: Buffer.from(key), value: Buffer.from(value) };
}

interface Leaf {
  readonly pairs: Array<IndexRecord & { readonly hashed: number }>;
  size: number;
}

/** What both files hold for these pairs. Throws IndexError for a pair that is too long, or for too many keys of one hash. */
export function buildSdbm(records: Iterable<IndexRecord>): { directory: Buffer; pages: Buffer } {
  const leaves = new Map<number, Leaf>([[0, { pairs: [], size: OFFSET }]]);
  let directory: Buffer = Buffer.alloc(0);
  const mark = (node: number): void => {
    const block = Math.floor((node >>> 3) / DIRECTORY_BLOCK) + 1;
    if (directory.length < block * DIRECTORY_BLOCK)
      directory = Buffer.concat([directory, Buffer.alloc(block * DIRECTORY_BLOCK - directory.length)]);
    directory[node >>> 3] = (directory[node >>> 3] ?? 0) | (1 << (node & 7));
  };
  for (const { key, value } of records) {
    const need = key.length + value.length + 2 * OFFSET;
    if (key.length + value.length > SDBM_PAIR_LIMIT) throw new IndexError("key and value are too long");
    const hashed = hash(key);
    let node = 0;
    let bits = 0;
    while (isSplit(directory, node)) node = 2 * node + ((hashed >>> bits++) & 1 ? 2 : 1);
    for (let attempt = 0; ; attempt++) {
      const number = bits === 0 ? 0 : hashed & (2 ** bits - 1);
      const leaf = leaves.get(number) ?? { pairs: [], size: OFFSET };
      leaves.set(number, leaf);
      if (leaf.size + need <= SDBM_PAGE) {
        leaf.pairs.push({ key, value, hashed });
        leaf.size += need;
        break;
      }
      if (attempt >= SPLIT_LIMIT || bits >= 31) throw new IndexError("too many keys with the same hash");
      split(leaves, number, bits);
      mark(node);
      node = 2 * node + ((hashed >>> bits) & 1 ? 2 : 1);
      bits++;
    }
  }
  const pages = Buffer.alloc((Math.max(...leaves.keys()) + 1) * SDBM_PAGE);
  for (const [number, leaf] of leaves)
    writePage(pages.subarray(number * SDBM_PAGE, (number + 1) * SDBM_PAGE), leaf.pairs);
  return { directory, pages };
}

function split(leaves: Map<number, Leaf>, number: number, bits: number): void {
  const old = leaves.get(number);
  const pair = [
    { pairs: [], size: OFFSET },
    { pairs: [], size: OFFSET },
  ] as const satisfies readonly [Leaf, Leaf];
  for (const record of old?.pairs ?? []) {
    const leaf: Leaf = pair[(record.hashed >>> bits) & 1 ? 1 : 0];
    leaf.pairs.push(record);
    leaf.size += record.key.length + record.value.length + 2 * OFFSET;
  }
  leaves.set(number, pair[0]);
  leaves.set(number + 2 ** bits, pair[1]);
}

function writePage(bytes: Buffer, pairs: ReadonlyArray<IndexRecord>): void {
  let end = SDBM_PAGE;
  bytes.writeUInt16LE(2 * pairs.length, 0);
  pairs.forEach(({ key, value }, index) => {
    end -= key.length;
    bytes.set(key, end);
    bytes.writeUInt16LE(end, OFFSET * (2 * index + 1));
    end -= value.length;
    bytes.set(value, end);
    bytes.writeUInt16LE(end, OFFSET * (2 * index + 2));
  });
}
