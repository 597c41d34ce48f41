/** One write transaction on an LMDB file: copy-on-write pages, committed by one meta page. The caller holds the locks. */
import { contentSynced, fstatSync, writeSync } from "../../sys/fs.ts";
import type { MappedFile } from "../../sys/mapped_file.ts";
import { compareKeys, IndexError, type IndexRecord, viewOf } from "./index.ts";
import { branchNode, type NewChild, NO_KEY, type Node, splitPoint, withoutFirstKey } from "./lmdb_nodes.ts";
import {
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
  nodeBytes,
  nodeCount,
  nodeData,
  nodeKey,
  nodeOffset,
  PAGE_HEADER,
  pageKind,
  type TreeDescriptor,
  writeMeta,
} from "./lmdb_pages.ts";
import { childIndex, LmdbReader, lowerBound } from "./lmdb_reader.ts";
import { PageSpace } from "./lmdb_space.ts";
import { TreeBuilder } from "./lmdb_tree.ts";
import { Records } from "./records.ts";

interface Step {
  readonly number: number;
  readonly page: Buffer;
  readonly index: number;
}

export class LmdbTransaction {
  private readonly reader: LmdbReader;
  private readonly meta: LmdbMeta;
  private readonly main: TreeDescriptor;
  private readonly pageSize: number;
  private readonly space: PageSpace;
  private readonly tree: TreeBuilder;

  constructor(
    private readonly file: MappedFile,
    private readonly mapSize: number,
  ) {
    this.reader = new LmdbReader(file);
    this.meta = this.reader.snapshot();
    this.pageSize = this.meta.pageSize;
    this.main = { ...this.meta.main };
    this.space = new PageSpace(this.reader, this.meta);
    this.tree = new TreeBuilder(this.space, this.main, this.pageSize);
    if (this.meta.free.root >= 0) this.freeTree(this.meta.free.root);
  }

  /** Visits the pages of a tree, each before those below it. */
  private walk(root: number, visit: (page: Buffer, number: number) => void): void {
    const open = [root];
    for (let steps = 0; ; steps++) {
      const number = open.pop();
      if (number === undefined) return;
      // more pages than there are: a damaged file leads in a circle
      if (steps > this.space.nextPage) throw corrupted();
      const page = this.space.page(number);
      const kind = pageKind(page);
      if (kind === BRANCH)
        for (let i = nodeCount(page) - 1; i >= 0; i--) open.push(childPage(page, nodeOffset(page, i)));
      else if (kind !== LEAF) throw corrupted();
      visit(page, number);
    }
  }

  /** Frees all pages of a tree, values included. */
  private freeTree(root: number): void {
    this.walk(root, (page, number) => {
      if (pageKind(page) === LEAF)
        for (let i = 0; i < nodeCount(page); i++) {
          const offset = nodeOffset(page, i);
          if (isBigData(page, offset)) this.freeValue(page, offset);
        }
      this.space.release(number);
    });
  }

  private freeValue(page: Buffer, offset: number): void {
    const first = bigDataPage(nodeData(page, offset));
    const count = this.space.overflowPages(dataSize(page, offset));
    for (let i = 0; i < count; i++) this.space.release(first + i);
  }

