/** The source format of indexed tables (postmap(1)): `key whitespace value`. */
import { isSpaceCode, isValidUtf8, trimSpace } from "../sys/bytes.ts";

export type SourceLine =
  | { readonly kind: "record"; readonly key: string; readonly value: string; readonly problem?: string }
  | { readonly kind: "skip"; readonly problem: string };

/** One logical line. `problem` goes into a warning after `FILE, line N: `. */
export function parseSourceLine(whole: string, utf8: boolean): SourceLine {
  // for its other readers a line ends at a NUL byte
  const nul = whole.indexOf("\0");
  const line = nul < 0 ? whole : whole.slice(0, nul);
  if (utf8 && !isValidUtf8(line))
    return { kind: "skip", problem: `non-UTF-8 input "${line}" -- ignoring this line` };
  let quoted = false;
  let end = 0;
  for (; end < line.length; end++) {
    const code = line.charCodeAt(end);
    if (code === 0x5c) {
      if (end + 1 < line.length) end++;
    } else if (code === 0x22) quoted = !quoted;
    else if (!quoted && isSpaceCode(code)) break;
  }
  if (quoted) return { kind: "skip", problem: `unbalanced '"' in '${line}' -- ignoring this line` };
  const key = line.slice(0, end);
  const value = trimSpace(line.slice(end));
  if (key === "" || value === "") return { kind: "skip", problem: "expected format: key whitespace value" };
  if (key.endsWith(":"))
    return {
      kind: "record",
      key,
      value,
      problem: 'record is in "key: value" format; is this an alias file?',
    };
  return { kind: "record", key, value };
}
