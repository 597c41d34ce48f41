/** Building the nodes and pages of an LMDB tree. */
import {
  BIG_DATA,
  BRANCH,
  childPage,
  corrupted,
  LEAF,
  NODE_HEADER,
  nodeLimit,
  PAGE_HEADER,
} from "./lmdb_pages.ts";

/** A node as it stands in a page. */
export interface Node {
  readonly key: Buffer;
  readonly bytes: Buffer;
}

/** A page that takes the place of another one in its parent. */
export interface NewChild {
  readonly key: Buffer;
  readonly number: number;
}

export const NO_KEY = Buffer.alloc(0);

/** What a node takes with so many bytes of key and data: an even number. */
export const nodeSize = (content: number): number => (NODE_HEADER + content + 1) & ~1;

function makeNode(key: Buffer, data: Buffer, low: number, high: number, flags: number): Buffer {
  const node = Buffer.alloc(nodeSize(key.length + data.length));
  node.writeUInt16LE(low, 0);
  node.writeUInt16LE(high, 2);
  node.writeUInt16LE(flags, 4);
  node.writeUInt16LE(key.length, 6);
  key.copy(node, NODE_HEADER);
  data.copy(node, NODE_HEADER + key.length);
  return node;
}

/** A leaf node with its value in the page. */
export const leafNode = (key: Buffer, value: Buffer): Buffer =>
  makeNode(key, value, value.length & 0xffff, Math.floor(value.length / 0x10000), 0);

/** A leaf node whose value of `size` bytes starts on page `first`. */
export function bigNode(key: Buffer, size: number, first: number): Buffer {
  const data = Buffer.alloc(8);
  data.writeBigUInt64LE(BigInt(first), 0);
  return makeNode(key, data, size & 0xffff, Math.floor(size / 0x10000), BIG_DATA);
}

export function branchNode(key: Buffer, child: number): Node {
  const high = Math.floor(child / 0x10000);
  return { key, bytes: makeNode(key, NO_KEY, child & 0xffff, high & 0xffff, Math.floor(high / 0x10000)) };
}

/** The first node of a branch page has no key. */
export function withoutFirstKey(nodes: ReadonlyArray<Node>): Node[] {
  const [first, ...rest] = nodes;
  return first === undefined ? [] : [branchNode(NO_KEY, childPage(first.bytes, 0)), ...rest];
}

/** A leaf or branch page with these nodes, placed from its end downwards. */
export function makePage(
  number: number,
  pageSize: number,
  nodes: ReadonlyArray<Node>,
  leaf: boolean,
): Buffer {
  const page = Buffer.alloc(pageSize);
  page.writeBigUInt64LE(BigInt(number), 0);
  page.writeUInt16LE(leaf ? LEAF : BRANCH, 10);
  let upper = pageSize;
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
  return page;
}

/** Where to divide nodes that do not fit in one page, so that both parts do and are about the same size. */
export function splitPoint(nodes: ReadonlyArray<Node>, capacity: number): number {
  const sizes = nodes.map((node) => node.bytes.length + 2);
  const total = sizes.reduce((sum, size) => sum + size, 0);
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
  if (best === 0) throw corrupted();
  return best;
}

/** A record of these sizes has its value on overflow pages. */
export const needsOverflow = (keySize: number, valueSize: number, pageSize: number): boolean =>
  NODE_HEADER + keySize + valueSize > nodeLimit(pageSize);
