/** What Berkeley DB hash and btree files have in common: meta data, page headers, overflow chains (docs/tables.md). */
import type { MappedFile } from "../../sys/mapped_file.ts";
import { IndexError, u16, u32 } from "./index.ts";

export const PAGE_HEADER = 26;
export const PAGE_SIZE = 4096;
export const NO_PAGE = 0;
const HASH_MAGIC = 0x061561;
const BTREE_MAGIC = 0x053162;
const VERSION = 9;

export type BdbKind = "hash" | "btree";

/** Page types. */
export const HASH_UNSORTED = 2;
export const BTREE_INTERNAL = 3;
export const BTREE_LEAF = 5;
export const OVERFLOW = 7;
export const HASH_META = 8;
export const BTREE_META = 9;
export const HASH_SORTED = 13;

export const invalid = (): IndexError => new IndexError("Invalid argument");

/** The pages of one file, as they are now: who reads them holds its lock. */
export class BdbFile {
  pageSize = PAGE_SIZE;
  private readonly head = Buffer.alloc(512);
  private metaPage = Buffer.alloc(PAGE_SIZE);
  private looked = Buffer.alloc(PAGE_SIZE);

  constructor(private readonly file: MappedFile) {}

  /** Takes note of the file's size; to be called before each operation. */
  refresh(): void {
    this.file.refresh();
  }
  get size(): number {
    return this.file.size;
  }

  page(number: number): Buffer {
    return this.fill(Buffer.allocUnsafe(this.pageSize), number);
  }

  /** A page that is good until the next one is looked at. */
  look(number: number): Buffer {
    if (this.looked.length !== this.pageSize) this.looked = Buffer.alloc(this.pageSize);
    return this.fill(this.looked, number);
  }

  private fill(page: Buffer, number: number): Buffer {
    if (!this.file.copy(page, number * this.pageSize)) throw invalid();
    const stored = u32(page, 8);
    // a bucket that was never used is a page of zeros
    if (stored !== number && (stored !== 0 || page[25] !== 0)) throw invalid();
    return page;
  }

  /** The meta page, checked; it is good until it is asked for again. */
  meta(kind: BdbKind): Buffer {
    const { head } = this;
    if (!this.file.copy(head, 0)) throw invalid();
    const size = head.readUInt32LE(20);
    const magic = head.readUInt32LE(12);
    if (magic !== (kind === "hash" ? HASH_MAGIC : BTREE_MAGIC)) throw invalid();
    const version = head.readUInt32LE(16);
    if (version < 8 || version > 10 || head[24] !== 0) throw invalid();
    if (head[25] !== (kind === "hash" ? HASH_META : BTREE_META)) throw invalid();
    if (size < 512 || size > 65536 || (size & (size - 1)) !== 0) throw invalid();
    this.pageSize = size;
    if (this.metaPage.length !== size) this.metaPage = Buffer.alloc(size);
    return this.fill(this.metaPage, 0);
  }

  /** Upper bound for counts of things in the file. */
  get pageCount(): number {
    return Math.ceil(this.size / this.pageSize);
  }

  /** The bytes of an overflow chain. */
  overflow(first: number, length: number): Buffer {
    if (length > this.size) throw invalid();
    const parts: Buffer[] = [];
    let got = 0;
    for (let number = first; number !== NO_PAGE && got < length; ) {
      const page = this.page(number);
      const size = page.readUInt16LE(22);
      if (page[25] !== OVERFLOW || size === 0 || PAGE_HEADER + size > page.length) throw invalid();
      parts.push(page.subarray(PAGE_HEADER, PAGE_HEADER + size));
      got += size;
      number = page.readUInt32LE(16);
    }
    if (got !== length) throw invalid();
    return Buffer.concat(parts);
  }
}

/** Number of items of a page, checked. */
export function itemCount(page: Buffer): number {
  const count = u16(page, 20);
  if (PAGE_HEADER + 2 * count > page.length) throw invalid();
  return count;
}

/** Offset of an item, checked that `least` bytes of it are inside the page. */
export function itemOffset(page: Buffer, index: number, least: number): number {
  const offset = u16(page, PAGE_HEADER + 2 * index);
  if (offset < PAGE_HEADER || offset + least > page.length) throw invalid();
  return offset;
}

/** An empty page with its header. */
export function newPage(number: number, type: number, level: number): Buffer {
  const page = Buffer.alloc(PAGE_SIZE);
  page.writeUInt32LE(1, 4);
  page.writeUInt32LE(number, 8);
  page.writeUInt16LE(PAGE_SIZE, 22);
  page[24] = level;
  page[25] = type;
  return page;
}

/** The common part of a meta page. */
export function newMeta(kind: BdbKind): Buffer {
  const page = Buffer.alloc(PAGE_SIZE);
  page.writeUInt32LE(1, 4);
  page.writeUInt32LE(kind === "hash" ? HASH_MAGIC : BTREE_MAGIC, 12);
  page.writeUInt32LE(VERSION, 16);
  page.writeUInt32LE(PAGE_SIZE, 20);
  page[25] = kind === "hash" ? HASH_META : BTREE_META;
  crypto.getRandomValues(page.subarray(52, 72));
  return page;
}

/** Appends an overflow chain to the pages of a new file; returns its first page number. */
export function appendOverflow(pages: Buffer[], bytes: Buffer): number {
  const room = PAGE_SIZE - PAGE_HEADER;
  const first = pages.length;
  const count = Math.max(1, Math.ceil(bytes.length / room));
  for (let i = 0; i < count; i++) {
    const part = bytes.subarray(i * room, (i + 1) * room);
    const page = newPage(first + i, OVERFLOW, 0);
    page.writeUInt32LE(i === 0 ? NO_PAGE : first + i - 1, 12);
    page.writeUInt32LE(i === count - 1 ? NO_PAGE : first + i + 1, 16);
    page.writeUInt16LE(1, 20);
    page.writeUInt16LE(part.length, 22);
    part.copy(page, PAGE_HEADER);
    pages.push(page);
  }
  return first;
}
