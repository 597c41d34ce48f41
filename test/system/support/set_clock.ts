/** A clock that a test can set while a mail system runs; other processes keep theirs. The times of files are the kernel's and stay what they are. */
import { Preloaded } from "./preloaded.ts";

export class SetClock extends Preloaded {
  #shift = 0;

  constructor(directory: string) {
    super(directory, "set_clock", "CLOCK_SHIFT");
  }

  /** Seconds since the epoch. */
  now(): number {
    return Date.now() / 1000 + this.#shift;
  }

  set(seconds: number): void {
    this.#shift = Math.round(seconds - Date.now() / 1000);
    this.store(this.#shift);
  }
}
