/** One write transaction on an LMDB file: copy-on-write pages, committed by one meta page. The caller holds the locks. */
import { fdatasync, fstatSync, writeSync } from "node:fs";
import { promisify } from "node:util";
import { compareKeys, IndexError, type IndexRecord } from "./index.ts";
import {
  BIG_DATA,
  BRANCH,
  bigDataPage,
  childPage,
  corrupted,
  dataSize,
  emptyFreeTree,
  emptyTree,
  isBigData,
  LEAF,
  type LmdbMeta,
  MAX_DEPTH,
  MAX_KEY,
  MDB_BAD_VALSIZE,
  NODE_HEADER,
  nodeBytes,
  nodeCount,
  nodeData,
  nodeKey,
  nodeLimit,
  nodeOffset,
  OVERFLOW,
  PAGE_HEADER,
  pageKind,
  type TreeDescriptor,
  writeMeta,
} from "./lmdb_pages.ts";
import { childIndex, LmdbReader, lowerBound } from "./lmdb_reader.ts";

const syncData = promisify(fdatasync);

/** A node as it stands in a page. */
interface Node {
  readonly key: Buffer;
  readonly bytes: Buffer;
}

interface Step {
  readonly number: number;
  readonly page: Buffer;
  readonly index: number;
}

/** A page that takes the place of another one in its parent. */
interface NewChild {
  readonly key: Buffer;
  readonly number: number;
}

const NO_KEY = Buffer.alloc(0);
/** Pages are filled up to this share by a rebuild, so that later changes find room. */
const BULK_FILL = 0.9;

export class LmdbTransaction {
  private readonly reader: LmdbReader;
  private readonly meta: LmdbMeta;
  private readonly main: TreeDescriptor;
  private readonly pageSize: number;
  private readonly dirty = new Map<number, Buffer>();
  /** Pages that the previous state uses and the new one does not. */
  private readonly freed: number[] = [];
  /** Pages that no state in use refers to, in descending order. */
  private reusable: number[] = [];
  private nextPage: number;

  constructor(
    private readonly fd: number,
    private readonly mapSize: number,
  ) {
    this.reader = new LmdbReader(fd);
    this.meta = this.reader.snapshot();
    this.pageSize = this.meta.pageSize;
    this.main = { ...this.meta.main };
    this.nextPage = Math.max(2, this.meta.lastPage + 1);
    this.loadFreePages();
  }

  private loadFreePages(): void {
    const { free } = this.meta;
    if (free.root < 0) return;
    for (
      let record = this.reader.freeAfter(undefined);
      record !== undefined;
      record = this.reader.freeAfter(record.key)
    ) {
      const count = Number(record.value.readBigUInt64LE(0));
      if (count * 8 + 8 > record.value.length) throw corrupted();
      for (let i = 1; i <= count; i++) {
        const number = Number(record.value.readBigUInt64LE(8 * i));
        if (number < 2 || number >= this.nextPage) throw corrupted();
        this.reusable.push(number);
      }
    }
    this.reusable.sort((a, b) => b - a);
    this.freeTree(free.root, 0);
  }

  /** Frees all pages of a tree, values included. */
  private freeTree(number: number, depth: number): void {
    if (depth > MAX_DEPTH) throw corrupted();
    const page = this.page(number);
    const kind = pageKind(page);
    const count = nodeCount(page);
    for (let i = 0; i < count; i++) {
      const offset = nodeOffset(page, i);
      if (kind === BRANCH) this.freeTree(childPage(page, offset), depth + 1);
      else if (isBigData(page, offset)) this.freeValue(page, offset);
    }
    this.release(number);
  }

  private freeValue(page: Buffer, offset: number): void {
    const first = bigDataPage(nodeData(page, offset));
    const count = this.overflowPages(dataSize(page, offset));
    for (let i = 0; i < count; i++) this.release(first + i);
  }

  private overflowPages(size: number): number {
    return Math.ceil((PAGE_HEADER + size) / this.pageSize);
  }

  private page(number: number): Buffer {
    return this.dirty.get(number) ?? this.reader.page(number);
  }

  /** A page is no longer used: at once when it is of this transaction, else after it. */
  private release(number: number): void {
    if (this.dirty.delete(number)) this.reusable.push(number);
    else this.freed.push(number);
  }

  private allocate(): number {
    return this.reusable.pop() ?? this.nextPage++;
  }

