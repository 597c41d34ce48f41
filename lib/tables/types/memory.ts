/** A table in memory: the base of texthash, inline and internal. */
import { lowerAscii } from "../../sys/bytes.ts";
import {
  ABSENT,
  DONE,
  found,
  type LookupResult,
  type SequenceResult,
  type StoreResult,
  type Table,
  TableFlag,
  type TableOwner,
  UNCHANGED,
} from "../table.ts";

/** ASCII folding of a key where no UTF-8 layer has folded it already. */
export const foldFixedKey = (flags: number, key: string): string =>
  (flags & (TableFlag.fold_fix | TableFlag.utf8_active)) === TableFlag.fold_fix ? lowerAscii(key) : key;

export class MemoryTable implements Table {
  readonly fixed = true;
  flags: number;
  private cursor: Iterator<[string, string]> | undefined;

  constructor(
    readonly name: string,
    flags: number,
    readonly owner: TableOwner,
    protected readonly entries: Map<string, string>,
  ) {
    this.flags = flags | TableFlag.fixed;
  }
  lookup(key: string): LookupResult {
    const value = this.entries.get(foldFixedKey(this.flags, key));
    return value === undefined ? ABSENT : found(value);
  }
  /** Replaces every value. */
  mapValues(change: (value: string) => string): void {
    for (const [key, value] of this.entries) this.entries.set(key, change(value));
  }
  sequence(position: "first" | "next"): SequenceResult {
    if (position === "first" || this.cursor === undefined) this.cursor = this.entries.entries();
    const next = this.cursor.next();
    return next.done === true ? ABSENT : { kind: "found", key: next.value[0], value: next.value[1] };
  }
  changed(): boolean {
    return false;
  }
  close(): void {}
}

/** Bytes of keys and values that a table may grow to: what fills it comes from outside (addresses that clients ask about). */
const GROWTH_LIMIT = 16 * 1024 * 1024;
/** What an entry costs besides its text. */
const ENTRY_COST = 100;

/** A table in memory that can be changed. When it is full, the oldest entries make room. */
export class WritableMemoryTable extends MemoryTable {
  private size = 0;

  update(key: string, value: string): StoreResult {
    const name = foldFixedKey(this.flags, key);
    this.drop(name);
    this.entries.set(name, value);
    this.size += costOf(name, value);
    for (const [oldest] of this.entries) {
      if (this.size <= GROWTH_LIMIT || oldest === name) break;
      this.drop(oldest);
    }
    return DONE;
  }
  remove(key: string): StoreResult {
    return this.drop(foldFixedKey(this.flags, key)) ? DONE : UNCHANGED;
  }

  private drop(name: string): boolean {
    const value = this.entries.get(name);
    if (value === undefined) return false;
    this.size -= costOf(name, value);
    return this.entries.delete(name);
  }
}

const costOf = (key: string, value: string): number => key.length + value.length + ENTRY_COST;
