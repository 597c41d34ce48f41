/** A library of test/system/support in front of the C library of a mail system's programs, and the number that tells it what to do; it may have one to tell. */
import { spawnSync } from "node:child_process";
import { chmodSync, closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

export const NEEDS_COMPILER = spawnSync("cc", ["--version"]).status === 0 ? {} : { skip: "needs cc" };

export class Preloaded {
  readonly environment: Readonly<Record<string, string>>;
  readonly #path: string;

  /** Compiles NAME.c into a directory; the number is in a file that the environment variable names. */
  constructor(directory: string, name: string, variable: string) {
    const library = join(directory, `${name}.so`);
    const source = join(import.meta.dirname, `${name}.c`);
    const made = spawnSync("cc", ["-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], {
      stdio: "inherit",
    });
    if (made.status !== 0) throw new Error("cc failed");
    this.#path = join(directory, `${name}.number`);
    writeFileSync(this.#path, Buffer.alloc(16));
    chmodSync(this.#path, 0o666);
    this.environment = { LD_PRELOAD: library, [variable]: this.#path };
  }

  /** For main.cf: every program of the mail system has it. */
  get setting(): string {
    const variables = Object.entries(this.environment).map(([name, value]) => `{ ${name} = ${value} }`);
    return `import_environment = MAIL_CONFIG TZ ${variables.join(" ")}\n`;
  }

  /** Takes effect at once, in processes that run too. */
  store(number: number): void {
    const value = Buffer.alloc(8);
    value.writeBigInt64LE(BigInt(number));
    const fd = openSync(this.#path, "r+");
    writeSync(fd, value, 0, 8, 0);
    closeSync(fd);
  }

  /** The number of the library's own. */
  get told(): number {
    return Number(readFileSync(this.#path).readBigInt64LE(8));
  }
}