  /** Consecutive pages. */
  private allocateRun(count: number): number {
    if (count === 1) return this.allocate();
    const free = [...this.reusable].sort((a, b) => a - b);
    for (let i = 0; i + count <= free.length; i++) {
      const first = free[i] ?? 0;
      if (free[i + count - 1] !== first + count - 1) continue;
      const run = new Set(Array.from({ length: count }, (_, k) => first + k));
      this.reusable = this.reusable.filter((number) => !run.has(number));
      return first;
    }
    const first = this.nextPage;
    this.nextPage += count;
    return first;
  }

  /** Stores a record; false when the key is there and `replace` is not asked for. */
  put(key: Buffer, value: Buffer, replace: boolean): boolean {
    if (key.length === 0 || key.length > MAX_KEY) throw new IndexError(MDB_BAD_VALSIZE);
    if (this.main.root < 0) {
      this.bulkLoad([{ key, value }]);
      return true;
    }
    const path = this.descend(key);
    const leaf = path.at(-1);
    if (leaf === undefined) throw corrupted();
    const exists = this.keyAt(leaf.page, leaf.index, key);
    if (exists && !replace) return false;
    const nodes = this.nodes(leaf.page, true);
    if (exists) {
      const offset = nodeOffset(leaf.page, leaf.index);
      if (isBigData(leaf.page, offset)) {
        this.freeValue(leaf.page, offset);
        this.main.overflowPages -= this.overflowPages(dataSize(leaf.page, offset));
      }
    } else this.main.entries++;
    nodes.splice(leaf.index, exists ? 1 : 0, this.leafNode(key, value, this.main));
    this.replacePages(path, nodes);
    return true;
  }

  /** Removes a record; false when it is not there. */
  remove(key: Buffer): boolean {
    if (this.main.root < 0 || key.length === 0 || key.length > MAX_KEY) return false;
    const path = this.descend(key);
    const leaf = path.at(-1);
    if (leaf === undefined || !this.keyAt(leaf.page, leaf.index, key)) return false;
    const offset = nodeOffset(leaf.page, leaf.index);
    if (isBigData(leaf.page, offset)) {
      this.freeValue(leaf.page, offset);
      this.main.overflowPages -= this.overflowPages(dataSize(leaf.page, offset));
    }
    const nodes = this.nodes(leaf.page, true);
    nodes.splice(leaf.index, 1);
    this.main.entries--;
    if (nodes.length > 0) this.replacePages(path, nodes);
    else this.removePage(path);
    return true;
  }

  /** Takes an empty leaf out of its parent. */
  private removePage(path: Step[]): void {
    const leaf = path.pop();
    if (leaf === undefined) throw corrupted();
    this.release(leaf.number);
    this.main.leafPages--;
    const parent = path.at(-1);
    if (parent === undefined) {
      Object.assign(this.main, emptyTree(this.main.flags));
      return;
    }
    const nodes = this.nodes(parent.page, false);
    nodes.splice(parent.index, 1);
    if (nodes.length > 1) {
      this.replacePages(path, withoutFirstKey(nodes));
      return;
    }
    if (path.length === 1) {
      // a root with one child: the child becomes the root
      const only = nodes[0];
      if (only === undefined) throw corrupted();
      this.release(parent.number);
      this.main.branchPages--;
      this.main.depth--;
      this.main.root = childPage(only.bytes, 0);
      return;
    }
    // no branch may have a single child: the tree is built anew
    this.replacePages(path, withoutFirstKey(nodes));
    const records = this.records();
    this.dropAll();
    this.bulkLoad(records);
  }

  /** All records in order. */
  records(): IndexRecord[] {
    const records: IndexRecord[] = [];
    const walk = (number: number, depth: number): void => {
      if (depth > MAX_DEPTH) throw corrupted();
      const page = this.page(number);
      const leaf = pageKind(page) === LEAF;
      if (!leaf && pageKind(page) !== BRANCH) throw corrupted();
      for (let i = 0; i < nodeCount(page); i++) {
        const offset = nodeOffset(page, i);
        if (leaf)
          records.push({
            key: Buffer.from(nodeKey(page, offset)),
            value: Buffer.from(this.value(page, offset)),
          });
        else walk(childPage(page, offset), depth + 1);
      }
    };
    if (this.main.root >= 0) walk(this.main.root, 0);
    return records;
  }

