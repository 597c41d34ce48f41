/**
 * Ends a process whose event loop does not turn any more: the kernel's alarm is pushed back at regular turns of the loop, so that
 * an endless loop anywhere dies by SIGALRM and master starts a fresh process (ipc.md 1.11).
 */
import { library } from "../sys/ffi.ts";

const libc = library(["libc.so.6", "libc.so"], { alarm: { args: ["u32"], returns: "u32" } });

/** Starts the watchdog with a total time in seconds. */
export function startWatchdog(seconds: number): void {
  const restart = (): void => {
    libc().alarm(seconds);
  };
  restart();
  setInterval(restart, Math.min(Math.max(1, Math.floor(seconds / 3)), 60) * 1000).unref();
}

export const stopWatchdog = (): void => {
  libc().alarm(0);
};
