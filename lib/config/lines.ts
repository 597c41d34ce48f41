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
  let parts: string[] = [];
  let first = 0;
  let last = 0;
  const finish = (): void => {
    if (parts.length === 0) return;
    const whole: LogicalLine = {
      text: parts.length === 1 ? (parts[0] ?? "") : parts.join(""),
      line: first,
      lastLine: last,
    };
    parts = [];
    if (isSpaceCode(whole.text.charCodeAt(0))) {
      const shown = whole.text.length > 30 ? `${whole.text.slice(0, 30)}...` : whole.text;
      warnings.push(`${path}: logical line must not start with whitespace: "${shown}"`);
      return;
    }
    const end = whole.text.indexOf("\0");
    if (end >= 0) warnings.push(`${path}, ${lineRange(whole)}: text after null byte may be ignored`);
    lines.push(end < 0 ? whole : { ...whole, text: whole.text.slice(0, end) });
  };
  let number = 0;
  for (let position = 0; position < text.length; ) {
    const newline = text.indexOf("\n", position);
    const end = newline < 0 ? text.length : newline;
    const physical = text.slice(position, end);
    position = end + 1;
    number++;
    const kind = kindOf(physical);
    if (kind === "ignored") continue;
    if (kind === "start") finish();
    if (parts.length === 0) first = number;
    last = number;
    parts.push(physical);
  }
  finish();
  return { lines, warnings };
}
