/** `sdbm:name`: NAME.dir and NAME.pag. */
import { fstatSync, fsyncSync, readSync } from "node:fs";
import { errorText } from "../../sys/errno.ts";
import { IndexError, type IndexRecord } from "../formats/index.ts";
import { buildSdbm, type ReadPart, sdbmGet, sdbmPairs } from "../formats/sdbm.ts";
import { lockFile, Sequencer, unlockFile } from "../locks.ts";
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
  TableFlag,
  TableOpenError,
  type TableOwner,
  type TypeOptions,
  UNCHANGED,
} from "../table.ts";
import { rewrite } from "./bdb_file.ts";
import {
  closeIndexFile,
  fileChanged,
  type IndexFile,
  keyForms,
  openIndexFile,
  resolveDuplicate,
  storedBytes,
  storedText,
  WITH_NUL,
} from "./indexed.ts";
import { foldFixedKey } from "./memory.ts";

/** The two files; the lock is on the directory. */
export interface SdbmFiles {
  readonly directory: IndexFile;
  readonly pages: IndexFile;
}

export function openSdbmFiles(name: string, options: TypeOptions): SdbmFiles {
  const directory = openIndexFile(name, ".dir", options);
  try {
    return { directory, pages: openIndexFile(name, ".pag", { ...options, flags: 0 }) };
  } catch (failure) {
    closeIndexFile(directory);
    throw failure;
  }
}

export function closeSdbmFiles(files: SdbmFiles): void {
  closeIndexFile(files.directory);
  closeIndexFile(files.pages);
}

const partOf =
  (file: IndexFile): ReadPart =>
  (position, size) => {
    const bytes = Buffer.alloc(size);
    return bytes.subarray(0, readSync(file.fd, bytes, 0, size, position));
  };

/** All records, by key as a byte string. Throws IndexError. */
export function loadSdbm(files: SdbmFiles): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (const { key, value } of sdbmPairs(partOf(files.pages), fstatSync(files.pages.fd).size))
    records.set(key.toString("latin1"), value);
  return records;
}

/** Writes both files anew; the lock is the caller's. Throws IndexError when the records do not fit the format. */
export function writeSdbm(files: SdbmFiles, records: ReadonlyMap<string, Buffer>, sync: boolean): void {
  const list = Array.from(records, ([key, value]) => ({ key: Buffer.from(key, "latin1"), value }));
  const { directory, pages } = buildSdbm(list);
  rewrite(files.pages.fd, [pages]);
  rewrite(files.directory.fd, [directory]);
  if (!sync) return;
  fsyncSync(files.pages.fd);
  fsyncSync(files.directory.fd);
}

class SdbmTable implements Table {
  readonly fixed = true;
  readonly owner: TableOwner;
  private readonly work = new Sequencer();
  private cursor: Iterator<IndexRecord> | undefined;
  constructor(
    readonly name: string,
    public flags: number,
    private readonly files: SdbmFiles,
  ) {
    this.owner = files.pages.owner;
  }

  async lookup(key: string): Promise<LookupResult> {
    return await this.locked("shared", "reading", () => {
      const { directory, pages } = this.files;
      const bits = partOf(directory)(0, fstatSync(directory.fd).size);
      for (const form of keyForms(this.flags, key)) {
        const value = sdbmGet(bits, partOf(pages), form.bytes);
        if (value === undefined) continue;
        this.flags = form.flags;
        return found(storedText(value));
      }
      return ABSENT;
    });
  }
  async sequence(position: "first" | "next"): Promise<SequenceResult> {
    return await this.locked("shared", "seeking", () => {
      const { pages } = this.files;
      if (position === "first" || this.cursor === undefined)
        this.cursor = sdbmPairs(partOf(pages), fstatSync(pages.fd).size);
      const next = this.cursor.next();
      if (next.done === true) return ABSENT;
      return { kind: "found", key: storedText(next.value.key), value: storedText(next.value.value) };
    });
  }
  async update(key: string, value: string): Promise<StoreResult> {
    return await this.change("writing", (records) => {
      const withNul = WITH_NUL.stored(this.flags);
      const folded = foldFixedKey(this.flags, key);
      const stored = withNul ? `${folded}\0` : folded;
      if (records.has(stored) && !resolveDuplicate(this.flags, this.files.directory.path, folded))
        return false;
      records.set(stored, storedBytes(value, withNul));
      return true;
    });
  }
  async remove(key: string): Promise<StoreResult> {
    return await this.change("deleting from", (records) => {
      for (const form of keyForms(this.flags, key)) {
        if (!records.delete(form.bytes.toString("latin1"))) continue;
        this.flags = form.flags;
        return true;
      }
      return false;
    });
  }

  private change(doing: string, apply: (records: Map<string, Buffer>) => boolean): Promise<StoreResult> {
    return this.work.run(() =>
      this.locked("exclusive", doing, () => {
        const records = loadSdbm(this.files);
        if (!apply(records)) return UNCHANGED;
        writeSdbm(this.files, records, (this.flags & TableFlag.sync_update) !== 0);
        return DONE;
      }),
    );
  }

  private async locked<R>(
    kind: "shared" | "exclusive",
    doing: string,
    action: () => R,
  ): Promise<R | ReturnType<typeof trouble>> {
    const { fd, path } = this.files.directory;
    const lock = (this.flags & TableFlag.lock) !== 0;
    if (lock) await lockFile(fd, "flock", kind);
    try {
      return action();
    } catch (failure) {
      if (failure instanceof TypeError || failure instanceof RangeError) throw failure;
      return trouble(
        `error ${doing} ${path}: ${failure instanceof IndexError ? failure.message : errorText(failure)}`,
      );
    } finally {
      if (lock) unlockFile(fd, "flock");
    }
  }
  changed(): boolean {
    return fileChanged(this.files.directory, false) || fileChanged(this.files.pages, false);
  }
  close(): void {
    closeSdbmFiles(this.files);
  }
}

export const openSdbm: OpenType = (name, options) => {
  if ((options.flags & TableFlag.open_lock) !== 0)
    throw new TableOpenError(`sdbm:${name}: this type cannot be kept locked; use another one for a cache`);
  const files = openSdbmFiles(name, options);
  return Promise.resolve(
    new SdbmTable(`sdbm:${name}`, WITH_NUL.initial(options.flags | TableFlag.fixed), files),
  );
};
