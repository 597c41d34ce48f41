/** Process control that node:process lacks. */
import { checked, ffi, library } from "./ffi.ts";

const libc = library(["libc.so.6", "libc.so"], {
  setsid: { args: [], returns: "i32" },
  getpgid: { args: ["i32"], returns: "i32" },
  kill: { args: ["i32", "i32"], returns: "i32" },
  waitid: { args: ["i32", "u32", "ptr", "i32"], returns: "i32" },
  isatty: { args: ["i32"], returns: "i32" },
  signal: { args: ["i32", "u64"], returns: "ptr" },
  setrlimit: { args: ["i32", "ptr"], returns: "i32" },
  getrlimit: { args: ["i32", "ptr"], returns: "i32" },
  getrusage: { args: ["i32", "ptr"], returns: "i32" },
  prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
});

export const startSession = (): number => checked("setsid", "", libc().setsid());
export const processGroup = (pid = 0): number => checked("getpgid", String(pid), libc().getpgid(pid));
/** kill(); a negative pid names a process group. */
export const sendSignal = (pid: number, signal: number): void => {
  checked("kill", String(pid), libc().kill(pid, signal));
};
export const isTerminal = (fd: number): boolean => libc().isatty(fd) === 1;

const SIG_DFL = 0;
const SIG_IGN = 1;
export const ignoreSignal = (signal: number): void => {
  libc().signal(signal, BigInt(SIG_IGN));
};
export const defaultSignal = (signal: number): void => {
  libc().signal(signal, BigInt(SIG_DFL));
};

const P_ALL = 0;
const P_PID = 1;
const WNOHANG = 1;
const WSTOPPED = 2;
const WEXITED = 4;
const WNOWAIT = 0x1000000;

/** waitid(): the process id (0: none) and the status of a siginfo_t. */
function waitForChange(
  type: number,
  id: number,
  options: number,
): { readonly pid: number; readonly status: number } {
  const information = Buffer.alloc(128);
  const result = libc().waitid(type, id, ffi().ptr(information), options | WNOHANG);
  return result < 0
    ? { pid: 0, status: 0 }
    : { pid: information.readInt32LE(16), status: information.readInt32LE(24) };
}
/** A child that a signal stopped since the last call. */
export function stoppedChild(): { readonly pid: number; readonly signal: number } | undefined {
  const { pid, status } = waitForChange(P_ALL, 0, WSTOPPED);
  return pid === 0 ? undefined : { pid, signal: status };
}
/** A child that has ended and was not reaped yet; it stays so. */
export const endedChild = (): number | undefined =>
  waitForChange(P_ALL, 0, WEXITED | WNOWAIT).pid || undefined;
export const reapChild = (pid: number): void => {
  waitForChange(P_PID, pid, WEXITED);
};

const RESOURCES = { fileSize: 1, core: 4, processes: 6, openFiles: 7 } as const;
const INFINITY = 0xffffffffffffffffn;

/** Sets the soft limit (and the hard one when `hard`) of a resource; `undefined` means no limit. */
export function setResourceLimit(
  resource: keyof typeof RESOURCES,
  value: number | undefined,
  hard = false,
): void {
  const limit = new BigUint64Array(2);
  checked("getrlimit", resource, libc().getrlimit(RESOURCES[resource], ffi().ptr(limit)));
  const wanted = value === undefined ? INFINITY : BigInt(value);
  const ceiling = limit[1] ?? INFINITY;
  limit[0] = hard || wanted <= ceiling ? wanted : ceiling;
  if (hard) limit[1] = wanted;
  checked("setrlimit", resource, libc().setrlimit(RESOURCES[resource], ffi().ptr(limit)));
}
/** The soft limit of a resource; undefined when unlimited. */
export function resourceLimit(resource: keyof typeof RESOURCES): number | undefined {
  const limit = new BigUint64Array(2);
  checked("getrlimit", resource, libc().getrlimit(RESOURCES[resource], ffi().ptr(limit)));
  return limit[0] === INFINITY ? undefined : Number(limit[0]);
}

const PR_SET_DUMPABLE = 4;
const PR_SET_NO_NEW_PRIVS = 38;
export const forbidDumps = (): void => {
  checked("prctl", "PR_SET_DUMPABLE", libc().prctl(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n));
};
export const forbidNewPrivileges = (): void => {
  checked("prctl", "PR_SET_NO_NEW_PRIVS", libc().prctl(PR_SET_NO_NEW_PRIVS, 1n, 0n, 0n, 0n));
};

const RUSAGE_THREAD = 1;
/** Processor time that the calling thread has used. */
export function threadMilliseconds(): number {
  const usage = new BigInt64Array(18);
  checked("getrusage", "", libc().getrusage(RUSAGE_THREAD, ffi().ptr(usage)));
  const [userSeconds = 0n, userMicroseconds = 0n, systemSeconds = 0n, systemMicroseconds = 0n] = usage;
  return Number(userSeconds + systemSeconds) * 1000 + Number(userMicroseconds + systemMicroseconds) / 1000;
}

export interface TimeOfDay {
  /** Seconds since the epoch. */
  readonly seconds: number;
  /** 0..999999 */
  readonly microseconds: number;
}
/** Milliseconds to add to performance.now() for the wall clock. */
let clockOffset: number | undefined;
/** The wall clock with microseconds; it never goes back unless the wall clock was set. */
export function timeOfDay(): TimeOfDay {
  const fine = performance.now();
  const wall = Date.now();
  if (clockOffset === undefined || Math.abs(clockOffset + fine - wall) > 2) clockOffset = wall - fine;
  const microseconds = Math.floor((clockOffset + fine) * 1000);
  return { seconds: Math.floor(microseconds / 1e6), microseconds: microseconds % 1e6 };
}