  private value(page: Buffer, offset: number): Buffer {
    if (!isBigData(page, offset)) return nodeData(page, offset);
    const run = this.dirty.get(bigDataPage(nodeData(page, offset)));
    return run === undefined
      ? this.reader.value(page, offset)
      : run.subarray(PAGE_HEADER, PAGE_HEADER + dataSize(page, offset));
  }

  /** Removes all records. */
  dropAll(): void {
    if (this.main.root >= 0) this.freeTree(this.main.root, 0);
    Object.assign(this.main, emptyTree(this.main.flags));
  }

  /** Fills an empty tree with records in key order. */
  bulkLoad(records: ReadonlyArray<IndexRecord>): void {
    if (records.length === 0) return;
    const { main } = this;
    for (const { key } of records)
      if (key.length === 0 || key.length > MAX_KEY) throw new IndexError(MDB_BAD_VALSIZE);
    let level: NewChild[] = [];
    const limit = PAGE_HEADER + Math.floor((this.pageSize - PAGE_HEADER) * BULK_FILL);
    let nodes: Node[] = [];
    let size = PAGE_HEADER;
    const flush = (leaf: boolean, target: NewChild[]): void => {
      const first = nodes[0];
      if (first === undefined) return;
      target.push({ key: first.key, number: this.writePage(leaf ? nodes : withoutFirstKey(nodes), leaf) });
      nodes = [];
      size = PAGE_HEADER;
    };
    for (const { key, value } of records) {
      const node = this.leafNode(key, value, main);
      if (nodes.length > 0 && size + node.bytes.length + 2 > limit) flush(true, level);
      nodes.push(node);
      size += node.bytes.length + 2;
    }
    flush(true, level);
    main.entries = records.length;
    main.leafPages = level.length;
    main.depth = 1;
    while (level.length > 1) {
      const above: NewChild[] = [];
      for (const [index, child] of level.entries()) {
        const node = branchNode(child.key, child.number);
        // the last page of a level must not be left with one child
        const remaining = level.length - index;
        const full = size + node.bytes.length + 2 > limit;
        const twoMoreMayNotFit = size + 2 * (NODE_HEADER + MAX_KEY + 3) > this.pageSize;
        if (nodes.length > 1 && remaining > 1 && (full || (remaining === 2 && twoMoreMayNotFit)))
          flush(false, above);
        nodes.push(node);
        size += node.bytes.length + 2;
      }
      flush(false, above);
      main.branchPages += above.length;
      main.depth++;
      level = above;
    }
    main.root = level[0]?.number ?? -1;
  }

  private keyAt(page: Buffer, index: number, key: Buffer): boolean {
    return index < nodeCount(page) && compareKeys(nodeKey(page, nodeOffset(page, index)), key) === 0;
  }

  /** The pages from the root to the leaf of a key, with the place in each. */
  private descend(key: Buffer): Step[] {
    const path: Step[] = [];
    let number = this.main.root;
    for (;;) {
      if (path.length > MAX_DEPTH) throw corrupted();
      const page = this.page(number);
      const kind = pageKind(page);
      if (kind === LEAF) {
        path.push({ number, page, index: lowerBound(page, key, 0) });
        return path;
      }
      if (kind !== BRANCH) throw corrupted();
      const index = childIndex(page, key);
      path.push({ number, page, index });
      number = childPage(page, nodeOffset(page, index));
    }
  }

  private nodes(page: Buffer, leaf: boolean): Node[] {
    const nodes: Node[] = [];
    for (let i = 0; i < nodeCount(page); i++) {
      const offset = nodeOffset(page, i);
      nodes.push({ key: Buffer.from(nodeKey(page, offset)), bytes: nodeBytes(page, offset, leaf) });
    }
    return nodes;
  }

  private leafNode(key: Buffer, value: Buffer, tree: TreeDescriptor): Node {
    let data = value;
    let flags = 0;
    if (NODE_HEADER + key.length + value.length > nodeLimit(this.pageSize)) {
      flags = BIG_DATA;
      data = Buffer.alloc(8);
      data.writeBigUInt64LE(BigInt(this.writeOverflow(value, tree)), 0);
    }
    return {
      key,
      bytes: makeNode(key, data, value.length & 0xffff, Math.floor(value.length / 0x10000), flags),
    };
  }

