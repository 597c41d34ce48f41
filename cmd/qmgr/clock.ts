/** Time as the queue manager sees it. Scheduling uses whole seconds of a clock that never runs backwards (queue.md 22). */

import { info, warning } from "../../lib/log/log.ts";
import { after, type Timer } from "../../lib/sys/timers.ts";

export interface TimeStamp {
  readonly seconds: number;
  readonly microseconds: number;
}

export interface Clock {
  /** Whole seconds since the epoch, never less than before. */
  now(): number;
  /** The system's time of day. */
  timeOfDay(): TimeStamp;
}

export interface Timers {
  after(seconds: number, action: () => void): Timer;
}

export const NEVER: TimeStamp = { seconds: 0, microseconds: 0 };

/** When the system clock steps back, time goes on at half speed until the clock has caught up. */
export class SlewedClock implements Clock {
  readonly #milliseconds: () => number;
  #present = 0;
  /** System time up to which the slewed time has been advanced, in milliseconds. */
  #seen = 0;
  #slewing = false;

  constructor(milliseconds: () => number = Date.now) {
    this.#milliseconds = milliseconds;
  }

  now(): number {
    const system = this.#milliseconds();
    if (system < this.#seen && !this.#slewing) {
      this.#slewing = true;
      warning("backward time jump detected -- slewing clock");
    }
    if (!this.#slewing) this.#present = system;
    else {
      if (system > this.#seen) this.#present += (system - this.#seen) / 2;
      if (system >= this.#present) {
        this.#slewing = false;
        this.#present = system;
        info("backward time jump recovered -- back to normality");
      }
    }
    this.#seen = system;
    return Math.floor(this.#present / 1000);
  }

  timeOfDay(): TimeStamp {
    const system = this.#milliseconds();
    const seconds = Math.floor(system / 1000);
    return { seconds, microseconds: Math.floor((system - seconds * 1000) * 1000) };
  }
}

export const systemTimers: Timers = { after: (seconds, action) => after(seconds, action) };
