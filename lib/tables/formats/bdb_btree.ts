/** Berkeley DB btree files. */
import {
  appendOverflow,
  type BdbFile,
  BTREE_INTERNAL,
  BTREE_LEAF,
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
  u16,
  u32,
  viewOf,
} from "./index.ts";

const PLAIN = 1;
const OVERFLOW_ITEM = 3;
const DELETED = 0x80;
const OVERFLOW_ITEM_SIZE = 12;
const MAX_DEPTH = 64;
/** Type of a free page. */
const FREE = 0;

export class BtreeReader implements IndexReader {
  constructor(private readonly file: BdbFile) {}

  private root(): Buffer {
    return this.file.look(this.file.meta("btree").readUInt32LE(88));
  }

  /** The leaf that covers `key`, the leftmost one without a key; good until the next search. */
  private leaf(key: Buffer | undefined): Buffer {
    let page = this.root();
    for (let depth = 0; page[25] === BTREE_INTERNAL; depth++) {
      if (depth > MAX_DEPTH) throw invalid();
      const count = itemCount(page);
      if (count === 0) throw invalid();
      let low = 0;
      if (key !== undefined) {
        let high = count - 1;
        while (low < high) {
          const middle = (low + high + 1) >> 1;
          if (this.compareInternal(page, middle, key) <= 0) low = middle;
          else high = middle - 1;
        }
      }
      page = this.file.look(u32(page, itemOffset(page, low, 12) + 4));
    }
    if (page[25] !== BTREE_LEAF) throw invalid();
    return page;
  }

  private compareInternal(page: Buffer, index: number, key: Buffer): number {
    const offset = itemOffset(page, index, 12);
    const length = u16(page, offset);
    const start = offset + 12;
    if (start + length > page.length) throw invalid();
    if (((page[offset + 2] ?? 0) & ~DELETED) !== OVERFLOW_ITEM)
      return compareExtent(page, start, start + length, key);
    if (start + OVERFLOW_ITEM_SIZE > page.length) throw invalid();
    return compareKeys(this.file.overflow(u32(page, start + 4), u32(page, start + 8)), key);
  }

  private extent(page: Buffer, index: number): Extent {
    const offset = itemOffset(page, index, 3);
    const type = (page[offset + 2] ?? 0) & ~DELETED;
    if (type === OVERFLOW_ITEM) {
      if (offset + OVERFLOW_ITEM_SIZE > page.length) throw invalid();
      return extentOf(this.file.overflow(u32(page, offset + 4), u32(page, offset + 8)));
    }
    const start = offset + 3;
    const end = start + u16(page, offset);
    if (type !== PLAIN || end > page.length) throw invalid();
    return { bytes: page, start, end };
  }
  private item(page: Buffer, index: number): Buffer {
    return viewOf(this.extent(page, index));
  }
  private compareItem(page: Buffer, index: number, key: Buffer): number {
    const { bytes, start, end } = this.extent(page, index);
    return compareExtent(bytes, start, end, key);
  }
  private isDeleted(page: Buffer, index: number): boolean {
    return ((page[itemOffset(page, index, 3) + 2] ?? 0) & DELETED) !== 0;
  }

