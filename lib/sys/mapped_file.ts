/** A file mapped into memory: reading it costs no system call, and what others write to it shows at once. */

import { SysError } from "./errno.ts";
import { checked, errno, ffi, library, type Pointer } from "./ffi.ts";
import { fstatSync, readSync } from "./fs.ts";

const libc = library(["libc.so.6", "libc.so"], {
  mmap: { args: ["ptr", "usize", "i32", "i32", "i32", "i64"], returns: "i64" },
  munmap: { args: ["i64", "usize"], returns: "i32" },
  lseek: { args: ["i32", "i64", "i32"], returns: "i64" },
  memcpy: { args: ["ptr", "i64", "usize"], returns: "void" },
});

const PROT_READ = 1;
const MAP_SHARED = 1;
const SEEK_END = 2;

/** Unit tests on Node have no foreign calls: there the file is read. */
const mappable = typeof Bun !== "undefined";

/**
 * Content is copied out, so that no view outlives the mapping, and the collector does not take the file for memory of ours. As with every
 * mapping, reading what another process has just cut off ends this one: tables are replaced by renaming, or changed under a lock.
 */
export class MappedFile {
  #address = 0;
  #size = 0;

  /** Nothing is mapped before it is read. The descriptor stays the caller's. */
  constructor(readonly fd: number) {}

  /** Bytes that can be read without asking for the size again. */
  get size(): number {
    return this.#size;
  }

  /** Takes note of the size that the file has now. */
  refresh(): void {
    const size = this.#currentSize();
    if (size === this.#size) return;
    this.close();
    if (size > 0 && mappable) {
      const address = Number(libc().mmap(null, size, PROT_READ, MAP_SHARED, this.fd, 0));
      if (address === -1) throw new SysError("mmap", errno(), `descriptor ${this.fd}`);
      this.#address = address;
    }
    this.#size = size;
  }

  #currentSize(): number {
    if (!mappable) return fstatSync(this.fd).size;
    // a call that makes no object; nobody reads at the file's own position
    return checked("lseek", `descriptor ${this.fd}`, Number(libc().lseek(this.fd, 0, SEEK_END)));
  }

  #reaches(end: number): boolean {
    // the file may have grown
    if (end > this.#size) this.refresh();
    return end <= this.#size;
  }

  /** Fills the first `length` bytes of `target` with what is at `position`; false when the file ends before. */
  copy(target: Buffer, position: number, length = target.length): boolean {
    if (!this.#reaches(position + length)) return false;
    if (!mappable) return readSync(this.fd, target, 0, length, position) === length;
    libc().memcpy(target, this.#address + position, length);
    return true;
  }

  /** The little-endian 32-bit number at `position`; undefined when the file ends before. */
  word(position: number): number | undefined {
    if (!mappable) {
      const bytes = Buffer.alloc(4);
      return this.copy(bytes, position) ? bytes.readUInt32LE(0) : undefined;
    }
    return this.#reaches(position + 4) ? ffi().read.u32(this.#address as Pointer, position) : undefined;
  }

  /** Lets go of the memory; the descriptor stays open. */
  close(): void {
    if (this.#address !== 0) checked("munmap", "", libc().munmap(this.#address, this.#size));
    this.#address = 0;
    this.#size = 0;
  }
}
