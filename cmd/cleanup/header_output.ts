/** Headers into the queue file: one record a line, limited in size. */
import { LINE } from "../../lib/message/mime.ts";
import type { Message } from "./message.ts";

/** When so much of the limit is used, the rest of a header is dropped at a line end instead of in mid-line. */
const WHOLE_LINES_AT = 0.9;

/** Writes a header (lines joined by newline); continuation lines begin with white space, a TAB is put where there is none. */
export function putHeader(message: Message, header: string, sizeLimit: number): void {
  if (!header.includes("\n")) {
    message.putText(LINE, header.length <= sizeLimit ? header : header.slice(0, sizeLimit));
    return;
  }
  let start = 0;
  while (start <= header.length) {
    const newline = header.indexOf("\n", start);
    const end = newline < 0 ? header.length : newline;
    const last = end > sizeLimit;
    if (last && start > sizeLimit * WHOLE_LINES_AT) return;
    const line = header.slice(start, last ? sizeLimit : end);
    const first = line.charAt(0);
    message.putText(LINE, start === 0 || first === " " || first === "\t" ? line : `\t${line}`);
    if (last) return;
    start = end + 1;
  }
}
