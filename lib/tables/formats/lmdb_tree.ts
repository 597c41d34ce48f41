/** Writing new pages of an LMDB tree, and whole trees. */
import { IndexError, put16 } from "./index.ts";
import {
  bigNode,
  branchNode,
  leafNode,
  makePage,
  type NewChild,
  type Node,
  needsOverflow,
  nodeSize,
  withoutFirstKey,
} from "./lmdb_nodes.ts";
import {
  LEAF,
  MAX_KEY,
  MDB_BAD_VALSIZE,
  NODE_HEADER,
  PAGE_HEADER,
  type TreeDescriptor,
} from "./lmdb_pages.ts";
import type { PageSpace } from "./lmdb_space.ts";
import type { Records } from "./records.ts";

/** Pages are filled up to this share by a rebuild, so that later changes find room. */
const BULK_FILL = 0.9;
/** A page number stands in the place of a value on pages of its own. */
const BIG_DATA_SIZE = 8;
/** Pages that are allocated together. */
const PIECE_PAGES = 64;
/** Places in the header: ends of the free room. */
const LOWER_AT = 12;
const UPPER_AT = 14;

export class TreeBuilder {
  constructor(
    private readonly space: PageSpace,
    private readonly main: TreeDescriptor,
    private readonly pageSize: number,
  ) {}

  writePage(nodes: ReadonlyArray<Node>, leaf: boolean): number {
    const number = this.space.allocate();
    this.space.dirty.set(number, makePage(number, this.pageSize, nodes, leaf));
    return number;
  }

  /** The node of a record; a large value goes to pages of its own. */
  leafNode(key: Buffer, value: Buffer): Node {
    if (!needsOverflow(key.length, value.length, this.pageSize)) return { key, bytes: leafNode(key, value) };
    const count = this.space.overflowPages(value.length);
    const first = this.space.allocateRun(count);
    this.space.writeRun(value, first, count);
    this.main.overflowPages += count;
    return { key, bytes: bigNode(key, value.length, first) };
  }

  /** Fills an empty tree. */
  bulkLoad(records: Records): void {
    if (records.length === 0) return;
    const { main } = this;
    for (let index = 0; index < records.length; index++)
      if (records.keyLength(index) === 0 || records.keyLength(index) > MAX_KEY)
        throw new IndexError(MDB_BAD_VALSIZE);
    let level = this.writeLeaves(records);
    main.entries = records.length;
    main.leafPages = level.length;
    main.depth = 1;
    const limit = this.bulkLimit;
    let nodes: Node[] = [];
    let size = PAGE_HEADER;
    const flush = (target: NewChild[]): void => {
      const first = nodes[0];
      if (first === undefined) return;
      target.push({ key: first.key, number: this.writePage(withoutFirstKey(nodes), false) });
      nodes = [];
      size = PAGE_HEADER;
    };
    while (level.length > 1) {
      const above: NewChild[] = [];
      for (const [index, child] of level.entries()) {
        const node = branchNode(child.key, child.number);
        // the last page of a level must not be left with one child
        const remaining = level.length - index;
        const full = size + node.bytes.length + 2 > limit;
        const twoMoreMayNotFit = size + 2 * (NODE_HEADER + MAX_KEY + 3) > this.pageSize;
        if (nodes.length > 1 && remaining > 1 && (full || (remaining === 2 && twoMoreMayNotFit)))
          flush(above);
        nodes.push(node);
        size += node.bytes.length + 2;
      }
      flush(above);
      main.branchPages += above.length;
      main.depth++;
      level = above;
    }
    main.root = level[0]?.number ?? -1;
  }

  private get bulkLimit(): number {
    return PAGE_HEADER + Math.floor((this.pageSize - PAGE_HEADER) * BULK_FILL);
  }

  /** The leaf pages of all records, from left to right. */
  private writeLeaves(records: Records): NewChild[] {
    const leaves: NewChild[] = [];
    const limit = this.bulkLimit;
    const pages = new Pages(this.pageSize);
    let leaf: LeafPage | undefined;
    for (const index of records.keyOrder()) {
      const start = records.start(index);
      const keyLength = records.keyLength(index);
      const valueLength = records.valueLength(index);
      const big = needsOverflow(keyLength, valueLength, this.pageSize);
      const size = nodeSize(keyLength + (big ? BIG_DATA_SIZE : valueLength));
      if (leaf === undefined || leaf.used + size + 2 > limit) {
        const number = this.space.allocate();
        leaf = new LeafPage(number, pages.next());
        this.space.dirty.set(number, leaf.page);
        leaves.push({ key: Buffer.from(records.bytes.subarray(start, start + keyLength)), number });
      }
      if (!big) {
        leaf.add(records.bytes, start, keyLength, valueLength);
        continue;
      }
      const { key, value } = records.record(index);
      leaf.addNode(this.leafNode(key, value).bytes);
    }
    return leaves;
  }
}

/** Empty pages, cut from larger pieces of memory: what follows one another there can be written together. */
class Pages {
  #piece = Buffer.alloc(0);
  #used = 0;
  constructor(private readonly pageSize: number) {}
  next(): Buffer {
    if (this.#used === this.#piece.length) {
      this.#piece = Buffer.alloc(PIECE_PAGES * this.pageSize);
      this.#used = 0;
    }
    this.#used += this.pageSize;
    return this.#piece.subarray(this.#used - this.pageSize, this.#used);
  }
}

/** A leaf page, filled from its end downwards. */
class LeafPage {
  #lower = PAGE_HEADER;
  #upper: number;

  constructor(
    number: number,
    readonly page: Buffer,
  ) {
    page.writeBigUInt64LE(BigInt(number), 0);
    page.writeUInt16LE(LEAF, 10);
    this.#upper = page.length;
  }
  get used(): number {
    return this.#lower + this.page.length - this.#upper;
  }

  /** Adds a record whose key and value stand one behind the other. */
  add(bytes: Buffer, start: number, keyLength: number, valueLength: number): void {
    const offset = this.#place(nodeSize(keyLength + valueLength));
    const { page } = this;
    put16(page, offset, valueLength);
    put16(page, offset + 6, keyLength);
    bytes.copy(page, offset + NODE_HEADER, start, start + keyLength + valueLength);
  }
  addNode(bytes: Buffer): void {
    this.page.set(bytes, this.#place(bytes.length));
  }

  #place(size: number): number {
    this.#upper -= size;
    put16(this.page, this.#lower, this.#upper);
    this.#lower += 2;
    put16(this.page, LOWER_AT, this.#lower);
    put16(this.page, UPPER_AT, this.#upper);
    return this.#upper;
  }
}
