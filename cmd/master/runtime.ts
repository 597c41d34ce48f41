/** What the children's runtime is told by its environment, before the first line of ours runs. docs/performance.md has the measurements. */
export const RUNTIME: ReadonlyMap<string, string> = new Map([
  /**
   * Memory goes back to the kernel when it was free for so many milliseconds. By default that is a tenth of a second, and a busy daemon gives
   * back, and faults in again, the same pages for each message.
   */
  ["MIMALLOC_PURGE_DELAY", "60000"],
  /** How often, at most, its thread looks for unused pieces of pages, in milliseconds. Under load it would do nothing else. */
  ["MIMALLOC_PURGE_HOLES_MIN_INTERVAL", "10000"],
  /**
   * Syncs and name service lookups that a process has in flight. By default there are as many as processors, whatever the disk could do. Threads
   * are made when they are needed.
   */
  ["UV_THREADPOOL_SIZE", "32"],
  /** The last tier of the compiler costs more processor time and memory in every process than its code saves: ours is no arithmetic. */
  ["BUN_JSC_useFTLJIT", "0"],
  /** The collector lets the heap of a process grow by what it takes for the memory of the machine: there are many processes. */
  ["BUN_JSC_forceRAMSize", "200000000"],
]);
