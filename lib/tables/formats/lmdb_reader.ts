/** Reading an LMDB file, without locks: a read that a writer has overtaken is repeated. */
import type { MappedFile } from "../../sys/mapped_file.ts";
import {
  compareExtent,
  type Extent,
  IndexError,
  type IndexReader,
  type IndexRecord,
  makeRoom,
  u16,
  viewOf,
} from "./index.ts";
import {
  BRANCH,
  bigDataPage,
  childPage,
  corrupted,
  DEFAULT_PAGE_SIZE,
  dataSize,
  isBigData,
  LEAF,
  type LmdbMeta,
  MAX_DEPTH,
  MDB_INVALID,
  META_SIZE,
  NODE_HEADER,
  nodeCount,
  nodeData,
  nodeExtent,
  nodeKey,
  nodeOffset,
  OVERFLOW,
  ownNumber,
  PAGE_HEADER,
  pageKind,
  readMeta,
  type TreeDescriptor,
} from "./lmdb_pages.ts";

/** Branch pages kept in memory for one snapshot. */
const CACHE_PAGES = 1024;
/** Offset of the transaction number in a meta page. */
const TRANSACTION_AT = 144;
/** A reader that writers overtake this often gives up. */
const ATTEMPTS = 1000;

export class LmdbReader implements IndexReader {
  private pageSize = DEFAULT_PAGE_SIZE;
  private metaBuffer = Buffer.alloc(DEFAULT_PAGE_SIZE + META_SIZE);
  private meta: LmdbMeta | undefined;
  /** The transaction numbers of both meta pages as they were when `meta` was read; their low halves tell of every commit. */
  private readonly transactions: [number | undefined, number | undefined] = [undefined, undefined];
  private branches = new Map<number, Buffer>();
  /** Holds the page that was looked at last, when it is no branch: its number, -1 = none. */
  private spare = Buffer.alloc(DEFAULT_PAGE_SIZE);
  private spareNumber = -1;

  /** Throws IndexError when the file is not an LMDB file. An empty file is an empty database. */
  constructor(private readonly file: MappedFile) {
    this.refresh();
  }

  get(key: Buffer): Extent | undefined {
    return this.consistent((meta) => this.find(meta.main, key));
  }
  after(key: Buffer | undefined): IndexRecord | undefined {
    return this.consistent((meta) => this.follow(meta.main, key));
  }
  /** The newest committed state. */
  snapshot(): LmdbMeta {
    return this.refresh();
  }
  /** The first record of the free page database. */
  freeAfter(key: Buffer | undefined): IndexRecord | undefined {
    return this.follow(this.refresh().free, key, true);
  }

