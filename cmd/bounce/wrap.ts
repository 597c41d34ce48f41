/** Wrapping of reasons and diagnostics in notices. */

const WIDTH = 79;
const INDENT = 4;

const isBlank = (character: string): boolean => character === " " || character === "\t";

/** Breaks a line at blanks so that lines take at most 79 columns where words allow; continuation lines are indented by 4. */
export function wrapLine(text: string): string[] {
  const lines: string[] = [];
  let rest = text;
  for (let indent = 0; ; indent = INDENT) {
    const width = WIDTH - indent;
    const end = rest.length <= width ? rest.length : breakAt(rest, width);
    lines.push(" ".repeat(indent) + trimRight(rest.slice(0, end)));
    rest = trimLeft(rest.slice(end));
    if (rest === "") return lines;
  }
}

/** Index of the blank to break at: the last one that keeps the line within the width, else the next one. */
function breakAt(text: string, width: number): number {
  for (let at = width; at > 0; at--) if (isBlank(text.charAt(at))) return at;
  let at = width + 1;
  while (at < text.length && !isBlank(text.charAt(at))) at++;
  return at;
}

function trimRight(text: string): string {
  let end = text.length;
  while (end > 0 && isBlank(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}

function trimLeft(text: string): string {
  let start = 0;
  while (start < text.length && isBlank(text.charAt(start))) start++;
  return text.slice(start);
}
