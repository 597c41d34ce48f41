/** How programs that this process started end. */

import { SysError } from "./errno.ts";
import { errno, ffi, library } from "./ffi.ts";
import { makePipe } from "./files.ts";
import { closeSync, readSync } from "./fs.ts";
import { defaultSignal } from "./process.ts";
import { type Start, startProgram } from "./spawn.ts";

const libc = library(["libc.so.6", "libc.so"], {
  waitpid: { args: ["i32", "ptr", "i32"], returns: "i32" },
});
const WNOHANG = 1;
const EINTR = 4;
const SIGCHLD = 17;

export type ProgramEnd =
  | { readonly kind: "exit"; readonly status: number }
  | { readonly kind: "signal"; readonly signal: number };

/** waitpid(): undefined while it runs. */
function endNow(pid: number, flags: number): ProgramEnd | undefined {
  const status = new Int32Array(1);
  for (;;) {
    const result: number = libc().waitpid(pid, ffi().ptr(status), flags);
    if (result === 0) return undefined;
    if (result > 0) break;
    const code = errno();
    if (code !== EINTR) throw new SysError("waitpid", code, String(pid));
  }
  const ended = status[0] ?? 0;
  const signal = ended & 0x7f;
  return signal === 0 ? { kind: "exit", status: (ended >> 8) & 0xff } : { kind: "signal", signal };
}

const running = new Map<number, (end: ProgramEnd) => void>();
let keepAlive: ReturnType<typeof setInterval> | undefined;
let watching = false;
/** The longest time that a timer takes. */
const FOREVER = 0x7fffffff;

/** Starts a program whose end the event loop hears of: until then it keeps this process alive. */
export function startWatched(start: Start): { readonly pid: number; readonly ended: Promise<ProgramEnd> } {
  if (!watching) process.on("SIGCHLD", collectEnded);
  watching = true;
  const pid = startProgram(start);
  const ended = new Promise<ProgramEnd>((resolve) => running.set(pid, resolve));
  keepAlive ??= setInterval(() => undefined, FOREVER);
  return { pid, ended };
}

/** Takes note of the watched programs that have ended. */
export function collectEnded(): void {
  for (const [pid, resolve] of running) {
    const end = endNow(pid, WNOHANG);
    if (end === undefined) continue;
    running.delete(pid);
    resolve(end);
  }
  if (running.size > 0) return;
  clearInterval(keepAlive);
  keepAlive = undefined;
}

/** Runs a program and stops everything else here until it has ended. Throws SysError. */
export function runProgram(start: Start): ProgramEnd {
  // whoever started us may have had it ignored, and then nobody can be waited for
  if (!watching) defaultSignal(SIGCHLD);
  return waitFor(startProgram(start));
}

function waitFor(pid: number): ProgramEnd {
  const end = endNow(pid, 0);
  if (end === undefined) throw new Error(`waitpid ${pid}: no end`);
  return end;
}

const READ_SIZE = 65536;

/** runProgram(), and its output; `errors`: with what it says on standard error. */
export function outputOf(
  start: Omit<Start, "descriptors">,
  { errors = false } = {},
): { readonly end: ProgramEnd; readonly output: string } {
  if (!watching) defaultSignal(SIGCHLD);
  const [source, sink] = makePipe();
  try {
    let pid: number;
    try {
      pid = startProgram({ ...start, descriptors: ["null", sink, errors ? sink : 2] });
    } finally {
      closeSync(sink);
    }
    const buffer = Buffer.allocUnsafe(READ_SIZE);
    let output = "";
    for (;;) {
      const count = readSync(source, buffer, 0, READ_SIZE, null);
      if (count === 0) break;
      output += buffer.toString("latin1", 0, count);
    }
    return { end: waitFor(pid), output };
  } finally {
    closeSync(source);
  }
}

/** As a shell gives it: the exit status, or 128 and the signal. */
export const statusOf = (end: ProgramEnd): number => (end.kind === "exit" ? end.status : 128 + end.signal);
