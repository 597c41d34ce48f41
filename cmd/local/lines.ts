/** Lines of a file of addresses, read in pieces: nobody's file is held in memory as a whole. */
import { readSync } from "../../lib/sys/fs.ts";

const CHUNK = 16 * 1024;
/** Longer lines are cut. */
const LINE_LIMIT = 1024 * 1024;

/** Lines without comments; synchronous reading, from a descriptor opened with the reader's rights. */
export function* addressLines(fd: number): Generator<string> {
  const chunk = Buffer.allocUnsafe(CHUNK);
  let pieces: string[] = [];
  let length = 0;
  const take = (): string | undefined => {
    const line = pieces.join("");
    pieces = [];
    length = 0;
    return line.startsWith("#") ? undefined : line;
  };
  const add = (start: number, end: number): void => {
    if (end === start || length >= LINE_LIMIT) return;
    pieces.push(chunk.toString("latin1", start, end));
    length += end - start;
  };
  for (;;) {
    const count = readSync(fd, chunk, 0, CHUNK, null);
    if (count === 0) break;
    let start = 0;
    while (start < count) {
      const newline = chunk.indexOf(0x0a, start);
      const end = newline < 0 || newline >= count ? -1 : newline;
      add(start, end < 0 ? count : end);
      if (end < 0) break;
      const line = take();
      if (line !== undefined) yield line;
      start = end + 1;
    }
  }
  const last = take();
  if (last !== undefined && last !== "") yield last;
}
