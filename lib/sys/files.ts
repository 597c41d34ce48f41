/** File calls that node:fs lacks, and opening files safely where others can write. */

import { isAscii, pathOf } from "./bytes.ts";
import { errorCode, errorText, SysError } from "./errno.ts";
import { checked, cString, errno, ffi, library } from "./ffi.ts";
import {
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  lstatSync,
  openSync,
  type Stats,
  statSync,
} from "./fs.ts";
import { directoryOf } from "./paths.ts";

const libc = library(["libc.so.6", "libc.so"], {
  flock: { args: ["i32", "i32"], returns: "i32" },
  mkfifo: { args: ["ptr", "u32"], returns: "i32" },
  ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" },
  fcntl: { args: ["i32", "i32", "i64"], returns: "i32" },
  dup: { args: ["i32"], returns: "i32" },
  dup2: { args: ["i32", "i32"], returns: "i32" },
  pipe2: { args: ["ptr", "i32"], returns: "i32" },
  poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
  umask: { args: ["u32"], returns: "u32" },
  chdir: { args: ["ptr"], returns: "i32" },
});
const recordLocks = library(["libc.so.6", "libc.so"], {
  fcntl: { args: ["i32", "i32", "ptr"], returns: "i32" },
});

/**
 * Opens a file for reading without noting the time of access where we may, as its owner: with a time of modification ahead, as that of deferred
 * mail, each reading would change the inode. open(2)
 */
export function openUnnoted(path: string, flags: number): number {
  try {
    return openSync(pathOf(path), flags | constants.O_NOATIME);
  } catch (error) {
    if (errorCode(error) !== "EPERM") throw error;
    return openSync(pathOf(path), flags);
  }
}

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

export type LockKind = "shared" | "exclusive";

/** flock() without waiting: true when obtained, false when another holder is in the way. */
export function tryLock(fd: number, kind: LockKind): boolean {
  const result = libc().flock(fd, (kind === "shared" ? LOCK_SH : LOCK_EX) | LOCK_NB);
  if (result === 0) return true;
  const code = errno();
  if (code === 11) return false;
  throw new SysError("flock", code, String(fd));
}

/** flock() that blocks the whole process; for commands and for the accept lock only. */
export function lockWaiting(fd: number, kind: LockKind): void {
  for (;;) {
    if (libc().flock(fd, kind === "shared" ? LOCK_SH : LOCK_EX) === 0) return;
    const code = errno();
    if (code !== 4) throw new SysError("flock", code, String(fd));
  }
}

export const unlock = (fd: number): void => {
  checked("flock", String(fd), libc().flock(fd, LOCK_UN));
};

const F_OFD_SETLK = 37;
const F_OFD_SETLKW = 38;
/**
 * A record lock (fcntl) on the whole file: true when obtained. `kind` "none" releases. It keeps out the holders of POSIX locks, but belongs to the
 * open file, not to the process: a second descriptor of this process has to wait too, and its close drops no lock of the first. fcntl(2)
 */
export function recordLock(fd: number, kind: LockKind | "none", wait = false): boolean {
  const flock = Buffer.alloc(32);
  flock.writeInt16LE(kind === "shared" ? 0 : kind === "exclusive" ? 1 : 2, 0);
  const result = recordLocks().fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, ffi().ptr(flock));
  if (result === 0) return true;
  const code = errno();
  if (code === 11 || code === 13) return false;
  throw new SysError("fcntl", code, String(fd));
}

export const makeFifo = (path: string, mode: number): void => {
  checked("mkfifo", path, libc().mkfifo(ffi().ptr(cString(path)), mode));
};

/** Bytes that can be read from a pipe or socket at once (FIONREAD). */
export function pendingBytes(fd: number): number {
  const count = new Int32Array(1);
  checked("ioctl", String(fd), libc().ioctl(fd, 0x541bn, ffi().ptr(count)));
  return count[0] ?? 0;
}

export const duplicate = (fd: number): number => checked("dup", String(fd), libc().dup(fd));
const F_DUPFD_CLOEXEC = 1030;
/** Another name of a descriptor that is at least `lowest`, close-on-exec. */
export const duplicateAbove = (fd: number, lowest: number): number =>
  checked("fcntl", String(fd), libc().fcntl(fd, F_DUPFD_CLOEXEC, lowest));

const F_GETFD = 1;
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const FD_CLOEXEC = 1;

export function setCloseOnExec(fd: number, enabled = true): void {
  const flags = checked("fcntl", String(fd), libc().fcntl(fd, F_GETFD, 0));
  checked("fcntl", String(fd), libc().fcntl(fd, F_SETFD, enabled ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC));
}
export function setNonBlocking(fd: number, enabled = true): void {
  const flags = checked("fcntl", String(fd), libc().fcntl(fd, F_GETFL, 0));
  checked(
    "fcntl",
    String(fd),
    libc().fcntl(fd, F_SETFL, enabled ? flags | constants.O_NONBLOCK : flags & ~constants.O_NONBLOCK),
  );
}

