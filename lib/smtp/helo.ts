/** Text of a client that is written into headers, logs and protocols. */
import { printable } from "../sys/bytes.ts";

const HARMFUL = /[ <>()\\";@]/g;

/** A HELO name with everything that could break a comment, an address or a record replaced by `?`. */
export const neuter = (text: string, utf8 = false): string => printable(text, utf8).replace(HARMFUL, "?");

/** Text inside a header comment: parentheses that do not pair, backslashes, quotes and controls become `?`. RFC 5322 section 3.2.2. */
export function commentText(text: string): string {
  const clean = printable(text).replace(/[\\"]/g, "?");
  let depth = 0;
  let out = "";
  const openAt: number[] = [];
  for (const char of clean) {
    if (char === "(") {
      openAt.push(out.length);
      depth++;
    } else if (char === ")") {
      if (depth === 0) {
        out += "?";
        continue;
      }
      depth--;
      openAt.pop();
    }
    out += char;
  }
  if (depth === 0) return out;
  const chars = [...out];
  for (const at of openAt) chars[at] = "?";
  return chars.join("");
}
