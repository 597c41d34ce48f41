/** `sdbm:name`, `dbm:name`: NAME.dir and NAME.pag. */

import { errorText } from "../../sys/errno.ts";
import { fstatSync, fsyncSync } from "../../sys/fs.ts";
import type { Soon } from "../../sys/when.ts";
import { buildGdbm, gdbmGet, gdbmPairs } from "../formats/gdbm.ts";
import { IndexError, type IndexRecord } from "../formats/index.ts";
import { buildSdbm, type ReadPart, sdbmGet, sdbmPairs } from "../formats/sdbm.ts";
import { lockFile, Sequencer, tryFileLock, unlockFile } from "../locks.ts";
import { trouble } from "../policy.ts";
import {
  ABSENT,
  DONE,
  found,
  type LookupResult,
  type OpenType,
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
import { recordsOf, rewrite } from "./bdb_file.ts";
import {
  closeIndexFile,
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

interface TwoFileFormat {
  get(directory: Buffer, pages: ReadPart, key: Buffer): Buffer | undefined;
  pairs(pages: ReadPart, size: number): Generator<IndexRecord>;
  build(records: Iterable<IndexRecord>): { directory: Buffer; pages: Buffer };
}

const FORMATS = {
  sdbm: { get: sdbmGet, pairs: sdbmPairs, build: buildSdbm },
  dbm: { get: gdbmGet, pairs: gdbmPairs, build: buildGdbm },
} as const satisfies Record<string, TwoFileFormat>;
export type TwoFileKind = keyof typeof FORMATS;

/** The two files; the lock is on the directory. */
export interface TwoFiles {
  readonly format: TwoFileFormat;
  readonly directory: IndexFile;
  readonly pages: IndexFile;
}

export function openTwoFiles(kind: TwoFileKind, name: string, options: TypeOptions): TwoFiles {
  const format = FORMATS[kind];
  const directory = openIndexFile(name, ".dir", options);
  try {
    return { format, directory, pages: openIndexFile(name, ".pag", { ...options, flags: 0 }) };
  } catch (failure) {
    closeIndexFile(directory);
    throw failure;
  }
}

export function closeTwoFiles(files: TwoFiles): void {
  closeIndexFile(files.directory);
  closeIndexFile(files.pages);
}

const partOf =
  (file: IndexFile): ReadPart =>
  (position, size) => {
    // a damaged file may speak of more than it has
    file.content.refresh();
    const bytes = Buffer.alloc(Math.max(0, Math.min(size, file.content.size - position)));
    return file.content.copy(bytes, position) ? bytes : bytes.subarray(0, 0);
  };

/** All records, by key as a byte string. Throws IndexError. */
export function loadTwoFiles(files: TwoFiles): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (const { key, value } of files.format.pairs(partOf(files.pages), fstatSync(files.pages.fd).size))
    records.set(key.toString("latin1"), value);
  return records;
}

/** Writes both files anew; the lock is the caller's. Throws IndexError when the records do not fit the format. */
export function writeTwoFiles(files: TwoFiles, records: Iterable<IndexRecord>, sync: boolean): void {
  const { directory, pages } = files.format.build(records);
  rewrite(files.pages.fd, [pages]);
  rewrite(files.directory.fd, [directory]);
  if (!sync) return;
  fsyncSync(files.pages.fd);
  fsyncSync(files.directory.fd);
}

class TwoFileTable implements Table {
  readonly fixed = true;
  readonly owner: TableOwner;
  private readonly work = new Sequencer();
  private cursor: Iterator<IndexRecord> | undefined;
  constructor(
    readonly name: string,
    public flags: number,
    private readonly files: TwoFiles,
  ) {
    this.owner = files.pages.owner;
  }

  lookup(key: string): Soon<LookupResult> {
    return this.locked("shared", "reading", () => {
      const { directory, pages } = this.files;
      const bits = partOf(directory)(0, fstatSync(directory.fd).size);
      const value = findKey(this, key, (bytes) => this.files.format.get(bits, partOf(pages), bytes));
      return value === undefined ? ABSENT : found(storedText(value));
    });
  }
  sequence(position: "first" | "next"): Soon<SequenceResult> {
    return this.locked("shared", "seeking", () => {
      const { pages } = this.files;
      if (position === "first" || this.cursor === undefined)
        this.cursor = this.files.format.pairs(partOf(pages), fstatSync(pages.fd).size);
      const next = this.cursor.next();
      if (next.done === true) return ABSENT;
      return { kind: "found", key: storedText(next.value.key), value: storedText(next.value.value) };
    });
  }
  update(key: string, value: string): Promise<StoreResult> {
    return this.change("writing", (records) => {
      const withNul = WITH_NUL.stored(this.flags);
      const folded = foldFixedKey(this.flags, key);
      const stored = withNul ? `${folded}\0` : folded;
      if (records.has(stored) && !resolveDuplicate(this.flags, this.files.directory.path, folded))
        return false;
      records.set(stored, storedBytes(value, withNul));
      return true;
    });
  }
  remove(key: string): Promise<StoreResult> {
    return this.change("deleting from", (records) => {
      return (
        findKey(this, key, (bytes) => records.delete(bytes.toString("latin1")) || undefined) !== undefined
      );
    });
  }

  private change(doing: string, apply: (records: Map<string, Buffer>) => boolean): Promise<StoreResult> {
    return this.work.run(async () =>
      this.locked("exclusive", doing, () => {
        const records = loadTwoFiles(this.files);
        if (!apply(records)) return UNCHANGED;
        writeTwoFiles(this.files, recordsOf(records), (this.flags & TableFlag.sync_update) !== 0);
        return DONE;
      }),
    );
  }

  /** Acts under the lock: at once when nobody holds it. */
  private locked<R>(kind: "shared" | "exclusive", doing: string, action: () => R): Soon<R | TableFailure> {
    const { fd } = this.files.directory;
    const lock = (this.flags & TableFlag.lock) !== 0;
    return !lock || tryFileLock(fd, "flock", kind)
      ? this.act(doing, action, lock)
      : lockFile(fd, "flock", kind).then(() => this.act(doing, action, lock));
  }

  private act<R>(doing: string, action: () => R, locked: boolean): R | TableFailure {
    const { fd, path } = this.files.directory;
    try {
      return action();
    } catch (failure) {
      if (failure instanceof TypeError || failure instanceof RangeError) throw failure;
      return trouble(
        `error ${doing} ${path}: ${failure instanceof IndexError ? failure.message : errorText(failure)}`,
      );
    } finally {
      if (locked) unlockFile(fd, "flock");
    }
  }
  changed(): boolean {
    return fileChanged(this.files.directory, false) || fileChanged(this.files.pages, false);
  }
  close(): void {
    closeTwoFiles(this.files);
  }
}

const open = (kind: TwoFileKind, name: string, options: TypeOptions): Promise<Table> => {
  if ((options.flags & TableFlag.open_lock) !== 0)
    throw new TableOpenError(`${kind}:${name}: this type cannot be kept locked; use another one for a cache`);
  const files = openTwoFiles(kind, name, options);
  return Promise.resolve(
    new TwoFileTable(`${kind}:${name}`, WITH_NUL.initial(options.flags | TableFlag.fixed), files),
  );
};

export const openSdbm: OpenType = (name, options) => open("sdbm", name, options);
export const openDbm: OpenType = (name, options) => open("dbm", name, options);
