/** Reads a directory piece by piece: a queue of any length takes the memory of one piece. */

import { pathOf } from "./bytes.ts";
import { checked, ffi, library } from "./ffi.ts";
import { closeSync, constants, type Dir, opendirSync, openSync } from "./fs.ts";

const libc = library(["libc.so.6", "libc.so"], {
  getdents64: { args: ["i32", "ptr", "u64"], returns: "i64" },
});

/** Names in the order of the file system, without `.` and `..`. */
export interface DirectoryReader {
  /** The next name; undefined at the end. */
  next(): string | undefined;
  close(): void;
}

export const openDirectory = (path: string): DirectoryReader =>
  process.versions.bun === undefined ? new NodeReader(path) : new LinuxReader(path);

const PIECE = 32 * 1024;
/** struct linux_dirent64: inode 8, offset 8, record length 2, type 1, name. */
const LENGTH_AT = 16;
const NAME_AT = 19;

class LinuxReader implements DirectoryReader {
  readonly #path: string;
  readonly #buffer = Buffer.allocUnsafeSlow(PIECE);
  #fd: number;
  #at = 0;
  #end = 0;

  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(pathOf(path), constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NONBLOCK);
  }

  next(): string | undefined {
    for (;;) {
      if (this.#at >= this.#end && !this.#fill()) return undefined;
      const start = this.#at;
      this.#at += this.#buffer.readUInt16LE(start + LENGTH_AT);
      const name = this.#buffer.toString("latin1", start + NAME_AT, this.#buffer.indexOf(0, start + NAME_AT));
      if (name !== "." && name !== "..") return name;
    }
  }

  #fill(): boolean {
    if (this.#fd < 0) return false;
    const count = Number(libc().getdents64(this.#fd, ffi().ptr(this.#buffer), PIECE));
    this.#at = 0;
    this.#end = checked("getdents64", this.#path, count);
    return count > 0;
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}

class NodeReader implements DirectoryReader {
  readonly #directory: Dir;
  #open = true;
  constructor(path: string) {
    this.#directory = opendirSync(path, { encoding: "latin1" });
  }
  next(): string | undefined {
    return this.#directory.readSync()?.name;
  }
  close(): void {
    if (this.#open) this.#directory.closeSync();
    this.#open = false;
  }
}
