/** How far a long command has come, in one line on the terminal; nothing at all where standard error is none. */

import { setLogSinks } from "../log/log.ts";
import { toBytes } from "../sys/bytes.ts";
import { writeSync } from "../sys/fs.ts";
import { isTerminal } from "../sys/process.ts";

/** Work that ends sooner is not worth a line. */
const FIRST_COUNT = 1000;
const FIRST_MILLISECONDS = 1000;
/** The line changes at most this often. */
const MILLISECONDS = 200;
/** How many steps pass without a look at the clock. */
const STRIDE = 100;
const ERASE = "\r\x1b[K";

export class Progress {
  readonly #text: (count: number) => string;
  readonly #watched: boolean;
  readonly #begin = performance.now();
  #restore: (() => void) | undefined;
  #count = 0;
  #shown = Number.NEGATIVE_INFINITY;
  #visible = false;

  /** `text` makes the line from the number of steps so far: `12,345 files of deferred`. */
  constructor(text: (count: string) => string) {
    this.#text = (count) => text(count.toLocaleString("en-US"));
    this.#watched = isTerminal(2);
  }

  /** One more is done. */
  step(): void {
    if (!this.#watched || ++this.#count % STRIDE !== 0) return;
    const now = performance.now();
    const due = this.#count >= FIRST_COUNT || now - this.#begin >= FIRST_MILLISECONDS;
    if (due && now - this.#shown >= MILLISECONDS) this.show();
  }

  /** Shows the line now. */
  show(): void {
    if (!this.#watched) return;
    if (this.#restore === undefined) {
      // a log line on the terminal must not be appended to ours
      const sinks = setLogSinks([]);
      setLogSinks([() => this.#erase(), ...sinks]);
      this.#restore = () => setLogSinks(sinks);
    }
    this.#shown = performance.now();
    this.#visible = true;
    writeSync(2, toBytes(`${ERASE}${this.#text(this.#count)}`));
  }

  #erase(): void {
    if (this.#visible) writeSync(2, toBytes(ERASE));
    this.#visible = false;
  }

  /** The work is done: the line disappears. */
  end(): void {
    this.#erase();
    this.#restore?.();
    this.#restore = undefined;
  }
}