  private writeOverflow(value: Buffer, tree: TreeDescriptor): number {
    const count = this.overflowPages(value.length);
    const first = this.allocateRun(count);
    const run = Buffer.alloc(count * this.pageSize);
    run.writeBigUInt64LE(BigInt(first), 0);
    run.writeUInt16LE(OVERFLOW, 10);
    run.writeUInt32LE(count, 12);
    value.copy(run, PAGE_HEADER);
    this.dirty.set(first, run);
    tree.overflowPages += count;
    return first;
  }

  /** Writes the nodes of the last page of a path, in as many pages as they need, and the pages above. */
  private replacePages(path: Step[], changed: Node[]): void {
    let nodes = changed;
    for (let level = path.length - 1; level >= 0; level--) {
      const step = path[level];
      if (step === undefined) throw corrupted();
      const leaf = level === path.length - 1 && pageKind(step.page) === LEAF;
      this.release(step.number);
      const children = this.writeSplit(nodes, leaf);
      if (level === 0) {
        this.plantRoot(children);
        return;
      }
      const parent = path[level - 1];
      if (parent === undefined) throw corrupted();
      nodes = this.nodes(parent.page, false);
      const old = nodes[parent.index];
      if (old === undefined) throw corrupted();
      nodes.splice(
        parent.index,
        1,
        ...children.map((child, i) => branchNode(i === 0 ? old.key : child.key, child.number)),
      );
    }
  }

  private plantRoot(children: ReadonlyArray<NewChild>): void {
    const [only] = children;
    if (only === undefined) throw corrupted();
    if (children.length === 1) {
      this.main.root = only.number;
      return;
    }
    const nodes = children.map((child, i) => branchNode(i === 0 ? NO_KEY : child.key, child.number));
    this.main.root = this.writePage(nodes, false);
    this.main.branchPages++;
    this.main.depth++;
  }

  /** One page, or two when the nodes do not fit in one. */
  private writeSplit(nodes: Node[], leaf: boolean): NewChild[] {
    const capacity = this.pageSize - PAGE_HEADER;
    const sizes = nodes.map((node) => node.bytes.length + 2);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    if (total <= capacity) return [{ key: nodes[0]?.key ?? NO_KEY, number: this.writePage(nodes, leaf) }];
    let best = 0;
    let bestDifference = Number.POSITIVE_INFINITY;
    let left = 0;
    for (let i = 1; i < nodes.length; i++) {
      left += sizes[i - 1] ?? 0;
      if (left > capacity || total - left > capacity) continue;
      const difference = Math.abs(total - 2 * left);
      if (difference < bestDifference) {
        bestDifference = difference;
        best = i;
      }
    }
    const middle = nodes[best];
    if (best === 0 || middle === undefined) throw corrupted();
    const right = nodes.slice(best);
    const children = [
      { key: nodes[0]?.key ?? NO_KEY, number: this.writePage(nodes.slice(0, best), leaf) },
      { key: middle.key, number: this.writePage(leaf ? right : withoutFirstKey(right), leaf) },
    ];
    if (leaf) this.main.leafPages++;
    else this.main.branchPages++;
    return children;
  }

  private writePage(nodes: ReadonlyArray<Node>, leaf: boolean): number {
    const number = this.allocate();
    const page = Buffer.alloc(this.pageSize);
    page.writeBigUInt64LE(BigInt(number), 0);
    page.writeUInt16LE(leaf ? LEAF : BRANCH, 10);
    let upper = this.pageSize;
    let lower = PAGE_HEADER;
    for (const { bytes } of nodes) {
      upper -= bytes.length;
      if (upper < lower + 2) throw corrupted();
      bytes.copy(page, upper);
      page.writeUInt16LE(upper, lower);
      lower += 2;
    }
    page.writeUInt16LE(lower, 12);
    page.writeUInt16LE(upper, 14);
    this.dirty.set(number, page);
    return number;
  }

  /** Makes the new state the one that readers see. */
  async commit(): Promise<void> {
    const transaction = this.meta.transaction + 1n;
    const free = this.writeFreePages(transaction);
    const lastPage = this.nextPage - 1;
    const fileEnd = this.nextPage * this.pageSize;
    let mapSize = Math.max(this.mapSize, Number(this.meta.mapSize));
    while (mapSize < fileEnd) mapSize *= 2;
    if (this.meta.transaction === 0n && fstatSync(this.fd).size < 2 * this.pageSize)
      this.writeFirstMetas(mapSize);
    for (const [number, page] of this.dirty) writeAll(this.fd, page, number * this.pageSize);
    await syncData(this.fd);
    const meta: LmdbMeta = {
      pageSize: this.pageSize,
      mapSize: BigInt(mapSize),
      free,
      main: this.main,
      lastPage,
      transaction,
    };
    writeAll(this.fd, writeMeta(meta), Number(transaction & 1n) * this.pageSize);
    await syncData(this.fd);
  }

