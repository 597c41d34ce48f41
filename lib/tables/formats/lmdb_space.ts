/** The pages of one LMDB write transaction: new ones, reused ones, and those that become free with it. */

import { bigNode, leafNode, makePage, needsOverflow } from "./lmdb_nodes.ts";
import {
  corrupted,
  emptyFreeTree,
  type LmdbMeta,
  OVERFLOW,
  PAGE_HEADER,
  type TreeDescriptor,
} from "./lmdb_pages.ts";
import type { LmdbReader } from "./lmdb_reader.ts";

export class PageSpace {
  /** New pages by number; a run of overflow pages is one buffer under its first number. */
  readonly dirty = new Map<number, Buffer>();
  /** Pages that the previous state uses and the new one does not. */
  private readonly freed: number[] = [];
  /** Pages that no state in use refers to. */
  private reusable: number[] = [];
  nextPage: number;
  private readonly pageSize: number;

  constructor(
    private readonly reader: LmdbReader,
    private readonly meta: LmdbMeta,
  ) {
    this.pageSize = meta.pageSize;
    this.nextPage = Math.max(2, meta.lastPage + 1);
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
  }

  page(number: number): Buffer {
    return this.dirty.get(number) ?? this.reader.page(number);
  }

  /** Pages that a value of this size needs. */
  overflowPages(size: number): number {
    return Math.ceil((PAGE_HEADER + size) / this.pageSize);
  }

  /** Puts bytes on overflow pages of their own; returns the first page. */
  writeRun(value: Buffer, first: number, count: number): void {
    const run = Buffer.alloc(count * this.pageSize);
    run.writeBigUInt64LE(BigInt(first), 0);
    run.writeUInt16LE(OVERFLOW, 10);
    run.writeUInt32LE(count, 12);
    value.copy(run, PAGE_HEADER);
    this.dirty.set(first, run);
  }

  /** A page is no longer used: at once when it is of this transaction, else after it. */
  release(number: number): void {
    if (this.dirty.delete(number)) this.reusable.push(number);
    else this.freed.push(number);
  }

  allocate(): number {
    return this.reusable.pop() ?? this.nextPage++;
  }

  /** Consecutive pages. */
  allocateRun(count: number): number {
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

  /** The free page database: one entry with all pages that are free from now on. */
  writeFreePages(transaction: bigint): TreeDescriptor {
    const free = emptyFreeTree();
    free.flags = this.meta.free.flags || free.flags;
    if (this.freed.length + this.reusable.length === 0) return free;
    const bound = 8 * (1 + this.freed.length + this.reusable.length);
    const key = Buffer.alloc(8);
    key.writeBigUInt64LE(transaction, 0);
    const leafNumber = this.allocate();
    const big = needsOverflow(key.length, bound, this.pageSize);
    const runLength = this.overflowPages(bound);
    const run = big ? this.allocateRun(runLength) : 0;

    const numbers = [...this.freed, ...this.reusable].sort((a, b) => b - a);
    const value = Buffer.alloc(8 * (1 + numbers.length));
    value.writeBigUInt64LE(BigInt(numbers.length), 0);
    for (const [i, number] of numbers.entries()) value.writeBigUInt64LE(BigInt(number), 8 * (i + 1));

    if (big) {
      this.writeRun(value, run, runLength);
      free.overflowPages = runLength;
    }
    const node = big ? bigNode(key, value.length, run) : leafNode(key, value);
    this.dirty.set(leafNumber, makePage(leafNumber, this.pageSize, [{ key, bytes: node }], true));
    free.depth = 1;
    free.leafPages = 1;
    free.entries = 1;
    free.root = leafNumber;
    return free;
  }
}
