/** Whether a table's source is for postmap or for postalias. */

import { logicalLines } from "../../lib/config/lines.ts";
import { fromBytes, pathOf } from "../../lib/sys/bytes.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { closeSync, constants, fstatSync, openSync, readSync } from "../../lib/sys/fs.ts";
import { parseSourceLine } from "../../lib/tables/source.ts";

export type Format =
  | { readonly ok: true; readonly program: "postmap" | "postalias" }
  | { readonly ok: false; readonly reason: string };

/** Lines that are looked at. */
const SAMPLE = 10;
/** Bytes of the file that are read for them. */
const READ_LIMIT = 1 << 20;

/** Looks at the beginning of a file; why it cannot be read otherwise. */
export function guessFormat(path: string): Format {
  let fd: number | undefined;
  try {
    // a FIFO would make us wait for its writer
    fd = openSync(pathOf(path), constants.O_RDONLY | constants.O_NONBLOCK);
    if (!fstatSync(fd).isFile()) return { ok: false, reason: "not a regular file" };
    const buffer = Buffer.alloc(READ_LIMIT);
    const length = readSync(fd, buffer, 0, READ_LIMIT, 0);
    return { ok: true, program: formatOf(fromBytes(buffer.subarray(0, length))) };
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return { ok: false, reason: errorText(error) };
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** `name: value`, where the name may be quoted. */
const ALIAS = /^(?:"(?:[^"\\]|\\.)*"|(?:[^ \t\n\v\f\r":\\]|\\.)+)[ \t\n\v\f\r]*:[ \t\n\v\f\r]*[^ \t\n\v\f\r]/;

/** postalias when more lines are `name: value` than `key value`. */
export function formatOf(text: string): "postmap" | "postalias" {
  let aliases = 0;
  let entries = 0;
  let scored = 0;
  for (const { text: line } of logicalLines(text, "").lines) {
    const parsed = parseSourceLine(line, false);
    const isEntry = parsed.kind === "record" && parsed.problem === undefined;
    const isAlias = ALIAS.test(line);
    if (isEntry) entries++;
    if (isAlias) aliases++;
    if ((isEntry || isAlias) && ++scored === SAMPLE) break;
  }
  return aliases > entries ? "postalias" : "postmap";
}
