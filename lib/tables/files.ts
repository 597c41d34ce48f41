/** The contents of the files that a value lists (flag src_rhs_is_file), as a table holds them. */

import { splitList } from "../config/lists.ts";
import { pathOf } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { readFileSync } from "../sys/fs.ts";

export type EncodedFiles =
  | { readonly ok: true; readonly base64: string }
  | { readonly ok: false; readonly problem: string };

/** Beyond this no certificate chain goes. */
const SIZE_LIMIT = 0x7fffffff / 2;

/** The contents of comma or blank separated files, with a newline between them, as base64. */
export function encodeFiles(list: string): EncodedFiles {
  const names = splitList(list);
  if (names.length === 0) return { ok: false, problem: `empty pathname list: >>${list}<<'` };
  const contents: Buffer[] = [];
  let size = 0;
  for (const name of names) {
    let content: Buffer;
    try {
      content = readFileSync(pathOf(name));
    } catch (failure) {
      const code = errorCode(failure);
      if (code === undefined) throw failure;
      return { ok: false, problem: `${code === "EISDIR" ? "read" : "open"} ${name}: ${errorText(failure)}` };
    }
    size += content.length;
    if (size > SIZE_LIMIT) return { ok: false, problem: `file too large: ${name}` };
    if (contents.length > 0) contents.push(Buffer.from("\n"));
    contents.push(content);
  }
  return { ok: true, base64: Buffer.concat(contents).toString("base64") };
}
