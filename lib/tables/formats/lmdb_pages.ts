/** The LMDB file format: pages, nodes and meta pages (docs/tables.md). */
import { type Extent, IndexError, u16, u32, viewOf } from "./index.ts";

export const LMDB_MAGIC = 0xbeefc0de;
export const PAGE_HEADER = 16;
export const NODE_HEADER = 8;
export const BRANCH = 1;
export const LEAF = 2;
export const OVERFLOW = 4;
const META = 8;
/** The node's data is the number of its first overflow page. */
export const BIG_DATA = 1;
export const MAX_KEY = 511;
export const NO_PAGE = 0xffffffffffffffffn;
export const DEFAULT_PAGE_SIZE = 4096;
/** Deeper than any tree that fits in a file. */
export const MAX_DEPTH = 32;
const FREE_DATABASE_FLAGS = 0x4008;

export const MDB_CORRUPTED = "MDB_CORRUPTED: Located page was wrong type";
export const MDB_INVALID = "MDB_INVALID: File is not an LMDB file";
export const MDB_BAD_VALSIZE =
  "MDB_BAD_VALSIZE: Unsupported size of key/DB name/data, or wrong DUPFIXED size";

/** The root of one B+tree and its counts. */
export interface TreeDescriptor {
  flags: number;
  depth: number;
  branchPages: number;
  leafPages: number;
  overflowPages: number;
  entries: number;
  /** Page number; -1 = empty tree. */
  root: number;
}

export interface LmdbMeta {
  pageSize: number;
  mapSize: bigint;
  free: TreeDescriptor;
  main: TreeDescriptor;
  lastPage: number;
  transaction: bigint;
}

export const emptyTree = (flags = 0): TreeDescriptor => ({
  flags,
  depth: 0,
  branchPages: 0,
  leafPages: 0,
  overflowPages: 0,
  entries: 0,
  root: -1,
});
export const emptyFreeTree = (): TreeDescriptor => emptyTree(FREE_DATABASE_FLAGS);

export const corrupted = (): IndexError => new IndexError(MDB_CORRUPTED);

function pageNumber(buffer: Buffer, offset: number): number {
  const value = buffer.readBigUInt64LE(offset);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw corrupted();
  return Number(value);
}

function readTree(buffer: Buffer, offset: number): TreeDescriptor {
  const root = buffer.readBigUInt64LE(offset + 40);
  return {
    flags: buffer.readUInt16LE(offset + 4),
    depth: buffer.readUInt16LE(offset + 6),
    branchPages: pageNumber(buffer, offset + 8),
    leafPages: pageNumber(buffer, offset + 16),
    overflowPages: pageNumber(buffer, offset + 24),
    entries: pageNumber(buffer, offset + 32),
    root: root === NO_PAGE ? -1 : pageNumber(buffer, offset + 40),
  };
}

function writeTree(buffer: Buffer, offset: number, tree: TreeDescriptor, pad: number): void {
  buffer.writeUInt32LE(pad, offset);
  buffer.writeUInt16LE(tree.flags, offset + 4);
  buffer.writeUInt16LE(tree.depth, offset + 6);
  buffer.writeBigUInt64LE(BigInt(tree.branchPages), offset + 8);
  buffer.writeBigUInt64LE(BigInt(tree.leafPages), offset + 16);
  buffer.writeBigUInt64LE(BigInt(tree.overflowPages), offset + 24);
  buffer.writeBigUInt64LE(BigInt(tree.entries), offset + 32);
  buffer.writeBigUInt64LE(tree.root < 0 ? NO_PAGE : BigInt(tree.root), offset + 40);
}

export const META_SIZE = 152;

