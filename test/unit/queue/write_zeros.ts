/** What fallocate() with FALLOC_FL_ZERO_RANGE and FALLOC_FL_KEEP_SIZE makes readers see, for tests that have no system calls. */
import { fstatSync, writeSync } from "node:fs";

export function writeZeros(fd: number, length: number): void {
  const size = Math.min(length, fstatSync(fd).size);
  writeSync(fd, Buffer.alloc(size), 0, size, 0);
}
