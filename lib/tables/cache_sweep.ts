/** The removal of expired entries from a cache, a few at a time between other requests (tables.md 18). */

import { info, warning } from "../log/log.ts";
import { after, type Timer } from "../sys/timers.ts";
import type { CacheDatabase } from "./cache.ts";

export interface SweepRules {
  /** Seconds between the ends and starts of sweeps; 0: never. */
  readonly interval: number;
  /** Whether an entry is worth its place. */
  readonly keep: (key: string, value: string) => boolean;
}

/** Entries that are looked at before others have a turn. */
const BATCH = 20;

export class CacheSweep {
  #retained = 0;
  #dropped = 0;
  #running = false;
  #stopped = false;
  #timer: Timer | undefined;

  constructor(
    private readonly cache: CacheDatabase,
    private readonly rules: SweepRules,
    private readonly now: () => number = () => Math.floor(Date.now() / 1000),
  ) {}

  /** Arranges for the first sweep: an interval after the last finished one, of whatever process. */
  async schedule(): Promise<void> {
    const { interval } = this.rules;
    if (interval <= 0) return;
    const last = await this.cache.lastSweep();
    const due = last === undefined ? 0 : last + interval - this.now();
    this.#arm(Math.min(Math.max(due, 0), interval));
  }

  #arm(seconds: number): void {
    if (this.#stopped) return;
    this.#timer = after(seconds, () => void this.run(), { background: true });
  }

  /** One sweep through everything. */
  async run(): Promise<void> {
    this.#running = true;
    this.#retained = 0;
    this.#dropped = 0;
    const complete = await this.#pass();
    if (this.#stopped) return;
    this.#running = false;
    if (complete) await this.cache.noteSweep(this.now());
    else warning(`${this.cache.name}: cache cleanup scan terminated due to error`);
    this.#report(complete ? "full" : "partial");
    this.#arm(this.rules.interval);
  }

  async #pass(): Promise<boolean> {
    // an entry is deleted when the scan has moved on, so that the cursor stays good
    let doomed: string | undefined;
    for (let count = 0, position: "first" | "next" = "first"; !this.#stopped; position = "next", count++) {
      const entry = await this.cache.sequence(position);
      if (doomed !== undefined && (await this.cache.removeDoomed(doomed))) this.#dropped++;
      doomed = undefined;
      if (entry.kind === "error") return false;
      if (entry.kind === "absent") return true;
      if (this.rules.keep(entry.key, entry.value)) this.#retained++;
      else {
        doomed = entry.key;
        this.cache.doom(entry.key);
      }
      if (count % BATCH === BATCH - 1) await new Promise((resolve) => setImmediate(resolve));
    }
    return false;
  }

  /** At the end of the process. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    if (this.#running) this.#report("partial");
  }

  #report(what: "full" | "partial"): void {
    info(
      `cache ${this.cache.name} ${what} cleanup: retained=${this.#retained} dropped=${this.#dropped} entries`,
    );
  }
}
