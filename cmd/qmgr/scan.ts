/** Walking through the incoming or deferred queue, one name at a time (queue.md 18.2). */
import { isQueueId, type QueueId } from "../../lib/queue/queue_id.ts";
import type { Disk } from "./disk.ts";

export type ScanQueue = "incoming" | "deferred";

export interface ScanFlags {
  /** Ignore the time stamps of files. */
  readonly all: boolean;
  /** Deliver through `defer_transports` too. */
  readonly flushDeferTransports: boolean;
}

export interface ScanRequest extends Partial<ScanFlags> {
  readonly start?: boolean;
}

const NO_FLAGS: ScanFlags = { all: false, flushDeferTransports: false };

const union = (a: ScanFlags, b: Partial<ScanFlags>): ScanFlags => ({
  all: a.all || b.all === true,
  flushDeferTransports: a.flushDeferTransports || b.flushDeferTransports === true,
});

interface Level {
  readonly path: string;
  readonly names: ReadonlyArray<string>;
  next: number;
}

export class Scan {
  readonly queue: ScanQueue;
  /** Of this run. */
  flags: ScanFlags = NO_FLAGS;
  readonly #disk: Disk;
  #nextFlags: ScanFlags = NO_FLAGS;
  #startAgain = false;
  /** Directories on the way to the current one; undefined when no scan is in progress. */
  #levels: Level[] | undefined;

  constructor(queue: ScanQueue, disk: Disk) {
    this.queue = queue;
    this.#disk = disk;
  }

  get inProgress(): boolean {
    return this.#levels !== undefined;
  }

  request(request: ScanRequest): void {
    if (this.#levels !== undefined) this.flags = union(this.flags, request);
    this.#nextFlags = union(this.#nextFlags, request);
    if (request.start !== true) return;
    if (this.#levels === undefined) this.#begin();
    else this.#startAgain = true;
  }

  #begin(): void {
    this.flags = this.#nextFlags;
    this.#nextFlags = NO_FLAGS;
    this.#startAgain = false;
    this.#levels = [];
    this.#enter(this.queue);
  }

  #enter(path: string): void {
    const names = this.#disk.list(path);
    if (names !== undefined) this.#levels?.push({ path, names, next: 0 });
  }

  /** The next file that may be a message; undefined at the end of the scan. A name of one character is a hash directory. */
  next(): QueueId | undefined {
    while (this.#levels !== undefined) {
      const level = this.#levels.at(-1);
      if (level === undefined) {
        this.#levels = undefined;
        if (!this.#startAgain) return undefined;
        this.#begin();
        continue;
      }
      const name = level.names[level.next++];
      if (name === undefined) this.#levels.pop();
      else if (name.length === 1) this.#enter(`${level.path}/${name}`);
      else if (isQueueId(name)) return name;
    }
    return undefined;
  }
}
