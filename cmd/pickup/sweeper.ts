/** Scans of maildrop: one at a time, repeated until nothing more was taken, several files in flight within one. */
import { parameter } from "../../lib/config/configuration.ts";
import { warning } from "../../lib/log/log.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import { parseQueueId, type QueueId } from "../../lib/queue/queue_id.ts";
import { QueueScan } from "../../lib/queue/scan.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { takeMessage } from "./message.ts";

export const MAILDROP = "maildrop";
/** Files that are passed to cleanup side by side. */
const IN_FLIGHT = 10;
/** Warnings about files that stay where they are, for one scan. */
const COMPLAINTS = 100;
/** Names between two turns of the event loop. */
const TURN = 500;
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

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

/**
 * What a scan says of files that stay, of which users may have made any number: the next scan would say it all again.
 */
class Complaints {
  #count = 0;
  readonly say = (text: string): void => {
    if (++this.#count <= COMPLAINTS) warning(text);
  };
  end(): void {
    if (this.#count > COMPLAINTS)
      warning(`${MAILDROP}: ${this.#count - COMPLAINTS} more complaints about files that cannot be taken`);
  }
}

/** Takes every complete file; gives the number of files that are gone. */
async function scanOnce(): Promise<number> {
  let removed = 0;
  let seen = 0;
  const complaints = new Complaints();
  const working = new Set<Promise<void>>();
  const scan = openScan();
  if (scan === undefined) return 0;
  try {
    for (let name = scan.next(); name !== undefined; name = scan.next()) {
      // what is no message waits for nothing
      if (++seen % TURN === 0) await nextTurn();
      const id = parseQueueId(name);
      const status = id === undefined ? undefined : queues().openable(MAILDROP, id, complaints.say);
      if (id === undefined || status === undefined) continue;
      const work = takeMessage(id, status.inode, complaints.say).then((outcome) => {
        working.delete(work);
        if (outcome.kind === "remove" && remove(id, outcome.inode)) removed++;
      });
      working.add(work);
      if (working.size >= IN_FLIGHT) await Promise.race(working);
    }
  } finally {
    scan.close();
    await Promise.all(working);
    complaints.end();
  }
  return removed;
}

/**
 * Removes the file that was dealt with; another one that got its name meanwhile (postsuper -r, with a user's file in the way) is a message of
 * its own, which the next scan takes. False when nothing has changed.
 */
function remove(id: QueueId, inode: bigint): boolean {
  try {
    const status = queues().status(MAILDROP, id);
    if (status === undefined) return false;
    if (status.inode !== inode) return true;
    if (parameter("dont_remove") === 0) return queues().remove(MAILDROP, id);
    queues().move(id, MAILDROP, "saved");
    return true;
  } catch (error) {
    warning(`remove ${queues().path(MAILDROP, id)}: ${errorText(error)}`);
    return false;
  }
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
