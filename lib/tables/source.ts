/** The source format of indexed tables (postmap(1)): `key whitespace value`. */
import { isSpaceCode, isValidUtf8, trimSpace } from "../sys/bytes.ts";

export type SourceLine =
  | { readonly kind: "record"; readonly key: string; readonly value: string; readonly problem?: string }
  | { readonly kind: "skip"; readonly problem: string };

/** A record of printable ASCII that stands in a source. */
export interface PlainRecord {
  readonly bytes: Buffer;
  readonly keyStart: number;
  readonly keyEnd: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

const SPACE = 0x20;
const TAB = 0x09;
const NEWLINE = 0x0a;
const QUOTE = 0x22;
const HASH = 0x23;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const LAST_PRINTABLE = 0x7e;

/**
 * Finds the records of plain lines, which nearly all lines of a big source are: printable ASCII, nothing quoted in the key, and the whole record.
 * parseSourceLine() says the same of them, in five times the time.
 */
export class PlainLine implements PlainRecord {
  keyStart = 0;
  keyEnd = 0;
  valueStart = 0;
  valueEnd = 0;
  /** Where the next line begins. */
  next = 0;

  constructor(readonly bytes: Buffer) {}

  /** Whether a plain line is at `start`, where a logical line begins; the places are then those of its record. */
  read(start: number): boolean {
    const { bytes } = this;
    const code = (place: number): number => (place < bytes.length ? (bytes[place] as number) : NEWLINE);
    if (code(start) === HASH) return false;
    let at = start;
    while (code(at) > SPACE && code(at) <= LAST_PRINTABLE && code(at) !== QUOTE && code(at) !== BACKSLASH)
      at++;
    this.keyStart = start;
    this.keyEnd = at;
    while (code(at) === SPACE || code(at) === TAB) at++;
    this.valueStart = at;
    this.valueEnd = at;
    for (; code(at) === TAB || (code(at) >= SPACE && code(at) <= LAST_PRINTABLE); at++)
      if (code(at) > SPACE) this.valueEnd = at + 1;
    this.next = at + 1;
    const { keyEnd, valueStart, valueEnd, next } = this;
    if (keyEnd === start || code(keyEnd - 1) === COLON || valueStart === keyEnd || valueEnd === valueStart)
      return false;
    // what comes next may belong to this line, or stand before what does
    return code(at) === NEWLINE && (next >= bytes.length || (code(next) > SPACE && code(next) !== HASH));
  }
}

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
