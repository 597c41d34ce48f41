/** The file operations that durability depends on, behind an interface, so that a test can fail each single call. */

import { pathOf } from "../sys/bytes.ts";
import { type LockKind, tryLock } from "../sys/files.ts";
import * as fs from "../sys/fs.ts";
import { sleep } from "../sys/timers.ts";
import { zeroRange } from "../sys/zero_range.ts";

export interface FileStatus {
  readonly inode: bigint;
  /** Permission bits with set-id and sticky bits. */
  readonly mode: number;
  readonly regular: boolean;
  readonly directory: boolean;
  readonly symlink: boolean;
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** Seconds since 1970, whole. */
  readonly modified: number;
  readonly changed: number;
}

/** Every call throws an error with an errno name in `code` when it fails. */
export interface FileSystem {
  open(path: string, flags: number, mode: number): number;
  close(fd: number): void;
  write(fd: number, bytes: Uint8Array, start: number, length: number, position: number | null): number;
  /** Does not block the event loop. */
  fsync(fd: number): Promise<void>;
  fchmod(fd: number, mode: number): void;
  chmod(path: string, mode: number): void;
  ftruncate(fd: number, size: number): void;
  /**
   * The first `length` bytes, a multiple of the block size, read as zeros until they are written anew: the blocks stay, marked as unwritten. The journal
   * has that before any later change of the file's status. Fails where the file system cannot.
   */
  zeroRange(fd: number, length: number): void;
  /** Of the file system of this path, bytes. */
  blockSize(path: string): number;
  fstat(fd: number): FileStatus;
  lstat(path: string): FileStatus;
  /** Cheaper than a failing call, where nothing is the usual case. */
  exists(path: string): boolean;
  readdir(path: string): string[];
  rename(from: string, to: string): void;
  unlink(path: string): void;
  mkdir(path: string, mode: number): void;
  rmdir(path: string): void;
  chown(path: string, uid: number, gid: number): void;
  /** Access and modification time, seconds since 1970. */
  utimes(path: string, seconds: number): void;
  /** flock() without waiting: true when obtained. */
  tryLock(fd: number, kind: LockKind): boolean;
}

/** What a call told, made into our terms as it is asked for: most callers want little of it. */
class Status implements FileStatus {
  readonly #stat: fs.Stats;
  readonly #largeInode: bigint | undefined;

  constructor(stat: fs.Stats, exactInode: () => bigint) {
    this.#stat = stat;
    // inode numbers of some file systems need all of 64 bits
    this.#largeInode = Number.isSafeInteger(stat.ino) ? undefined : exactInode();
  }

  get inode(): bigint {
    return this.#largeInode ?? BigInt(this.#stat.ino);
  }
  get mode(): number {
    return this.#stat.mode & 0o7777;
  }
  get regular(): boolean {
    return this.#stat.isFile();
  }
  get directory(): boolean {
    return this.#stat.isDirectory();
  }
  get symlink(): boolean {
    return this.#stat.isSymbolicLink();
  }
  get links(): number {
    return this.#stat.nlink;
  }
  get uid(): number {
    return this.#stat.uid;
  }
  get gid(): number {
    return this.#stat.gid;
  }
  get size(): number {
    return this.#stat.size;
  }
  get modified(): number {
    return Math.floor(this.#stat.mtimeMs / 1000);
  }
  get changed(): number {
    return Math.floor(this.#stat.ctimeMs / 1000);
  }
}

/** The real thing. */
export const fileSystem: FileSystem = {
  open: (path, flags, mode) => fs.openSync(pathOf(path), flags, mode),
  close: (fd) => fs.closeSync(fd),
  write: (fd, bytes, start, length, position) => fs.writeSync(fd, bytes, start, length, position),
  fsync: fs.synced,
  fchmod: (fd, mode) => fs.fchmodSync(fd, mode),
  chmod: (path, mode) => fs.chmodSync(pathOf(path), mode),
  ftruncate: (fd, size) => fs.ftruncateSync(fd, size),
  zeroRange,
  blockSize: (path) => fs.statfsSync(pathOf(path)).bsize,
  fstat: (fd) => new Status(fs.fstatSync(fd), () => fs.runtimeFs().fstatSync(fd, { bigint: true }).ino),
  lstat: (path) =>
    new Status(
      fs.lstatSync(pathOf(path)),
      () => fs.runtimeFs().lstatSync(pathOf(path), { bigint: true }).ino,
    ),
  exists: (path) => fs.existsSync(pathOf(path)),
  readdir: (path) => fs.readdirSync(pathOf(path)),
  rename: (from, to) => fs.renameSync(pathOf(from), pathOf(to)),
  unlink: (path) => fs.unlinkSync(pathOf(path)),
  mkdir: (path, mode) => {
    fs.mkdirSync(pathOf(path), { mode });
  },
  rmdir: (path) => fs.rmdirSync(pathOf(path)),
  chown: (path, uid, gid) => fs.chownSync(pathOf(path), uid, gid),
  utimes: (path, seconds) => fs.utimesSync(pathOf(path), seconds, seconds),
  tryLock,
};

/** For a command that has nothing else to do while it waits for the disk. */
export const waitingFileSystem: FileSystem = {
  ...fileSystem,
  fsync: async (fd) => fs.fsyncSync(fd),
};

/** Seconds to wait before an attempt that failed for want of resources is repeated; tests shorten it. */
export const pause = sleep;
