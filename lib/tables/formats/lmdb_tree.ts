/** Writing new pages of an LMDB tree, and whole trees. */
import { IndexError, type IndexRecord } from "./index.ts";
import {
  bigNode,
  branchNode,
  leafNode,
  makePage,
  type NewChild,
  type Node,
  needsOverflow,
  withoutFirstKey,
} from "./lmdb_nodes.ts";
import { MAX_KEY, MDB_BAD_VALSIZE, NODE_HEADER, PAGE_HEADER, type TreeDescriptor } from "./lmdb_pages.ts";
import type { PageSpace } from "./lmdb_space.ts";

/** Pages are filled up to this share by a rebuild, so that later changes find room. */
const BULK_FILL = 0.9;

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
      const node = this.leafNode(key, value);
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
}
