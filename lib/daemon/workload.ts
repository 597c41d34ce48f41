/** Whether the one thread that runs a program has about as much work as a processor can do: then another process is to share it. */
import { threadMilliseconds } from "../sys/process.ts";

const SAMPLE_MILLISECONDS = 500;
const BUSY_SHARE = 0.8;
const ROW = 3;

export class Workload {
  busy = false;
  /** Samples in a row that showed a busy process: the warming up of a fresh one is no work to be shared. */
  #row = 0;
  #since = performance.now();
  #used = threadMilliseconds();

  /** To be called now and then; looks at the time that has passed since it looked last. */
  look(): void {
    const now = performance.now();
    const passed = now - this.#since;
    if (passed < SAMPLE_MILLISECONDS) return;
    const used = threadMilliseconds();
    this.#row = used - this.#used > passed * BUSY_SHARE ? this.#row + 1 : 0;
    this.busy = this.#row >= ROW;
    this.#since = now;
    this.#used = used;
  }
}
