/** Logical lines: the shape of main.cf, master.cf and every table source file. */
import { isSpaceCode } from "../sys/bytes.ts";

export interface LogicalLine {
  /** Continuation lines appended as they are, without the newlines. */
  readonly text: string;
  /** Number of the first physical line, from 1. */
  readonly line: number;
  /** Number of the last physical line. */
  readonly lastLine: number;
}

export interface LogicalLines {
  readonly lines: ReadonlyArray<LogicalLine>;
  /** Warnings, complete with the file name. */
  readonly warnings: ReadonlyArray<string>;
}

/** Where `line N` or `line N-M` of a logical line is. */
export const lineRange = (line: LogicalLine): string =>
  line.line === line.lastLine ? `line ${line.line}` : `line ${line.line}-${line.lastLine}`;

type PhysicalKind = "ignored" | "start" | "continuation";

function kindOf(text: string): PhysicalKind {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (isSpaceCode(code)) continue;
    if (code === 0x23) return "ignored";
    return index === 0 ? "start" : "continuation";
  }
  return "ignored";
}

export function logicalLines(text: string, path: string): LogicalLines {
  const lines: LogicalLine[] = [];
  const warnings: string[] = [];
  const reader = new LogicalLineReader(text, path, (problem) => warnings.push(problem));
  for (let line = reader.next(); line !== undefined; line = reader.next()) lines.push(line);
  return { lines, warnings };
}

/** Reads a text line by line: it may have millions of them. `warn` gets what is wrong, complete with the file name. */
export class LogicalLineReader {
  /** Where what was not read yet begins. */
  position = 0;
  /** Physical lines before it. */
  #number = 0;

  constructor(
    private readonly text: string,
    private readonly path: string,
    private readonly warn: (problem: string) => void,
  ) {}

  /** Passes over one physical line, up to `position`, that somebody else has read. */
  skipTo(position: number): void {
    this.position = position;
    this.#number++;
  }

  /** The next logical line. */
  next(): LogicalLine | undefined {
    for (;;) {
      const whole = this.#whole();
      const line = whole === undefined ? undefined : checkedLine(whole, this.path, this.warn);
      if (whole === undefined || line !== undefined) return line;
    }
  }

  #whole(): LogicalLine | undefined {
    let whole: LogicalLine | undefined;
    while (this.position < this.text.length) {
      const newline = this.text.indexOf("\n", this.position);
      const end = newline < 0 ? this.text.length : newline;
      const physical = this.text.slice(this.position, end);
      const kind = kindOf(physical);
      if (kind === "start" && whole !== undefined) break;
      this.skipTo(end + 1);
      if (kind === "ignored") continue;
      const { text, line } = whole ?? { text: "", line: this.#number };
      whole = { text: text + physical, line, lastLine: this.#number };
    }
    return whole;
  }
}

/** The line up to its first NUL; undefined when it begins with white space. */
function checkedLine(
  whole: LogicalLine,
  path: string,
  warn: (problem: string) => void,
): LogicalLine | undefined {
  const { text } = whole;
  if (isSpaceCode(text.charCodeAt(0))) {
    const shown = text.length > 30 ? `${text.slice(0, 30)}...` : text;
    warn(`${path}: logical line must not start with whitespace: "${shown}"`);
    return undefined;
  }
  const end = text.indexOf("\0");
  if (end < 0) return whole;
  warn(`${path}, ${lineRange(whole)}: text after null byte may be ignored`);
  return { ...whole, text: text.slice(0, end) };
}
