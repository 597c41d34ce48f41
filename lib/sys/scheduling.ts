/** How the kernel gives processor time to this process (sched(7)). */
import { library } from "./ffi.ts";

const libc = library(["libc.so.6", "libc.so"], {
  sched_getscheduler: { args: ["i32"], returns: "i32" },
  sched_setscheduler: { args: ["i32", "i32", "ptr"], returns: "i32" },
});

const SCHED_OTHER = 0;
const SCHED_BATCH = 3;
/** struct sched_param: no priority. */
const PARAMETERS = new Int32Array(1);

/**
 * When it is woken, the calling thread no longer takes the processor from whoever has it; its share stays the same. Threads and processes that it
 * starts from now on inherit that, so it is not for programs that run commands of users. A policy that somebody chose for this process is left
 * alone, and one that may not be chosen is no loss.
 */
export function wakePatiently(): void {
  if (libc().sched_getscheduler(0) !== SCHED_OTHER) return;
  libc().sched_setscheduler(0, SCHED_BATCH, PARAMETERS);
}
