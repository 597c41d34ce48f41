/** The index files that postmap and postalias write, one way for each type. */

import { parameter } from "../config/configuration.ts";
import { fatal, onDeath, warning } from "../log/log.ts";
import { pathOf } from "../sys/bytes.ts";
import { errorCode, unless } from "../sys/errno.ts";
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
} from "../sys/fs.ts";
import { BdbFile, type BdbKind } from "./formats/bdb_pages.ts";
import { buildCdb } from "./formats/cdb.ts";
import { LmdbTransaction } from "./formats/lmdb_writer.ts";
import { Records } from "./formats/records.ts";
import { lockFile, unlockFile } from "./locks.ts";
import { buildPages, loadRecords, recordsOf, rewrite } from "./types/bdb_file.ts";
import { closeIndexFile, type NulConvention, openIndexFile, WITH_NUL, WITHOUT_NUL } from "./types/indexed.ts";
import { openLmdbFile } from "./types/lmdb.ts";
import {
  closeTwoFiles,
  loadTwoFiles,
  openTwoFiles,
  type TwoFileKind,
  writeTwoFiles,
} from "./types/two_files.ts";

/** `rebuild`: from nothing; `update`: adds to what is there. */
export type BuildMode = "rebuild" | "update";

/** One index file, locked while it is built. */
export interface IndexTarget {
  /** Name of the table in messages about duplicates. */
  readonly label: string;
  readonly convention: NulConvention;
  /** What the index is to hold; for "update" it begins with what is there already. */
  readonly records: Records;
  write(): Promise<void>;
  close(): void;
}

export async function openTarget(type: string, name: string, mode: BuildMode): Promise<IndexTarget> {
  switch (type) {
    case "hash":
    case "btree":
      return mode === "rebuild" ? await replacedBdb(type, name) : await updatedBdb(type, name);
    case "cdb":
      if (mode === "update") fatal("unsupported non-bulk change request");
      return await replacedCdb(name);
    case "sdbm":
    case "dbm":
      return await twoFileTarget(type, name, mode);
    default:
      return await lmdbTarget(name, mode);
  }
}

/** sdbm, dbm: in place, since two files cannot take the place of two others in one step; readers wait for the lock. */
async function twoFileTarget(kind: TwoFileKind, name: string, mode: BuildMode): Promise<IndexTarget> {
  const files = openTwoFiles(kind, name, { access: "create", flags: 0, utf8: false });
  await lockFile(files.directory.fd, "flock", "exclusive");
  const records = mode === "update" ? Records.from(recordsOf(loadTwoFiles(files))) : new Records();
  return {
    label: files.directory.path,
    convention: WITH_NUL,
    records,
    write: () => Promise.resolve(writeTwoFiles(files, records.inOwnOrder(), true)),
    close: () => {
      unlockFile(files.directory.fd, "flock");
      closeTwoFiles(files);
    },
  };
}

/** lmdb: one transaction in place, so that readers see the old content, then the new. */
async function lmdbTarget(name: string, mode: BuildMode): Promise<IndexTarget> {
  const file = openLmdbFile(name, 0, "rebuild", false);
  await lockFile(file.fd, "record", "exclusive");
  await lockFile(file.fd, "record", "shared");
  const transaction = new LmdbTransaction(file.content, parameter("lmdb_map_size"));
  const records = mode === "update" ? Records.from(transaction.records()) : new Records();
  return {
    label: `lmdb:${name}`,
    convention: WITH_NUL,
    records,
    write: async () => {
      transaction.dropAll();
      transaction.bulkLoad(records);
      await transaction.commit();
    },
    close: () => {
      unlockFile(file.fd, "record");
      closeIndexFile(file);
    },
  };
}

/** hash, btree: a new file takes the place of the old one; readers notice that theirs has no name any more. */
async function replacedBdb(kind: BdbKind, name: string): Promise<IndexTarget> {
  const path = `${name}.db`;
  const replacement = await openReplacement(path);
  const records = new Records();
  return {
    label: path,
    convention: WITH_NUL,
    records,
    write: () => Promise.resolve(replacement.commit(buildPages(kind, records.inKeyOrder()))),
    close: replacement.close,
  };
}

async function replacedCdb(name: string): Promise<IndexTarget> {
  const replacement = await openReplacement(`${name}.cdb`);
  const records = new Records();
  return {
    label: name,
    convention: WITHOUT_NUL,
    records,
    write: () => Promise.resolve(replacement.commit([buildCdb(records)])),
    close: replacement.close,
  };
}

/** hash, btree, incremental: in place, since daemons that write the same file have it open. */
async function updatedBdb(kind: BdbKind, name: string): Promise<IndexTarget> {
  const file = openIndexFile(name, ".db", { access: "create", flags: 0, utf8: false });
  await lockFile(file.fd, "flock", "exclusive");
  const pages = new BdbFile(file.content);
  pages.refresh();
  const records = Records.from(recordsOf(loadRecords(kind, pages)));
  return {
    label: file.path,
    convention: WITH_NUL,
    records,
    write: () => {
      rewrite(file.fd, buildPages(kind, records.inKeyOrder()));
      fsyncSync(file.fd);
      return Promise.resolve();
    },
    close: () => {
      unlockFile(file.fd, "flock");
      closeIndexFile(file);
    },
  };
}

interface Replacement {
  commit(parts: ReadonlyArray<Buffer>): void;
  close(): void;
}

const TEMPORARY = ".tmp";

/** Opens and locks `path.tmp`, which becomes `path` at the commit. An existing file hands down its mode and owner. */
async function openReplacement(path: string): Promise<Replacement> {
  const named = unless(["ENOENT"], () => lstatSync(pathOf(path)));
  // what a link leads to is not this table
  const existing = named?.isFile() === true ? named : undefined;
  if (existing?.size === 0) warning(`removing zero-length database file: ${path}`);
  const temporary = path + TEMPORARY;
  const fd = await openTemporary(temporary);
  const forget = onDeath(() => unless(["ENOENT"], () => unlinkSync(pathOf(temporary))));
  let committed = false;
  return {
    commit: (parts) => {
      if (existing !== undefined) {
        fchmodSync(fd, existing.mode & 0o7777);
        const own = fstatSync(fd);
        // only root may give files away; another owner keeps what he created
        if (own.uid !== existing.uid || own.gid !== existing.gid)
          unless(["EPERM"], () => fchownSync(fd, existing.uid, existing.gid));
      }
      rewrite(fd, parts);
      fsyncSync(fd);
      renameSync(pathOf(temporary), pathOf(path));
      committed = true;
    },
    close: () => {
      if (!committed) unless(["ENOENT"], () => unlinkSync(pathOf(temporary)));
      forget();
      closeSync(fd);
    },
  };
}

/** The temporary file, locked; never one that a link leads to. */
async function openTemporary(path: string): Promise<number> {
  for (;;) {
    const fd = openSync(pathOf(path), constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o644);
    try {
      await lockFile(fd, "flock", "exclusive");
      const own = fstatSync(fd);
      const named = unless(["ENOENT"], () => statSync(pathOf(path)));
      if (own.nlink === 1 && named !== undefined && named.ino === own.ino && named.dev === own.dev) return fd;
      if (own.nlink > 1) fatal(`open database ${path}: file has ${own.nlink} hard links`);
    } catch (failure) {
      closeSync(fd);
      if (errorCode(failure) === undefined) throw failure;
      throw failure;
    }
    // somebody else has finished meanwhile
    closeSync(fd);
  }
}
