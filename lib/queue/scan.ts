/** Walks a queue directory one name at a time, without stat calls and without holding all names. */
import { type DirectoryReader, openDirectory } from "../sys/directory.ts";
import { errorCode } from "../sys/errno.ts";

export interface ScanOptions {
  /** Enter one-character subdirectories (all queues but maildrop). Default true. */
  readonly recursive?: boolean;
  /** Told when a subdirectory was read to its end and closed, with its depth below the queue (1 or more). */
  readonly onLeave?: (directory: string, depth: number) => void;
}

interface Level {
  readonly path: string;
  readonly reader: DirectoryReader;
}

/**
 * A walk over a queue, depth first. In a recursive walk a one-character name is a hash subdirectory; every other name is a
 * file, whatever it really is: callers check what they open. Throws when the queue directory cannot be read.
 */
export class QueueScan {
  readonly #levels: Level[] = [];
  readonly #recursive: boolean;
  readonly #onLeave: ((directory: string, depth: number) => void) | undefined;

  constructor(queue: string, options: ScanOptions = {}) {
    this.#recursive = options.recursive ?? true;
    this.#onLeave = options.onLeave;
    this.#levels.push({ path: queue, reader: openDirectory(queue) });
  }

  /** The directory of the name last given. */
  get directory(): string {
    return this.#levels.at(-1)?.path ?? "";
  }

  /** The next file name; undefined at the end, when everything is closed. */
  next(): string | undefined {
    for (;;) {
      const level = this.#levels.at(-1);
      if (level === undefined) return undefined;
      const name = level.reader.next();
      if (name === undefined) this.#leave(level);
      else if (!this.#recursive || name.length > 1 || !this.#enter(`${level.path}/${name}`)) return name;
    }
  }

  close(): void {
    for (const level of this.#levels) level.reader.close();
    this.#levels.length = 0;
  }

  /** False for what is no directory after all. */
  #enter(path: string): boolean {
    try {
      this.#levels.push({ path, reader: openDirectory(path) });
      return true;
    } catch (error) {
      const code = errorCode(error);
      if (code === "ENOTDIR") return false;
      // removed meanwhile by postsuper
      if (code === "ENOENT") return true;
      throw error;
    }
  }

  #leave(level: Level): void {
    level.reader.close();
    this.#levels.pop();
    if (this.#levels.length > 0) this.#onLeave?.(level.path, this.#levels.length);
  }
}
