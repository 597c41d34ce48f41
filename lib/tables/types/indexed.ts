/** What the tables with an index file have in common: the trailing NUL, duplicates, change detection, ownership. */

import { fatal, warning } from "../../log/log.ts";
import { pathOf, toBytes } from "../../sys/bytes.ts";
import { errorCode, errorText, strerror, unless } from "../../sys/errno.ts";
import { closeSync, constants, fstatSync, openSync, statSync } from "../../sys/fs.ts";
import { MappedFile } from "../../sys/mapped_file.ts";
import { directoryOf } from "../../sys/paths.ts";
import { type Extent, extentOf } from "../formats/index.ts";
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

/** Longer keys are made for one lookup each. */
const COMMON_KEY = 512;
const common = Buffer.alloc(COMMON_KEY);
/** The first bytes of `common`, by their number: made once, so that a lookup leaves no garbage. */
const beginnings: Buffer[] = [];

/** The bytes of a key, with a NUL behind it or without; they are good until the next key comes. */
function keyBytes(key: string, withNul: boolean): Buffer {
  const length = withNul ? key.length + 1 : key.length;
  if (length > COMMON_KEY) return storedBytes(key, withNul);
  for (let index = 0; index < key.length; index++) common[index] = key.charCodeAt(index);
  if (withNul) common[key.length] = 0;
  beginnings[length] ??= common.subarray(0, length);
  return beginnings[length];
}

/** The forms in which a key is looked for: the flag that allows each, and the one that falls away when a key is found in it. */
export const KEY_FORMS = [
  { withNul: true, flag: TableFlag.try1null, other: TableFlag.try0null },
  { withNul: false, flag: TableFlag.try0null, other: TableFlag.try1null },
] as const;

/** Looks for a key in each form that the flags allow, and keeps to the one in which it was found. `find` does not keep the bytes. */
export function findKey<T>(
  table: { flags: number },
  key: string,
  find: (bytes: Buffer) => T | undefined,
): T | undefined {
  const { flags } = table;
  const folded = foldFixedKey(flags, key);
  for (const { withNul, flag, other } of KEY_FORMS) {
    if ((flags & flag) === 0) continue;
    const result = find(keyBytes(folded, withNul));
    if (result === undefined) continue;
    table.flags = flags & ~other;
    return result;
  }
  return undefined;
}

/** The text of stored bytes: up to the first NUL. */
export function extentText({ bytes, start, end }: Extent): string {
  const withNul = end > start && bytes[end - 1] === 0;
  const text = bytes.toString("latin1", start, withNul ? end - 1 : end);
  const nul = text.indexOf(NUL);
  return nul < 0 ? text : text.slice(0, nul);
}
export const storedText = (bytes: Buffer): string => extentText(extentOf(bytes));

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
