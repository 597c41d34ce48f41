/** `lmdb:name`: NAME.lmdb (lmdb_table(5)). Readers take no locks; writers take the locks that the library's other users take. */

import { parameter } from "../../config/configuration.ts";
import { fatal } from "../../log/log.ts";
import { errorText } from "../../sys/errno.ts";
import { type Extent, IndexError } from "../formats/index.ts";
import { MAX_KEY, MDB_BAD_VALSIZE } from "../formats/lmdb_pages.ts";
import { LmdbReader } from "../formats/lmdb_reader.ts";
import { LmdbTransaction } from "../formats/lmdb_writer.ts";
import { lockFile, Sequencer, unlockFile } from "../locks.ts";
import { surrogatesAllowed, trouble } from "../policy.ts";
import {
  ABSENT,
  DONE,
  found,
  type LookupResult,
  type OpenType,
  type SequenceResult,
  type StoreResult,
  type Table,
  type TableAccess,
  TableFlag,
  TableOpenError,
  type TableOwner,
  UNCHANGED,
} from "../table.ts";
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

/** Engine errors are not trouble with the file. */
function rethrowFault(failure: unknown): void {
  if (failure instanceof TypeError || failure instanceof RangeError) throw failure;
}

export class LmdbTable implements Table {
  readonly fixed = true;
  readonly owner: TableOwner;
  flags: number;
  private readonly reader: LmdbReader;
  private readonly writes = new Sequencer();
  private cursor: Buffer | undefined;

  constructor(
    readonly name: string,
    flags: number,
    private readonly file: IndexFile,
  ) {
    this.flags = WITH_NUL.initial((flags & ~TableFlag.open_lock) | TableFlag.fixed | TableFlag.multi_writer);
    this.owner = file.owner;
    this.reader = new LmdbReader(file.content);
  }

  lookup(key: string): LookupResult {
    try {
      const value = findKey(this, key, this.find);
      return value === undefined ? ABSENT : found(extentText(value));
    } catch (failure) {
      rethrowFault(failure);
      return trouble(`error reading ${this.name}: ${reason(failure)}`);
    }
  }

  private readonly find = (key: Buffer): Extent | undefined => {
    // the library refuses to look for it
    if (key.length === 0 && !surrogatesAllowed())
      return fatal(`error reading ${this.name}: ${MDB_BAD_VALSIZE}`);
    // others cannot be stored
    return key.length === 0 || key.length > MAX_KEY ? undefined : this.reader.get(key);
  };

  update(key: string, value: string): Promise<StoreResult> {
    const withNul = WITH_NUL.stored(this.flags);
    const folded = foldFixedKey(this.flags, key);
    return this.change("updating", (transaction) => {
      const bytes = storedBytes(folded, withNul);
      const data = storedBytes(value, withNul);
      if (transaction.put(bytes, data, false)) return DONE;
      if (!resolveDuplicate(this.flags, this.name, folded)) return UNCHANGED;
      transaction.put(bytes, data, true);
      return DONE;
    });
  }

  remove(key: string): Promise<StoreResult> {
    return this.change("deleting from", (transaction) => {
      const removed = findKey(this, key, (bytes) => {
        if (bytes.length === 0 && !surrogatesAllowed()) throw new IndexError(MDB_BAD_VALSIZE);
        return transaction.remove(bytes) || undefined;
      });
      return removed === undefined ? UNCHANGED : DONE;
    });
  }

  private change(doing: string, apply: (transaction: LmdbTransaction) => StoreResult): Promise<StoreResult> {
    return this.writes.run(async () => {
      try {
        return await lmdbTransaction(this.file, async (transaction) => {
          const result = apply(transaction);
          if (result.kind === "done") await transaction.commit();
          return result;
        });
      } catch (failure) {
        rethrowFault(failure);
        return trouble(`error ${doing} ${this.name}: ${reason(failure)}`);
      }
    });
  }

  sequence(position: "first" | "next"): SequenceResult {
    if (position === "first") this.cursor = undefined;
    try {
      const record = this.reader.after(this.cursor);
      if (record === undefined) return ABSENT;
      this.cursor = record.key;
      return { kind: "found", key: storedText(record.key), value: storedText(record.value) };
    } catch (failure) {
      rethrowFault(failure);
      return trouble(`error seeking ${this.name}: ${reason(failure)}`);
    }
  }

  changed(): boolean {
    return fileChanged(this.file, true);
  }
  close(): void {
    closeIndexFile(this.file);
  }
}

/** Runs a transaction under the locks of the reference: exclusive to wait for readers, then shared while it works. */
export async function lmdbTransaction<T>(
  { fd, content }: IndexFile,
  work: (transaction: LmdbTransaction) => Promise<T>,
): Promise<T> {
  await lockFile(fd, "record", "exclusive");
  try {
    await lockFile(fd, "record", "shared");
    return await work(new LmdbTransaction(content, parameter("lmdb_map_size")));
  } finally {
    unlockFile(fd, "record");
  }
}

/** Opens NAME.lmdb; with "create" and "rebuild" a file that does not exist is made. Throws TableOpenError. */
export function openLmdbFile(name: string, flags: number, access: TableAccess, utf8: boolean): IndexFile {
  // the reference creates the file even for a deletion
  const create: TableAccess = access === "write" ? "create" : access;
  return openIndexFile(name, ".lmdb", { access: create, flags, utf8 });
}

export const openLmdb: OpenType = async (name, options) => {
  const file = openLmdbFile(name, options.flags, options.access, options.utf8);
  try {
    if (file.created) await lmdbTransaction(file, (transaction) => transaction.commit());
    return new LmdbTable(`lmdb:${name}`, options.flags, file);
  } catch (failure) {
    closeIndexFile(file);
    rethrowFault(failure);
    throw new TableOpenError(`open database ${file.path}: ${reason(failure)}`);
  }
};
