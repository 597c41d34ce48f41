/** Timers of any length. The runtime's own take a delay above 2^31-1 milliseconds, 24.8 days, for one of a millisecond. */
import { checked, ffi, library } from "./ffi.ts";

export interface Timer {
  cancel(): void;
}

export interface TimerOptions {
  /** The process may end while it runs. */
  readonly background?: boolean;
}

const LONGEST = 2 ** 31 - 1;

/** Acts once, after so many seconds. */
export function after(seconds: number, action: () => unknown, options: TimerOptions = {}): Timer {
  let left = seconds * 1000;
  let handle: ReturnType<typeof setTimeout>;
  const step = (): void => {
    const now = Math.min(left, LONGEST);
    left -= now;
    handle = setTimeout(left > 0 ? step : action, now);
    if (options.background) handle.unref();
  };
  step();
  return { cancel: () => clearTimeout(handle) };
}

/** Acts every so many seconds, until it is cancelled. */
export function every(seconds: number, action: () => unknown, options: TimerOptions = {}): Timer {
  let cancelled = false;
  const next = (): Timer =>
    after(
      seconds,
      () => {
        timer = next();
        action();
        if (cancelled) timer.cancel();
      },
      options,
    );
  let timer = next();
  return {
    cancel: () => {
      cancelled = true;
      timer.cancel();
    },
  };
}

const libc = library(["libc.so.6", "libc.so"], {
  setitimer: { args: ["i32", "ptr", "ptr"], returns: "i32" },
});
const ITIMER_PROF = 2;

/** Acts whenever the process has used so much processor time: one that rests is not woken. There is one such timer in a process. */
export function everyBusy(milliseconds: number, action: () => void): void {
  process.on("SIGPROF", action);
  const interval = BigInt(milliseconds * 1000);
  const timer = new BigInt64Array([0n, interval, 0n, interval]);
  checked("setitimer", "", libc().setitimer(ITIMER_PROF, ffi().ptr(timer), null));
}

export const sleep = (seconds: number): Promise<void> => new Promise((resolve) => after(seconds, resolve));
