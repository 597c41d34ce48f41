/** fallocate(2): a file reads as zeros without being written. */
import { checked, library } from "./ffi.ts";

const libc = library(["libc.so.6", "libc.so"], {
  fallocate: { args: ["i32", "i32", "i64", "i64"], returns: "i32" },
});

const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_ZERO_RANGE = 0x10;

/** Gives the first `length` bytes, whole blocks, the content zero; the size stays. Throws SysError: not every file system can. */
export function zeroRange(fd: number, length: number): void {
  const mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
  checked("fallocate", String(fd), libc().fallocate(fd, mode, 0, length));
}