  /** Number of the first pair of a leaf whose key is not below `key`. */
  private lowerBound(page: Buffer, key: Buffer): number {
    let low = 0;
    let high = itemCount(page) >> 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.compareItem(page, 2 * middle, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  get(key: Buffer): Extent | undefined {
    const page = this.leaf(key);
    const pairs = itemCount(page) >> 1;
    for (let pair = this.lowerBound(page, key); pair < pairs; pair++) {
      if (this.compareItem(page, 2 * pair, key) !== 0) return undefined;
      if (!this.isDeleted(page, 2 * pair) && !this.isDeleted(page, 2 * pair + 1))
        return this.extent(page, 2 * pair + 1);
    }
    return undefined;
  }

  after(key: Buffer | undefined): IndexRecord | undefined {
    let page = this.leaf(key);
    let pair = key === undefined ? 0 : this.lowerBound(page, key);
    for (let steps = 0; steps <= this.file.pageCount; steps++) {
      const pairs = itemCount(page) >> 1;
      for (; pair < pairs; pair++) {
        if (this.isDeleted(page, 2 * pair) || this.isDeleted(page, 2 * pair + 1)) continue;
        const found = this.item(page, 2 * pair);
        if (key !== undefined && compareKeys(found, key) <= 0) continue;
        return { key: Buffer.from(found), value: Buffer.from(this.item(page, 2 * pair + 1)) };
      }
      const next = page.readUInt32LE(16);
      if (next === NO_PAGE) return undefined;
      page = this.file.page(next);
      if (page[25] !== BTREE_LEAF) throw invalid();
      pair = 0;
    }
    throw invalid();
  }
}

/** Larger items go to overflow pages: a page must hold at least two pairs. */
const PLAIN_LIMIT = 960;
const FILL = PAGE_SIZE - 200;

const align = (size: number): number => (size + 3) & ~3;

interface Child {
  readonly key: Buffer;
  readonly page: number;
}

/** A btree file with these records, which are in key order. */
export function buildBtree(records: ReadonlyArray<IndexRecord>): Buffer[] {
  const meta = newMeta("btree");
  const pages: Buffer[] = [meta];
  meta.writeUInt32LE(2, 76);
  meta.writeUInt32LE(0x20, 84);
  let level = buildLeaves(pages, records);
  if (level.length > 1) level = [moveFirstLeaf(pages, level), ...level.slice(1)];
  for (let depth = 2; level.length > 1; depth++) level = buildLevel(pages, level, depth);
  plantRoot(pages, level[0]?.page ?? ROOT);
  meta.writeUInt32LE(ROOT, 88);
  meta.writeUInt32LE(pages.length - 1, 32);
  meta.writeUInt32LE(records.length, 40);
  meta.writeUInt32LE(records.length, 44);
  return pages;
}

/** The library wants the root on this page. */
const ROOT = 1;

function moveFirstLeaf(pages: Buffer[], leaves: ReadonlyArray<Child>): Child {
  const [first, second] = leaves;
  const page = pages[ROOT];
  const after = pages[second?.page ?? ROOT];
  if (first === undefined || page === undefined || after === undefined) throw invalid();
  const number = pages.length;
  page.writeUInt32LE(number, 8);
  after.writeUInt32LE(number, 12);
  pages.push(page);
  return { key: first.key, page: number };
}

function plantRoot(pages: Buffer[], number: number): void {
  const root = pages[number];
  if (number === ROOT || root === undefined) return;
  root.writeUInt32LE(ROOT, 8);
  pages[ROOT] = root;
  if (number === pages.length - 1) {
    pages.pop();
    return;
  }
  // overflow keys of the root follow it: its former place becomes the list of free pages
  const free = newPage(number, FREE, 0);
  pages[number] = free;
  pages[0]?.writeUInt32LE(number, 28);
}

/** Fills the items of one page from its end downwards. */
class PageFiller {
  private low = PAGE_HEADER;
  private high = PAGE_SIZE;
  private count = 0;
  readonly page: Buffer;
  constructor(number: number, type: number, level: number) {
    this.page = newPage(number, type, level);
  }
  fits(size: number, items: number): boolean {
    return this.low + 2 * items + (PAGE_SIZE - FILL) <= this.high - size || this.count === 0;
  }
  add(item: Buffer): void {
    this.high -= align(item.length);
    item.copy(this.page, this.high);
    this.page.writeUInt16LE(this.high, this.low);
    this.low += 2;
    this.page.writeUInt16LE(++this.count, 20);
    this.page.writeUInt16LE(this.high, 22);
  }
}

function leafItem(pages: Buffer[], data: Buffer): Buffer {
  if (data.length <= PLAIN_LIMIT) {
    const item = Buffer.alloc(3 + data.length);
    item.writeUInt16LE(data.length, 0);
    item[2] = PLAIN;
    data.copy(item, 3);
    return item;
  }
  return overflowItem(pages, data);
}

function overflowItem(pages: Buffer[], data: Buffer): Buffer {
  const item = Buffer.alloc(OVERFLOW_ITEM_SIZE);
  item[2] = OVERFLOW_ITEM;
  item.writeUInt32LE(appendOverflow(pages, data), 4);
  item.writeUInt32LE(data.length, 8);
  return item;
}

function buildLeaves(pages: Buffer[], records: ReadonlyArray<IndexRecord>): Child[] {
  const children: Child[] = [];
  let filler = new PageFiller(pages.length, BTREE_LEAF, 1);
  pages.push(filler.page);
  children.push({ key: records[0]?.key ?? Buffer.alloc(0), page: filler.page.readUInt32LE(8) });
  for (const { key, value } of records) {
    const items = [leafItem(pages, key), leafItem(pages, value)];
    const size = items.reduce((sum, item) => sum + align(item.length), 0);
    if (!filler.fits(size, 2)) {
      const next = new PageFiller(pages.length, BTREE_LEAF, 1);
      next.page.writeUInt32LE(filler.page.readUInt32LE(8), 12);
      filler.page.writeUInt32LE(pages.length, 16);
      pages.push(next.page);
      filler = next;
      children.push({ key, page: next.page.readUInt32LE(8) });
    }
    for (const item of items) filler.add(item);
  }
  return children;
}

function buildLevel(pages: Buffer[], children: ReadonlyArray<Child>, depth: number): Child[] {
  const above: Child[] = [];
  let filler: PageFiller | undefined;
  for (const [index, { key, page }] of children.entries()) {
    // every separator may be cut to nothing but the first of a level's leftmost page
    const separator = index === 0 ? Buffer.alloc(0) : key;
    const plain = separator.length <= PLAIN_LIMIT;
    const data = plain ? separator : overflowItem(pages, separator);
    const item = Buffer.alloc(12 + data.length);
    item.writeUInt16LE(data.length, 0);
    item[2] = plain ? PLAIN : OVERFLOW_ITEM;
    item.writeUInt32LE(page, 4);
    data.copy(item, 12);
    if (filler === undefined || !filler.fits(align(item.length), 1)) {
      filler = new PageFiller(pages.length, BTREE_INTERNAL, depth);
      pages.push(filler.page);
      above.push({ key, page: filler.page.readUInt32LE(8) });
    }
    filler.add(item);
  }
  return above;
}