/** Reads the meta page at `offset`; undefined when there is none. */
export function readMeta(buffer: Buffer, offset: number): LmdbMeta | undefined {
  if (buffer.length < offset + META_SIZE) return undefined;
  if ((buffer.readUInt16LE(offset + 10) & META) === 0 || buffer.readUInt32LE(offset + 16) !== LMDB_MAGIC)
    return undefined;
  if (buffer.readUInt32LE(offset + 20) !== 1)
    throw new IndexError("MDB_VERSION_MISMATCH: Database environment version mismatch");
  const pageSize = buffer.readUInt32LE(offset + 40);
  if (pageSize < 512 || pageSize > 65536 || (pageSize & (pageSize - 1)) !== 0)
    throw new IndexError(MDB_INVALID);
  return {
    pageSize,
    mapSize: buffer.readBigUInt64LE(offset + 32),
    free: readTree(buffer, offset + 40),
    main: readTree(buffer, offset + 88),
    lastPage: pageNumber(buffer, offset + 136),
    transaction: buffer.readBigUInt64LE(offset + 144),
  };
}

/** The meta page of a transaction; it goes to page (transaction mod 2). */
export function writeMeta(meta: LmdbMeta): Buffer {
  const page = Buffer.alloc(meta.pageSize);
  page.writeBigUInt64LE(meta.transaction & 1n, 0);
  page.writeUInt16LE(META, 10);
  page.writeUInt32LE(LMDB_MAGIC, 16);
  page.writeUInt32LE(1, 20);
  page.writeBigUInt64LE(meta.mapSize, 32);
  writeTree(page, 40, meta.free, meta.pageSize);
  writeTree(page, 88, meta.main, 0);
  page.writeBigUInt64LE(BigInt(meta.lastPage), 136);
  page.writeBigUInt64LE(meta.transaction, 144);
  return page;
}

/** The number that a page says it has. */
export const ownNumber = (page: Buffer): number => u32(page, 0) + u32(page, 4) * 0x100000000;

export const pageKind = (page: Buffer): number => u16(page, 10) & (BRANCH | LEAF | OVERFLOW | META);

/** Number of nodes of a branch or leaf page, checked against its size. */
export function nodeCount(page: Buffer): number {
  const lower = u16(page, 12);
  if (lower < PAGE_HEADER || lower > page.length) throw corrupted();
  return (lower - PAGE_HEADER) >> 1;
}

/** Offset of node `index`, checked so that its header and key are inside the page. */
export function nodeOffset(page: Buffer, index: number): number {
  const offset = u16(page, PAGE_HEADER + 2 * index);
  if (offset < PAGE_HEADER || offset + NODE_HEADER > page.length) throw corrupted();
  if (offset + NODE_HEADER + u16(page, offset + 6) > page.length) throw corrupted();
  return offset;
}

export function nodeKey(page: Buffer, offset: number): Buffer {
  const start = offset + NODE_HEADER;
  return page.subarray(start, start + u16(page, offset + 6));
}

export const childPage = (page: Buffer, offset: number): number =>
  u32(page, offset) + u16(page, offset + 4) * 0x100000000;

export const dataSize = (page: Buffer, offset: number): number => u32(page, offset);

export const isBigData = (page: Buffer, offset: number): boolean => (u16(page, offset + 4) & BIG_DATA) !== 0;

/** The data of a leaf node inside its page (the value itself, or the 8 bytes of an overflow page number). */
export function nodeExtent(page: Buffer, offset: number): Extent {
  const start = offset + NODE_HEADER + u16(page, offset + 6);
  const end = start + (isBigData(page, offset) ? 8 : dataSize(page, offset));
  if (end > page.length) throw corrupted();
  return { bytes: page, start, end };
}
export const nodeData = (page: Buffer, offset: number): Buffer => viewOf(nodeExtent(page, offset));

/** The whole node as it stands in the page, padding included where the page has it. */
export function nodeBytes(page: Buffer, offset: number, leaf: boolean): Buffer {
  const length = NODE_HEADER + u16(page, offset + 6) + (leaf ? nodeData(page, offset).length : 0);
  const bytes = Buffer.alloc(length + (length & 1));
  page.copy(bytes, 0, offset, offset + length);
  return bytes;
}

/** Above this size of header + key + value, the value goes to overflow pages. */
export const nodeLimit = (pageSize: number): number => (((pageSize - PAGE_HEADER) >> 1) & ~1) - 2;

export const bigDataPage = (data: Buffer): number => pageNumber(data, 0);
