/** What the tables with an index file have in common: the trailing NUL, duplicates, change detection, ownership. */

import { fatal, warning } from "../../log/log.ts";
import { pathOf, toBytes } from "../../sys/bytes.ts";
import { errorCode, errorText, strerror, unless } from "../../sys/errno.ts";
import { closeSync, constants, fstatSync, openSync, statSync } from "../../sys/fs.ts";
import { MappedFile } from "../../sys/mapped_file.ts";
import { directoryOf } from "../../sys/paths.ts";
import {
  ownerOf,
  type TableAccess,
  TableFlag,
  TableOpenError,
  type TableOwner,
  type TypeOptions,
} from "../table.ts";
import { foldFixedKey } from "./memory.ts";

const NUL = "\0";
const EINVAL = 22;

/** How keys and values stand in an index: with or without a trailing NUL. */
export interface NulConvention {
  /** The flags after opening. */
  readonly initial: (flags: number) => number;
  /** Whether new records get a NUL. */
  readonly stored: (flags: number) => boolean;
}

const BOTH = TableFlag.try0null | TableFlag.try1null;

/** hash, btree, lmdb: with a NUL unless asked otherwise. */
export const WITH_NUL: NulConvention = {
  initial: (flags) => ((flags & BOTH) === 0 ? flags | BOTH : flags),
  stored: (flags) => (flags & BOTH) !== TableFlag.try0null,
};
/** cdb: without a NUL unless asked otherwise. */
export const WITHOUT_NUL: NulConvention = {
  initial: WITH_NUL.initial,
  stored: (flags) => (flags & BOTH) === TableFlag.try1null,
};

/** The forms in which a key is looked for, and the flags that remain when one is found. */
export function keyForms(
  flags: number,
  key: string,
): ReadonlyArray<{ readonly bytes: Buffer; readonly flags: number }> {
  const withNul = toBytes(foldFixedKey(flags, key) + NUL);
  const forms: Array<{ bytes: Buffer; flags: number }> = [];
  if ((flags & TableFlag.try1null) !== 0) forms.push({ bytes: withNul, flags: flags & ~TableFlag.try0null });
  if ((flags & TableFlag.try0null) !== 0)
    forms.push({ bytes: withNul.subarray(0, -1), flags: flags & ~TableFlag.try1null });
  return forms;
}

/** The text of stored bytes: up to the first NUL. */
export function storedText(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString("latin1", 0, end < 0 ? bytes.length : end);
}

export const storedBytes = (text: string, withNul: boolean): Buffer => toBytes(withNul ? text + NUL : text);

/** What to do with a record whose key is there already: true = replace it. Logs it, or ends the program, as the flags say. */
export function resolveDuplicate(flags: number, label: string, key: string): boolean {
  if ((flags & TableFlag.dup_replace) !== 0) return true;
  if ((flags & TableFlag.ignore_dup) !== 0) return false;
  const text = `${label}: duplicate entry: "${key}"`;
  if ((flags & TableFlag.warn_dup) === 0) fatal(text);
  warning(text);
  return false;
}

/** An open index file. */
export interface IndexFile {
  readonly fd: number;
  readonly content: MappedFile;
  readonly path: string;
  readonly owner: TableOwner;
  /** Modification time when it was opened, milliseconds. */
  readonly mtime: number;
  readonly created: boolean;
}

const OLD_ENOUGH_MS = 100_000;

/** Opens `name` + `suffix`. Throws TableOpenError. */
export function openIndexFile(name: string, suffix: string, options: TypeOptions): IndexFile {
  const path = name + suffix;
  const { fd, created } = openWith(path, options.access);
  const stat = fstatSync(fd);
  if (options.access === "read" && (options.flags & TableFlag.lock) !== 0)
    warnWhenOld(name, path, stat.mtimeMs);
  const content = new MappedFile(fd);
  return { fd, content, path, owner: ownerOf(stat.uid), mtime: stat.mtimeMs, created };
}

function openWith(path: string, access: TableAccess): { fd: number; created: boolean } {
  const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_NOCTTY, O_NONBLOCK, O_NOFOLLOW } = constants;
  const careful = access !== "read" && othersMayLink(path) ? O_NOFOLLOW : 0;
  const refuse = (reason: string): never => {
    throw new TableOpenError(`open database ${path}: ${reason}`);
  };
  try {
    const mode = access === "read" ? O_RDONLY : O_RDWR;
    // non-blocking: a FIFO of this name must not stop the process
    const fd = openSync(pathOf(path), mode | O_NONBLOCK | O_NOCTTY | careful);
    const stat = fstatSync(fd);
    if (stat.isFile() && (careful === 0 || stat.nlink === 1)) return { fd, created: false };
    closeSync(fd);
    return refuse(stat.isFile() ? `file has ${stat.nlink} hard links` : strerror(EINVAL));
  } catch (failure) {
    const code = errorCode(failure);
    if (code === undefined) throw failure;
    if (code !== "ENOENT" || access === "read" || access === "write") refuse(errorText(failure));
  }
  try {
    return { fd: openSync(pathOf(path), O_RDWR | O_CREAT | O_EXCL, 0o644), created: true };
  } catch (failure) {
    if (errorCode(failure) === undefined) throw failure;
    return refuse(errorText(failure));
  }
}

/** Root is about to write in a directory where somebody else can make links. */
function othersMayLink(path: string): boolean {
  if (process.geteuid?.() !== 0) return false;
  const directory = unless(["ENOENT"], () => statSync(pathOf(directoryOf(path))));
  return directory !== undefined && (directory.uid !== 0 || (directory.mode & 0o022) !== 0);
}

function warnWhenOld(source: string, path: string, mtime: number): void {
  try {
    const { mtimeMs } = statSync(pathOf(source));
    if (mtimeMs > mtime && mtimeMs < Date.now() - OLD_ENOUGH_MS)
      warning(`database ${path} is older than source file ${source}`);
  } catch (failure) {
    // without a source there is nothing to compare with
    if (errorCode(failure) === undefined) throw failure;
  }
}

/** The open file is no longer the table: replaced or removed, or (unless concurrent changes are normal) modified. */
export function fileChanged(file: IndexFile, multiWriter: boolean): boolean {
  const stat = fstatSync(file.fd);
  return stat.nlink === 0 || (!multiWriter && stat.mtimeMs !== file.mtime);
}

export function closeIndexFile(file: IndexFile): void {
  file.content.close();
  closeSync(file.fd);
}
