/**
 * node:fs for the programs: the same functions by the same names. Loading the runtime's own takes a fifth of a short program's time, so the
 * calls that nearly every program makes go to the C library, where they fail with a SysError; the runtime's is loaded for the others.
 */
import type * as nodeFs from "node:fs";
import { errnoNumber, SysError } from "./errno.ts";
import { checked, errno, ffi, I64_FAST, library, uninterrupted } from "./ffi.ts";

type Fs = typeof nodeFs;

export type { Dir, Dirent } from "node:fs";

/** What a program asks of a file's status. */
export type Stats = Pick<
  nodeFs.Stats,
  | "dev"
  | "ino"
  | "mode"
  | "nlink"
  | "uid"
  | "gid"
  | "size"
  | "atimeMs"
  | "mtimeMs"
  | "ctimeMs"
  | "mtime"
  | "isFile"
  | "isDirectory"
  | "isSymbolicLink"
  | "isFIFO"
  | "isSocket"
>;

const onBun = typeof Bun !== "undefined";

let loaded: Fs | undefined;
/** The runtime's. */
export function runtimeFs(): Fs {
  // unit tests run on Node, whose modules have no require(); here it would cost five times as much
  loaded ??= onBun ? (require("node:fs") as Fs) : process.getBuiltinModule("node:fs");
  return loaded;
}

type FunctionName = { [K in keyof Fs]: Fs[K] extends (...args: never) => unknown ? K : never }[keyof Fs];

/** fsync(2) and fdatasync(2) that the event loop does not wait for. */
export const synced = (fd: number): Promise<void> => settled((done) => runtimeFs().fsync(fd, done));
export const contentSynced = (fd: number): Promise<void> =>
  settled((done) => runtimeFs().fdatasync(fd, done));

const settled = (call: (done: (error: Error | null) => void) => void): Promise<void> =>
  new Promise((resolve, reject) => {
    call((error) => (error ? reject(error) : resolve()));
  });

/** The runtime's function, loaded by the first call. */
const runtimes = <K extends FunctionName>(name: K): Fs[K] =>
  ((...args: never[]) => (runtimeFs()[name] as (...args: never[]) => unknown)(...args)) as Fs[K];