  /** Runs a read on one snapshot. Pages of a snapshot are rewritten only by the second transaction after it. */
  private consistent<T>(read: (meta: LmdbMeta) => T): T {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      // whether it is still the newest state is seen afterwards
      const meta = this.meta ?? this.refresh();
      try {
        const result = read(meta);
        if (this.refresh().transaction === meta.transaction) return result;
      } catch (failure) {
        if (!(failure instanceof IndexError) || this.refresh().transaction === meta.transaction)
          throw failure;
      }
    }
    throw new IndexError("MDB_BAD_TXN: Transaction must abort, has a child, or is invalid");
  }

  private refresh(): LmdbMeta {
    if (this.meta !== undefined && this.nothingCommitted()) return this.meta;
    const { file, metaBuffer } = this;
    file.refresh();
    if (file.size === 0) return this.adopt(undefined);
    const filled = metaBuffer.subarray(0, file.size);
    if (!file.copy(filled, 0)) throw new IndexError(MDB_INVALID);
    const first = readMeta(filled, 0);
    if (first !== undefined && first.pageSize !== this.pageSize) {
      this.pageSize = first.pageSize;
      this.metaBuffer = Buffer.alloc(first.pageSize + META_SIZE);
      this.spare = Buffer.alloc(first.pageSize);
      this.forget();
      return this.refresh();
    }
    const second = readMeta(filled, this.pageSize);
    const meta =
      first !== undefined && second !== undefined
        ? second.transaction > first.transaction
          ? second
          : first
        : (first ?? second);
    if (meta === undefined) throw new IndexError(MDB_INVALID);
    this.adopt(meta);
    const both = filled.length === metaBuffer.length;
    this.transactions[0] = both ? filled.readUInt32LE(TRANSACTION_AT) : undefined;
    this.transactions[1] = both ? filled.readUInt32LE(this.pageSize + TRANSACTION_AT) : undefined;
    return meta;
  }

  /** Both meta pages carry the transaction numbers that were seen last. */
  private nothingCommitted(): boolean {
    const { file, transactions, pageSize } = this;
    return (
      transactions[0] !== undefined &&
      transactions[0] === file.word(TRANSACTION_AT) &&
      transactions[1] === file.word(pageSize + TRANSACTION_AT)
    );
  }

  private adopt(meta: LmdbMeta | undefined): LmdbMeta {
    const next = meta ?? EMPTY;
    if (this.meta?.transaction !== next.transaction) this.forget();
    this.meta = next;
    return next;
  }

  private forget(): void {
    this.branches.clear();
    this.spareNumber = -1;
  }

  /** A page by number. */
  page(number: number): Buffer {
    const page = this.look(number);
    return page === this.spare ? Buffer.from(page) : page;
  }

  /** A page by number, for as long as no other one is looked at. */
  private look(number: number): Buffer {
    const known = this.branches.get(number);
    if (known !== undefined) return known;
    const page = this.spare;
    if (number === this.spareNumber) return page;
    this.spareNumber = -1;
    this.readAt(page, number);
    if (ownNumber(page) !== number) throw corrupted();
    if (pageKind(page) !== BRANCH) this.spareNumber = number;
    else {
      makeRoom(this.branches, CACHE_PAGES);
      this.branches.set(number, page);
      this.spare = Buffer.alloc(this.pageSize);
    }
    return page;
  }

  private readAt(buffer: Buffer, pageNumber: number): void {
    const lastPage = this.meta?.lastPage ?? 0;
    if (pageNumber < 2 || pageNumber > lastPage) throw corrupted();
    const position = pageNumber * this.pageSize;
    // a damaged meta page says that there are more pages than a file can have
    if (!Number.isSafeInteger(position)) throw corrupted();
    if (!this.file.copy(buffer, position)) throw corrupted();
  }

  /** The value of a leaf node. */
  value(page: Buffer, offset: number): Extent {
    if (!isBigData(page, offset)) return nodeExtent(page, offset);
    const data = nodeData(page, offset);
    const size = dataSize(page, offset);
    if (size > this.file.size) throw corrupted();
    const whole = Buffer.alloc(PAGE_HEADER + size);
    this.readAt(whole, bigDataPage(data));
    if (pageKind(whole) !== OVERFLOW) throw corrupted();
    return { bytes: whole, start: PAGE_HEADER, end: whole.length };
  }

  private find(tree: TreeDescriptor, key: Buffer): Extent | undefined {
    if (tree.root < 0) return undefined;
    let page = this.look(tree.root);
    for (let depth = 0; pageKind(page) === BRANCH; depth++) {
      if (depth > MAX_DEPTH) throw corrupted();
      page = this.look(childPage(page, nodeOffset(page, childIndex(page, key))));
    }
    if (pageKind(page) !== LEAF) throw corrupted();
    const index = lowerBound(page, key, 0);
    if (index >= nodeCount(page)) return undefined;
    const offset = nodeOffset(page, index);
    return compareNode(page, offset, key) === 0 ? this.value(page, offset) : undefined;
  }

  private follow(
    tree: TreeDescriptor,
    key: Buffer | undefined,
    integerKeys = false,
  ): IndexRecord | undefined {
    if (tree.root < 0) return undefined;
    const path: Array<{ readonly page: Buffer; readonly index: number }> = [];
    let number = tree.root;
    let from = key;
    for (;;) {
      if (path.length > MAX_DEPTH) throw corrupted();
      const page = this.look(number);
      if (pageKind(page) === BRANCH) {
        const index =
          from === undefined ? 0 : integerKeys ? integerChild(page, from) : childIndex(page, from);
        path.push({ page, index });
        number = childPage(page, nodeOffset(page, index));
        continue;
      }
      if (pageKind(page) !== LEAF) throw corrupted();
      const index = from === undefined ? 0 : firstAfter(page, from, integerKeys);
      if (index < nodeCount(page)) {
        const offset = nodeOffset(page, index);
        return {
          key: Buffer.from(nodeKey(page, offset)),
          value: Buffer.from(viewOf(this.value(page, offset))),
        };
      }
      from = undefined;
      let next: number | undefined;
      while (next === undefined) {
        const parent = path.pop();
        if (parent === undefined) return undefined;
        const sibling = parent.index + 1;
        if (sibling >= nodeCount(parent.page)) continue;
        path.push({ page: parent.page, index: sibling });
        next = childPage(parent.page, nodeOffset(parent.page, sibling));
      }
      number = next;
    }
  }
}