  private writeFirstMetas(mapSize: number): void {
    const empty = {
      pageSize: this.pageSize,
      mapSize: BigInt(mapSize),
      free: emptyFreeTree(),
      main: emptyTree(),
      lastPage: 1,
    };
    writeAll(
      this.fd,
      Buffer.concat([
        writeMeta({ ...empty, transaction: 0n }),
        writeMeta({ ...empty, transaction: 1n }).fill(0, 144, 152),
      ]),
      0,
    );
  }

  /** The free page database: one entry with all pages that are free from now on. */
  private writeFreePages(transaction: bigint): TreeDescriptor {
    const free = emptyFreeTree();
    free.flags = this.meta.free.flags || free.flags;
    if (this.freed.length + this.reusable.length === 0) return free;
    const bound = 8 * (1 + this.freed.length + this.reusable.length);
    const key = Buffer.alloc(8);
    key.writeBigUInt64LE(transaction, 0);
    const leafNumber = this.allocate();
    const big = NODE_HEADER + 8 + bound > nodeLimit(this.pageSize);
    const runLength = this.overflowPages(bound);
    const run = big ? this.allocateRun(runLength) : 0;

    const numbers = [...this.freed, ...this.reusable].sort((a, b) => b - a);
    const value = Buffer.alloc(8 * (1 + numbers.length));
    value.writeBigUInt64LE(BigInt(numbers.length), 0);
    for (const [i, number] of numbers.entries()) value.writeBigUInt64LE(BigInt(number), 8 * (i + 1));

    let node: Buffer;
    if (big) {
      const pages = Buffer.alloc(runLength * this.pageSize);
      pages.writeBigUInt64LE(BigInt(run), 0);
      pages.writeUInt16LE(OVERFLOW, 10);
      pages.writeUInt32LE(runLength, 12);
      value.copy(pages, PAGE_HEADER);
      this.dirty.set(run, pages);
      free.overflowPages = runLength;
      const data = Buffer.alloc(8);
      data.writeBigUInt64LE(BigInt(run), 0);
      node = makeNode(key, data, value.length & 0xffff, Math.floor(value.length / 0x10000), BIG_DATA);
    } else node = makeNode(key, value, value.length & 0xffff, 0, 0);

    const page = Buffer.alloc(this.pageSize);
    page.writeBigUInt64LE(BigInt(leafNumber), 0);
    page.writeUInt16LE(LEAF, 10);
    const upper = this.pageSize - node.length;
    node.copy(page, upper);
    page.writeUInt16LE(upper, PAGE_HEADER);
    page.writeUInt16LE(PAGE_HEADER + 2, 12);
    page.writeUInt16LE(upper, 14);
    this.dirty.set(leafNumber, page);
    free.depth = 1;
    free.leafPages = 1;
    free.entries = 1;
    free.root = leafNumber;
    return free;
  }
}

function writeAll(fd: number, bytes: Buffer, position: number): void {
  for (let done = 0; done < bytes.length; )
    done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}

function makeNode(key: Buffer, data: Buffer, low: number, high: number, flags: number): Buffer {
  const length = NODE_HEADER + key.length + data.length;
  const node = Buffer.alloc(length + (length & 1));
  node.writeUInt16LE(low, 0);
  node.writeUInt16LE(high, 2);
  node.writeUInt16LE(flags, 4);
  node.writeUInt16LE(key.length, 6);
  key.copy(node, NODE_HEADER);
  data.copy(node, NODE_HEADER + key.length);
  return node;
}

function branchNode(key: Buffer, child: number): Node {
  const high = Math.floor(child / 0x10000);
  return { key, bytes: makeNode(key, NO_KEY, child & 0xffff, high & 0xffff, Math.floor(high / 0x10000)) };
}

/** The first node of a branch page has no key. */
function withoutFirstKey(nodes: ReadonlyArray<Node>): Node[] {
  const [first, ...rest] = nodes;
  return first === undefined ? [] : [branchNode(NO_KEY, childPage(first.bytes, 0)), ...rest];
}