const libc = library(["libc.so.6", "libc.so"], {
  open: { args: ["ptr", "i32", "u32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  read: { args: ["i32", "ptr", "u64"], returns: I64_FAST },
  write: { args: ["i32", "ptr", "u64"], returns: I64_FAST },
  pread: { args: ["i32", "ptr", "u64", "i64"], returns: I64_FAST },
  pwrite: { args: ["i32", "ptr", "u64", "i64"], returns: I64_FAST },
  rename: { args: ["ptr", "ptr"], returns: "i32" },
  link: { args: ["ptr", "ptr"], returns: "i32" },
  unlink: { args: ["ptr"], returns: "i32" },
  fchmod: { args: ["i32", "u32"], returns: "i32" },
  fsync: { args: ["i32"], returns: "i32" },
  statfs: { args: ["ptr", "ptr"], returns: "i32" },
  statx: { args: ["i32", "ptr", "i32", "u32", "ptr"], returns: "i32" },
});

const arm = process.arch === "arm64";
/** Of <fcntl.h>, <unistd.h>. */
export const constants = {
  O_RDONLY: 0,
  O_WRONLY: 1,
  O_RDWR: 2,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_NOCTTY: 0o400,
  O_TRUNC: 0o1000,
  O_APPEND: 0o2000,
  O_NONBLOCK: 0o4000,
  O_DIRECTORY: arm ? 0o40000 : 0o200000,
  O_NOFOLLOW: arm ? 0o100000 : 0o400000,
  O_NOATIME: 0o1000000,
  X_OK: 1,
} as const;
const O_CLOEXEC = 0o2000000;
const FLAGS = { r: constants.O_RDONLY, "r+": constants.O_RDWR } as const;

type Path = string | Uint8Array;

/** Memory for the paths of a call, the first and the second; the call is over before the next one. */
const scratch: [Buffer?, Buffer?] = [];
const SHORT_PATH = 1024;

function pathBytes(call: string, path: Path, which: 0 | 1 = 0): Buffer {
  if (typeof path === "string" && path.length <= SHORT_PATH && !path.includes("\0")) {
    const memory = scratch[which] ?? Buffer.allocUnsafeSlow(3 * SHORT_PATH + 1);
    scratch[which] = memory;
    memory[memory.write(path)] = 0;
    return memory;
  }
  const bytes = typeof path === "string" ? Buffer.from(`${path}\0`) : Buffer.concat([path, Buffer.alloc(1)]);
  if (bytes.indexOf(0) === bytes.length - 1) return bytes;
  throw new SysError(call, errnoNumber("EINVAL"), shown(path));
}
const shown = (path: Path): string =>
  typeof path === "string" ? path : Buffer.from(path).toString("latin1");

const DEFAULT_MODE = 0o666;

function open(path: Path, flags: number | keyof typeof FLAGS = "r", mode = DEFAULT_MODE): number {
  const bytes = pathBytes("open", path);
  const bits = (typeof flags === "number" ? flags : FLAGS[flags]) | O_CLOEXEC;
  return uninterrupted("open", shown(path), () => libc().open(ffi().ptr(bytes), bits, mode));
}

/** An interrupted close has closed. */
function close(fd: number): void {
  if (libc().close(fd) >= 0) return;
  const code = errno();
  if (code !== errnoNumber("EINTR")) throw new SysError("close", code, String(fd));
}

function readSome(
  fd: number,
  buffer: Uint8Array,
  offset = 0,
  length = buffer.length - offset,
  position: number | bigint | null = null,
): number {
  if (length === 0) return 0;
  const target = ffi().ptr(buffer, offset);
  return uninterrupted("read", String(fd), () =>
    position === null || position === -1
      ? libc().read(fd, target, length)
      : libc().pread(fd, target, length, position),
  );
}

/** Bytes from `start` on, or a text; `position` is where they go in the file, which for a text comes instead of `start`. */
function write(
  fd: number,
  content: Uint8Array | string,
  start: number | null = null,
  length?: number,
  position: number | null = null,
): number {
  if (typeof content === "string") return write(fd, Buffer.from(content), 0, undefined, start);
  const offset = start ?? 0;
  const count = length ?? content.length - offset;
  if (count === 0) return 0;
  const source = ffi().ptr(content, offset);
  return uninterrupted("write", String(fd), () =>
    position === null ? libc().write(fd, source, count) : libc().pwrite(fd, source, count, position),
  );
}

const twoPaths =
  (call: "rename" | "link") =>
  (from: Path, to: Path): void => {
    const [source, target] = [pathBytes(call, from), pathBytes(call, to, 1)];
    if (libc()[call](ffi().ptr(source), ffi().ptr(target)) < 0)
      throw new SysError(call, errno(), `${shown(from)} -> ${shown(to)}`);
  };
const unlink = (path: Path): void => {
  checked("unlink", shown(path), libc().unlink(ffi().ptr(pathBytes("unlink", path))));
};
const fchmod = (fd: number, mode: number): void => {
  checked("fchmod", String(fd), libc().fchmod(fd, mode));
};
const sync = (fd: number): void => {
  uninterrupted("fsync", String(fd), () => libc().fsync(fd));
};

const S_IFMT = 0o170000;
class FileStatus implements Stats {
  constructor(
    readonly dev: number,
    readonly ino: number,
    readonly mode: number,
    readonly nlink: number,
    readonly uid: number,
    readonly gid: number,
    readonly size: number,
    readonly atimeMs: number,
    readonly mtimeMs: number,
    readonly ctimeMs: number,
  ) {}
  get mtime(): Date {
    return new Date(this.mtimeMs);
  }
  isFile(): boolean {
    return (this.mode & S_IFMT) === 0o100000;
  }
  isDirectory(): boolean {
    return (this.mode & S_IFMT) === 0o040000;
  }
  isSymbolicLink(): boolean {
    return (this.mode & S_IFMT) === 0o120000;
  }
  isFIFO(): boolean {
    return (this.mode & S_IFMT) === 0o010000;
  }
  isSocket(): boolean {
    return (this.mode & S_IFMT) === 0o140000;
  }
}

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_EMPTY_PATH = 0x1000;
const STATX_BASIC_STATS = 0x7ff;
/** struct statx, which is the same everywhere. statx(2) */
const statusBuffer = new ArrayBuffer(256);
const status = new DataView(statusBuffer);
const statusBytes = new Uint8Array(statusBuffer);
const NOTHING = new Uint8Array(1);

const u32 = (at: number): number => status.getUint32(at, true);
const u64 = (at: number): number => u32(at) + u32(at + 4) * 2 ** 32;
const milliseconds = (at: number): number =>
  (u32(at) + status.getInt32(at + 4, true) * 2 ** 32) * 1000 + u32(at + 8) / 1e6;

/** Calls statx(); what it returns. */
const statx = (fd: number, path: Uint8Array, flags: number): number =>
  libc().statx(fd, ffi().ptr(path), flags, STATX_BASIC_STATS, ffi().ptr(statusBytes));

/** As dev_t has it. makedev(3) */
const deviceNumber = (major: number, minor: number): number =>
  (minor & 0xff) + (major & 0xfff) * 2 ** 8 + (minor >>> 8) * 2 ** 20 + (major >>> 12) * 2 ** 44;

const taken = (): Stats =>
  new FileStatus(
    deviceNumber(u32(136), u32(140)),
    u64(32),
    status.getUint16(28, true),
    u32(16),
    u32(20),
    u32(24),
    u64(40),
    milliseconds(64),
    milliseconds(112),
    milliseconds(96),
  );

function fstat(fd: number): Stats {
  checked("fstat", String(fd), statx(fd, NOTHING, AT_EMPTY_PATH));
  return taken();
}

interface FileIdentity {
  /** Hexadecimal, both. */
  readonly device: string;
  readonly file: string;
}
function identityOf(fd: number): FileIdentity {
  const { dev } = fstat(fd);
  const [low, high] = [u32(32), u32(36)];
  const file = high === 0 ? low.toString(16) : high.toString(16) + low.toString(16).padStart(8, "0");
  return { device: dev.toString(16), file };
}
function runtimesIdentityOf(fd: number): FileIdentity {
  const { dev, ino } = runtimeFs().fstatSync(fd, { bigint: true });
  return { device: dev.toString(16), file: ino.toString(16) };
}

type StatOptions = { readonly throwIfNoEntry: boolean };
interface StatCall {
  (path: Path): Stats;
  (path: Path, options: StatOptions): Stats | undefined;
}
const statCall = (call: "stat" | "lstat", flags: number): StatCall =>
  ((path: Path, options?: StatOptions) => {
    if (statx(AT_FDCWD, pathBytes(call, path), flags) === 0) return taken();
    const code = errno();
    if (options?.throwIfNoEntry === false && code === errnoNumber("ENOENT")) return undefined;
    throw new SysError(call, code, shown(path));
  }) as StatCall;

const exists = (path: Path): boolean => statx(AT_FDCWD, pathBytes("stat", path), 0) === 0;

/** struct statfs, whose beginning is the same on machines of 64 bits: seven long numbers, of which f_bsize is the second and f_bavail the fifth. statfs(2) */
const fileSystemBytes = new Uint8Array(256);
const fileSystemNumbers = new DataView(fileSystemBytes.buffer);

function statfs(path: Path): { readonly bsize: number; readonly bavail: number } {
  const bytes = pathBytes("statfs", path);
  uninterrupted("statfs", shown(path), () => libc().statfs(ffi().ptr(bytes), ffi().ptr(fileSystemBytes)));
  const number = (index: number): number => Number(fileSystemNumbers.getBigUint64(8 * index, true));
  return { bsize: number(1), bavail: number(4) };
}

const CHUNK = 65536;
interface ReadFile {
  (file: Path | number): Buffer;
  (file: Path | number, encoding: "latin1"): string;
}
const readFile = ((file: Path | number, encoding?: "latin1") => {
  const fd = typeof file === "number" ? file : open(file);
  try {
    const bytes = readToEnd(fd);
    return encoding === undefined ? bytes : bytes.toString(encoding);
  } finally {
    if (fd !== file) close(fd);
  }
}) as ReadFile;

/** One byte more than the file seems to have shows its end. */
function readToEnd(fd: number): Buffer {
  let buffer = Buffer.allocUnsafe(fstat(fd).size + 1);
  for (let length = 0; ; ) {
    const count = readSome(fd, buffer, length);
    length += count;
    if (count === 0) return buffer.subarray(0, length);
    if (length < buffer.length) continue;
    const larger = Buffer.allocUnsafe(buffer.length * 2 + CHUNK);
    buffer.copy(larger, 0, 0, length);
    buffer = larger;
  }
}

export const openSync = onBun ? open : (runtimes("openSync") as typeof open);
export const closeSync = onBun ? close : (runtimes("closeSync") as typeof close);
export const readSync = onBun ? readSome : (runtimes("readSync") as typeof readSome);
export const writeSync = onBun ? write : (runtimes("writeSync") as typeof write);
export const fstatSync = onBun ? fstat : (runtimes("fstatSync") as typeof fstat);
/** The numbers of a file's device and of the file in it: the latter may be larger than a number holds. */
export const fileIdentity = onBun ? identityOf : runtimesIdentityOf;
export const statSync = onBun ? statCall("stat", 0) : (runtimes("statSync") as StatCall);
export const lstatSync = onBun ? statCall("lstat", AT_SYMLINK_NOFOLLOW) : (runtimes("lstatSync") as StatCall);
export const existsSync = onBun ? exists : (runtimes("existsSync") as typeof exists);
export const renameSync = onBun ? twoPaths("rename") : runtimes("renameSync");
export const linkSync = onBun ? twoPaths("link") : runtimes("linkSync");
export const unlinkSync = onBun ? unlink : (runtimes("unlinkSync") as typeof unlink);
export const fchmodSync = onBun ? fchmod : (runtimes("fchmodSync") as typeof fchmod);
export const fsyncSync = onBun ? sync : (runtimes("fsyncSync") as typeof sync);
export const statfsSync = onBun ? statfs : (runtimes("statfsSync") as typeof statfs);
export const readFileSync = onBun ? readFile : (runtimes("readFileSync") as ReadFile);

export const accessSync = runtimes("accessSync");
export const chmodSync = runtimes("chmodSync");
export const chownSync = runtimes("chownSync");
export const copyFileSync = runtimes("copyFileSync");
export const fchownSync = runtimes("fchownSync");
export const fdatasyncSync = runtimes("fdatasyncSync");
export const futimesSync = runtimes("futimesSync");
export const ftruncateSync = runtimes("ftruncateSync");
export const lchownSync = runtimes("lchownSync");
export const mkdirSync = runtimes("mkdirSync");
export const opendirSync = runtimes("opendirSync");
export const read = runtimes("read");
export const readdirSync = runtimes("readdirSync");
export const realpathSync = runtimes("realpathSync");
export const rmdirSync = runtimes("rmdirSync");
export const utimesSync = runtimes("utimesSync");
export const watch = runtimes("watch");
export const writeFileSync = runtimes("writeFileSync");
