/** hash: and btree: tables, Berkeley DB files NAME.db. */

import { fatal } from "../../log/log.ts";
import { errorText } from "../../sys/errno.ts";
import { fdatasyncSync, fstatSync } from "../../sys/fs.ts";
import type { Soon } from "../../sys/when.ts";
import { BtreeReader } from "../formats/bdb_btree.ts";
import { HashReader } from "../formats/bdb_hash.ts";
import { BdbFile, type BdbKind } from "../formats/bdb_pages.ts";
import { type Extent, extentOf, IndexError, type IndexReader } from "../formats/index.ts";
import { lockFile, Sequencer, tryFileLock, unlockFile } from "../locks.ts";
import { trouble } from "../policy.ts";
import {
  ABSENT,
  DONE,
  found,
  type LookupResult,
  type SequenceResult,
  type StoreResult,
  type Table,
  type TableFailure,
  TableFlag,
  TableOpenError,
  type TableOwner,
  type TypeOptions,
  UNCHANGED,
} from "../table.ts";
import { buildPages, inKeyOrder, loadRecords, rewrite } from "./bdb_file.ts";
import { OwnedRecords } from "./bdb_owned.ts";
import {
  closeIndexFile,
  extentText,
  fileChanged,
  findKey,
  type IndexFile,
  openIndexFile,
  resolveDuplicate,
  storedBytes,
  storedText,
  WITH_NUL,
} from "./indexed.ts";
import { foldFixedKey } from "./memory.ts";

const reason = (failure: unknown): string =>
  failure instanceof IndexError ? failure.message : errorText(failure);

function rethrowFault(failure: unknown): void {
  if (failure instanceof TypeError || failure instanceof RangeError) throw failure;
}

export class BdbTable implements Table {
  readonly fixed = true;
  readonly owner: TableOwner;
  flags: number;
  private readonly pages: BdbFile;
  private readonly reader: IndexReader;
  private readonly work = new Sequencer();
  private cursor: Buffer | undefined;
  /** The records, while this process alone may use the file. */
  private owned: OwnedRecords | undefined;

  constructor(
    readonly name: string,
    flags: number,
    private readonly kind: BdbKind,
    private readonly file: IndexFile,
  ) {
    this.flags = WITH_NUL.initial(flags | TableFlag.fixed);
    this.owner = file.owner;
    this.pages = new BdbFile(file.content);
    this.reader = kind === "hash" ? new HashReader(this.pages) : new BtreeReader(this.pages);
  }

  /** Checks that the file is what it should be. */
  probe(): void {
    this.pages.refresh();
    this.pages.meta(this.kind);
  }

  lookup(key: string): Soon<LookupResult> {
    return this.read("reading", () => {
      const value = findKey(this, key, this.find);
      return value === undefined ? ABSENT : found(extentText(value));
    });
  }
  private readonly find = (key: Buffer): Extent | undefined =>
    this.owned === undefined ? this.reader.get(key) : this.ownedValue(key);
  private ownedValue(key: Buffer): Extent | undefined {
    const value = this.owned?.records.get(key.toString("latin1"));
    return value === undefined ? undefined : extentOf(value);
  }

  sequence(position: "first" | "next"): Soon<SequenceResult> {
    const from = position === "first" ? undefined : this.cursor;
    this.owned?.flush();
    return this.read("seeking", () => {
      const record = this.reader.after(from);
      if (record === undefined) return ABSENT;
      this.cursor = record.key;
      return { kind: "found", key: storedText(record.key), value: storedText(record.value) };
    });
  }

  private get locks(): boolean {
    return (this.flags & (TableFlag.lock | TableFlag.open_lock)) === TableFlag.lock;
  }

  /** Reads under the lock: at once when nobody is writing. */
  private read<R>(doing: string, find: () => R): Soon<R | TableFailure> {
    const { fd, path } = this.file;
    const failed = (failure: unknown): TableFailure => {
      rethrowFault(failure);
      return trouble(`error ${doing} ${path}: ${reason(failure)}`);
    };
    try {
      if (!this.locks) return this.readPages(find);
      if (tryFileLock(fd, "flock", "shared")) return this.readLocked(find);
    } catch (failure) {
      return failed(failure);
    }
    return lockFile(fd, "flock", "shared")
      .then(() => this.readLocked(find))
      .catch(failed);
  }