  /** Stores a record; false when the key is there and `replace` is not asked for. */
  put(key: Buffer, value: Buffer, replace: boolean): boolean {
    if (key.length === 0 || key.length > MAX_KEY) throw new IndexError(MDB_BAD_VALSIZE);
    if (this.main.root < 0) {
      this.bulkLoad(Records.from([{ key, value }]));
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
        this.main.overflowPages -= this.space.overflowPages(dataSize(leaf.page, offset));
      }
    } else this.main.entries++;
    nodes.splice(leaf.index, exists ? 1 : 0, this.tree.leafNode(key, value));
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
      this.main.overflowPages -= this.space.overflowPages(dataSize(leaf.page, offset));
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
    this.space.release(leaf.number);
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
      this.space.release(parent.number);
      this.main.branchPages--;
      this.main.depth--;
      this.main.root = childPage(only.bytes, 0);
      return;
    }
    // no branch may have a single child: the tree is built anew
    this.replacePages(path, withoutFirstKey(nodes));
    const records = Records.from(this.records());
    this.dropAll();
    this.bulkLoad(records);
  }

  /** All records in order. */
  records(): IndexRecord[] {
    const records: IndexRecord[] = [];
    if (this.main.root < 0) return records;
    this.walk(this.main.root, (page) => {
      if (pageKind(page) !== LEAF) return;
      for (let i = 0; i < nodeCount(page); i++) {
        const offset = nodeOffset(page, i);
        const value = Buffer.from(this.value(page, offset));
        records.push({ key: Buffer.from(nodeKey(page, offset)), value });
      }
    });
    return records;
  }

  private value(page: Buffer, offset: number): Buffer {
    if (!isBigData(page, offset)) return nodeData(page, offset);
    const run = this.space.dirty.get(bigDataPage(nodeData(page, offset)));
    return run === undefined
      ? viewOf(this.reader.value(page, offset))
      : run.subarray(PAGE_HEADER, PAGE_HEADER + dataSize(page, offset));
  }

  /** Removes all records. */
  dropAll(): void {
    if (this.main.root >= 0) this.freeTree(this.main.root);
    Object.assign(this.main, emptyTree(this.main.flags));
  }

  /** Fills an empty tree. */
  bulkLoad(records: Records): void {
    this.tree.bulkLoad(records);
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
      const page = this.space.page(number);
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

  /** Writes the nodes of the last page of a path, in as many pages as they need, and the pages above. */
  private replacePages(path: Step[], changed: Node[]): void {
    let nodes = changed;
    for (let level = path.length - 1; level >= 0; level--) {
      const step = path[level];
      if (step === undefined) throw corrupted();
      const leaf = level === path.length - 1 && pageKind(step.page) === LEAF;
      this.space.release(step.number);
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
    this.main.root = this.tree.writePage(nodes, false);
    this.main.branchPages++;
    this.main.depth++;
  }

  /** One page, or two when the nodes do not fit in one. */
  private writeSplit(nodes: Node[], leaf: boolean): NewChild[] {
    const capacity = this.pageSize - PAGE_HEADER;
    const total = nodes.reduce((sum, node) => sum + node.bytes.length + 2, 0);
    if (total <= capacity)
      return [{ key: nodes[0]?.key ?? NO_KEY, number: this.tree.writePage(nodes, leaf) }];
    const best = splitPoint(nodes, capacity);
    const middle = nodes[best];
    if (middle === undefined) throw corrupted();
    const right = nodes.slice(best);
    const children = [
      { key: nodes[0]?.key ?? NO_KEY, number: this.tree.writePage(nodes.slice(0, best), leaf) },
      { key: middle.key, number: this.tree.writePage(leaf ? right : withoutFirstKey(right), leaf) },
    ];
    if (leaf) this.main.leafPages++;
    else this.main.branchPages++;
    return children;
  }

  /** Makes the new state the one that readers see. */
  async commit(): Promise<void> {
    const transaction = this.meta.transaction + 1n;
    const free = this.space.writeFreePages(transaction);
    const lastPage = this.space.nextPage - 1;
    const fileEnd = this.space.nextPage * this.pageSize;
    let mapSize = Math.max(this.mapSize, Number(this.meta.mapSize));
    while (mapSize < fileEnd) mapSize *= 2;
    if (this.meta.transaction === 0n && fstatSync(this.file.fd).size < 2 * this.pageSize)
      this.writeFirstMetas(mapSize);
    this.writePages();
    await contentSynced(this.file.fd);
    const meta: LmdbMeta = {
      pageSize: this.pageSize,
      mapSize: BigInt(mapSize),
      free,
      main: this.main,
      lastPage,
      transaction,
    };
    writeAll(this.file.fd, writeMeta(meta), Number(transaction & 1n) * this.pageSize);
    await contentSynced(this.file.fd);
  }

  /** Writes the new pages: those that follow one another, in memory as in the file, together. */
  private writePages(): void {
    let gathered: Buffer = Buffer.alloc(0);
    let begin = 0;
    for (const [number, page] of this.space.dirty) {
      const position = number * this.pageSize;
      const end = gathered.byteOffset + gathered.length;
      if (
        position === begin + gathered.length &&
        page.buffer === gathered.buffer &&
        page.byteOffset === end
      ) {
        gathered = Buffer.from(page.buffer, gathered.byteOffset, gathered.length + page.length);
        continue;
      }
      writeAll(this.file.fd, gathered, begin);
      gathered = page;
      begin = position;
    }
    writeAll(this.file.fd, gathered, begin);
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
      this.file.fd,
      Buffer.concat([
        writeMeta({ ...empty, transaction: 0n }),
        writeMeta({ ...empty, transaction: 1n }).fill(0, 144, 152),
      ]),
      0,
    );
  }
}

function writeAll(fd: number, bytes: Buffer, position: number): void {
  for (let done = 0; done < bytes.length; )
    done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}