const EMPTY: LmdbMeta = {
  pageSize: DEFAULT_PAGE_SIZE,
  mapSize: 0n,
  free: { flags: 0, depth: 0, branchPages: 0, leafPages: 0, overflowPages: 0, entries: 0, root: -1 },
  main: { flags: 0, depth: 0, branchPages: 0, leafPages: 0, overflowPages: 0, entries: 0, root: -1 },
  lastPage: 1,
  transaction: 0n,
};

/** The key of a node against another one. */
function compareNode(page: Buffer, offset: number, key: Buffer): number {
  const start = offset + NODE_HEADER;
  return compareExtent(page, start, start + u16(page, offset + 6), key);
}

/** Index of the first node at or after `from` whose key is not below `key`. */
export const lowerBound = (page: Buffer, key: Buffer, from: number): number => bound(page, key, from, 0);
/** Index of the first node at or after `from` whose key is above `key`. */
const upperBound = (page: Buffer, key: Buffer, from: number): number => bound(page, key, from, 1);

/** Index of the first node at or after `from` whose key, compared with `key`, gives `least` or more. */
function bound(page: Buffer, key: Buffer, from: number, least: 0 | 1): number {
  let low = from;
  let high = nodeCount(page);
  // bytes that the key shares with its neighbours so far: every node between them begins with those that both share
  let lowShared = 0;
  let highShared = 0;
  while (low < high) {
    const middle = (low + high) >> 1;
    const offset = nodeOffset(page, middle);
    const start = offset + NODE_HEADER;
    const length = u16(page, offset + 6);
    const common = Math.min(length, key.length);
    let at = Math.min(lowShared, highShared);
    while (at < common && page[start + at] === key[at]) at++;
    const order = at < common ? (page[start + at] as number) - (key[at] as number) : length - key.length;
    if (order < least) {
      low = middle + 1;
      lowShared = at;
    } else {
      high = middle;
      highShared = at;
    }
  }
  return low;
}

/** Index of the child that covers `key`; the first node of a branch has no key. */
export function childIndex(page: Buffer, key: Buffer): number {
  if (nodeCount(page) === 0) throw corrupted();
  return upperBound(page, key, 1) - 1;
}

const integerOf = (key: Buffer): bigint => (key.length === 8 ? key.readBigUInt64LE(0) : 0n);

function integerChild(page: Buffer, key: Buffer): number {
  let index = 0;
  for (let i = 1; i < nodeCount(page); i++)
    if (integerOf(nodeKey(page, nodeOffset(page, i))) <= integerOf(key)) index = i;
  return index;
}

function firstAfter(page: Buffer, key: Buffer, integerKeys: boolean): number {
  if (!integerKeys) return upperBound(page, key, 0);
  let index = 0;
  while (index < nodeCount(page) && integerOf(nodeKey(page, nodeOffset(page, index))) <= integerOf(key))
    index++;
  return index;
}
