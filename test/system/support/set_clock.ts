/** A clock that a test can set while a mail system runs; other processes keep theirs. The times of files are the kernel's and stay what they are. */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

const SOURCE = join(import.meta.dirname, "set_clock.c");

export const NEEDS_COMPILER = spawnSync("cc", ["--version"]).status === 0 ? {} : { skip: "needs cc" };

export class SetClock {
  readonly environment: Readonly<Record<string, string>>;
  readonly #path: string;
  #shift = 0;

  constructor(directory: string) {
    const library = join(directory, "set_clock.so");
    const made = spawnSync("cc", ["-shared", "-fPIC", "-O2", "-o", library, SOURCE], { stdio: "inherit" });
    if (made.status !== 0) throw new Error("cc failed");
    this.#path = join(directory, "clock_shift");
    writeFileSync(this.#path, Buffer.alloc(8));
    this.environment = { LD_PRELOAD: library, CLOCK_SHIFT: this.#path };
  }

  /** For main.cf: every program of the mail system has this clock. */
  get setting(): string {
    const variables = Object.entries(this.environment).map(([name, value]) => `{ ${name} = ${value} }`);
    return `import_environment = MAIL_CONFIG TZ ${variables.join(" ")}\n`;
  }

  /** Seconds since the epoch. */
  now(): number {
    return Date.now() / 1000 + this.#shift;
  }

  set(seconds: number): void {
    this.#shift = Math.round(seconds - Date.now() / 1000);
    const value = Buffer.alloc(8);
    value.writeBigInt64LE(BigInt(this.#shift));
    const fd = openSync(this.#path, "r+");
    writeSync(fd, value, 0, 8, 0);
    closeSync(fd);
  }
}
