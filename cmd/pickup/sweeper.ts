/** Scans of maildrop: one at a time, repeated until nothing more was taken, several files in flight within one. */
import { warning } from "../../lib/log/log.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import { parseQueueId } from "../../lib/queue/queue_id.ts";
import { QueueScan } from "../../lib/queue/scan.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { takeMessage } from "./message.ts";

export const MAILDROP = "maildrop";
/** Files that are passed to cleanup side by side. */
const IN_FLIGHT = 10;

export class Sweeper {
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** Resolves when a sweep that began after this call is complete. */
  sweep(): Promise<void> {
    if (this.#running === undefined) {
      this.#running = this.#run();
      return this.#running;
    }
    // one more for all who ask while this one is on its way
    this.#next ??= this.#running.then(() => this.sweep());
    return this.#next;
  }

  /** Resolves when no sweep is on its way. */
  async settled(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while ((await scanOnce()) > 0);
    } finally {
      this.#running = undefined;
      this.#next = undefined;
    }
  }
}

/** Takes every complete file; gives the number of files that are gone. */
async function scanOnce(): Promise<number> {
  let removed = 0;
  const working = new Set<Promise<void>>();
  const scan = openScan();
  if (scan === undefined) return 0;
  try {
    for (let name = scan.next(); name !== undefined; name = scan.next()) {
      const id = parseQueueId(name);
      if (id === undefined || queues().openable(MAILDROP, id) === undefined) continue;
      const work = takeMessage(id).then((outcome) => {
        working.delete(work);
        if (outcome === "keep") return;
        try {
          if (queues().remove(MAILDROP, id)) removed++;
        } catch (error) {
          warning(`remove ${queues().path(MAILDROP, id)}: ${errorText(error)}`);
        }
      });
      working.add(work);
      if (working.size >= IN_FLIGHT) await Promise.race(working);
    }
  } finally {
    scan.close();
    await Promise.all(working);
  }
  return removed;
}

function openScan(): QueueScan | undefined {
  try {
    return new QueueScan(MAILDROP, { recursive: false });
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    warning(`open directory ${MAILDROP}: ${errorText(error)}`);
    return undefined;
  }
}