  private readLocked<R>(find: () => R): R {
    try {
      return this.readPages(find);
    } finally {
      unlockFile(this.file.fd, "flock");
    }
  }

  private readPages<R>(find: () => R): R {
    this.pages.refresh();
    return find();
  }

  update(key: string, value: string): Promise<StoreResult> {
    return this.change("writing", (records) => {
      const withNul = WITH_NUL.stored(this.flags);
      const folded = foldFixedKey(this.flags, key);
      const stored = withNul ? `${folded}\0` : folded;
      if (records.has(stored) && !resolveDuplicate(this.flags, this.file.path, folded)) return UNCHANGED;
      records.set(stored, storedBytes(value, withNul));
      return DONE;
    });
  }

  remove(key: string): Promise<StoreResult> {
    return this.change("deleting from", (records) => {
      const removed = findKey(this, key, (bytes) => records.delete(bytes.toString("latin1")) || undefined);
      return removed === undefined ? UNCHANGED : DONE;
    });
  }

  private change(doing: string, apply: (records: Map<string, Buffer>) => StoreResult): Promise<StoreResult> {
    return this.work.run(async () => {
      try {
        return (this.flags & TableFlag.open_lock) !== 0
          ? this.changeOwned(apply)
          : await this.changeShared(apply);
      } catch (failure) {
        rethrowFault(failure);
        return trouble(`error ${doing} ${this.file.path}: ${reason(failure)}`);
      }
    });
  }

  private changeOwned(apply: (records: Map<string, Buffer>) => StoreResult): StoreResult {
    this.owned ??= new OwnedRecords(this.load(), this.kind, this.file.fd, this.file.path);
    const result = apply(this.owned.records);
    if (result.kind === "done") this.owned.touch();
    return result;
  }

  private async changeShared(apply: (records: Map<string, Buffer>) => StoreResult): Promise<StoreResult> {
    await lockFile(this.file.fd, "flock", "exclusive");
    try {
      const records = this.load();
      const result = apply(records);
      if (result.kind !== "done") return result;
      rewrite(this.file.fd, buildPages(this.kind, inKeyOrder(records)));
      if ((this.flags & TableFlag.sync_update) !== 0) fdatasyncSync(this.file.fd);
      return result;
    } finally {
      unlockFile(this.file.fd, "flock");
    }
  }

  private load(): Map<string, Buffer> {
    this.pages.refresh();
    return loadRecords(this.kind, this.pages);
  }

  changed(): boolean {
    return fileChanged(this.file, false);
  }
  close(): void {
    this.owned?.close();
    closeIndexFile(this.file);
  }
}

/** Opens a hash or btree table. Throws TableOpenError. */
export async function openBdb(kind: BdbKind, name: string, options: TypeOptions): Promise<Table> {
  const file = openIndexFile(name, ".db", options);
  const table = new BdbTable(`${kind}:${name}`, options.flags, kind, file);
  try {
    if ((options.flags & TableFlag.open_lock) !== 0 && !tryFileLock(file.fd, "flock", "exclusive"))
      fatal(`${kind}:${name}: unable to get exclusive lock: Resource temporarily unavailable`);
    if (fstatSync(file.fd).size === 0 && options.access === "create") rewrite(file.fd, buildPages(kind, []));
    if (options.access === "read" && (options.flags & TableFlag.lock) !== 0) {
      await lockFile(file.fd, "flock", "shared");
      try {
        table.probe();
      } finally {
        unlockFile(file.fd, "flock");
      }
    } else table.probe();
    return table;
  } catch (failure) {
    closeIndexFile(file);
    rethrowFault(failure);
    throw new TableOpenError(`open database ${file.path}: ${reason(failure)}`);
  }
}