const POLLIN = 1;
/** Waits for input, the end of it, or trouble with it, at most so many milliseconds, and not past a signal. */
export function readableWithin(fd: number, milliseconds: number): boolean {
  const poll = Buffer.alloc(8);
  poll.writeInt32LE(fd, 0);
  poll.writeInt16LE(POLLIN, 4);
  const ready: number = libc().poll(ffi().ptr(poll), 1, milliseconds);
  const code = ready < 0 ? errno() : 0;
  if (code !== 0 && code !== 4) throw new SysError("poll", code, String(fd));
  return ready > 0;
}

/** A pipe: [read end, write end], close-on-exec, and non-blocking when asked. */
export function makePipe(nonBlocking = false): readonly [number, number] {
  const ends = new Int32Array(2);
  checked("pipe2", "", libc().pipe2(ffi().ptr(ends), 0o2000000 | (nonBlocking ? constants.O_NONBLOCK : 0)));
  return [ends[0] ?? -1, ends[1] ?? -1];
}

/** chdir() to a byte string. */
export function changeDirectory(path: string): void {
  if (isAscii(path)) process.chdir(path);
  else checked("chdir", path, libc().chdir(ffi().ptr(cString(path))));
}

/** Sets the file mode creation mask; returns the previous one. */
export const setUmask = (mask: number): number => libc().umask(mask);

export type SafeOpenResult =
  | { readonly ok: true; readonly fd: number; readonly stat: Stats }
  | { readonly ok: false; readonly code: string; readonly reason: string };

/**
 * Opens or creates a file in a place where others may be able to write: never through a symbolic link that an
 * unprivileged user could have made, never a directory or a file with other hard links, creation is exclusive.
 * `reason` reads as Postfix's (`cannot open file: ...`, `file has 2 hard links`, ...). Source: ipc.md 1.1 step 13.
 */
export function safeOpen(
  path: string,
  flags: number,
  mode: number,
  owner?: { readonly uid: number; readonly gid: number },
): SafeOpenResult {
  const failed = (call: string, error: unknown): SafeOpenResult => ({
    ok: false,
    code: errorCode(error) ?? "EIO",
    reason: `${call}: ${errorText(error)}`,
  });
  if ((flags & constants.O_CREAT) !== 0) {
    for (let attempt = 0; attempt < 3; attempt++) {
      const existing = safeOpenExisting(path, flags & ~(constants.O_CREAT | constants.O_EXCL));
      if (existing.ok || existing.code !== "ENOENT") return existing;
      try {
        const fd = openSync(pathOf(path), flags | constants.O_CREAT | constants.O_EXCL, mode);
        if (owner !== undefined) fchownSync(fd, owner.uid, owner.gid);
        return { ok: true, fd, stat: fstatSync(fd) };
      } catch (error) {
        if (errorCode(error) !== "EEXIST") return failed("cannot create file exclusively", error);
      }
    }
    return { ok: false, code: "EEXIST", reason: "cannot create file exclusively: File exists" };
  }
  return safeOpenExisting(path, flags);
}

function safeOpenExisting(path: string, flags: number): SafeOpenResult {
  let fd: number;
  try {
    fd = openSync(pathOf(path), flags | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    if ((flags & constants.O_NOFOLLOW) !== 0 && errorCode(error) === "ELOOP")
      return { ok: false, code: "EPERM", reason: "file is a symbolic link" };
    return { ok: false, code: errorCode(error) ?? "EIO", reason: `cannot open file: ${errorText(error)}` };
  }
  const refuse = (reason: string): SafeOpenResult => {
    closeSync(fd);
    return { ok: false, code: "EPERM", reason };
  };
  const stat = fstatSync(fd);
  if (stat.isDirectory()) return refuse("file is a directory");
  if (stat.nlink !== 1) return refuse(`file has ${stat.nlink} hard links`);
  let named: Stats;
  try {
    named = lstatSync(pathOf(path));
    if (named.isSymbolicLink()) {
      if (!linkIsTrusted(path, named)) return refuse("file is a symbolic link");
      named = statSync(pathOf(path));
    }
  } catch (error) {
    return refuse(`file status changed unexpectedly: ${errorText(error)}`);
  }
  if (stat.dev !== named.dev || stat.ino !== named.ino || stat.mode !== named.mode)
    return refuse("file status changed unexpectedly");
  if ((flags & constants.O_NONBLOCK) === 0) setNonBlocking(fd, false);
  return { ok: true, fd, stat };
}

/** A link is followed only when root made it in a directory where nobody else can write. */
function linkIsTrusted(path: string, link: Stats): boolean {
  if (link.uid !== 0) return false;
  const parent = statSync(pathOf(directoryOf(path)));
  return parent.uid === 0 && (parent.mode & 0o022) === 0;
}

const F_SETOWN = 8;
/** Has the kernel send SIGIO to this process when the descriptor becomes readable. */
export function signalWhenReadable(fd: number, enabled: boolean): void {
  checked("fcntl", String(fd), libc().fcntl(fd, F_SETOWN, process.pid));
  const flags = checked("fcntl", String(fd), libc().fcntl(fd, F_GETFL, 0));
  const O_ASYNC = 0o20000;
  checked("fcntl", String(fd), libc().fcntl(fd, F_SETFL, enabled ? flags | O_ASYNC : flags & ~O_ASYNC));
}

/** Makes `target` another name of the descriptor `fd`. */
export const duplicateTo = (fd: number, target: number): void => {
  checked("dup2", String(fd), libc().dup2(fd, target));
};
