/** `$1`, `${1}` and `$(1)` in the results of regexp and pcre rules. */
import { isAlnumCode } from "../sys/bytes.ts";

/** Literal text and group numbers, in order. */
export type Replacement = ReadonlyArray<string | number>;

export type ReplacementResult =
  | { readonly ok: true; readonly parts: Replacement; readonly highest: number }
  /** `scan`: the text has a broken `$` expression; `index`: a group that cannot be. */
  | { readonly ok: false; readonly kind: "scan" | "index"; readonly problem: string };

const DIGITS = /^[0-9]{1,6}$/;

/** Parses a result text; `outOfRange` is how the table type says that `$0` does not exist. */
export function parseReplacement(text: string, outOfRange: string): ReplacementResult {
  const parts: Array<string | number> = [];
  let literal = "";
  let highest = 0;
  for (let i = 0; i < text.length; ) {
    const dollar = text.indexOf("$", i);
    if (dollar < 0) {
      literal += text.slice(i);
      break;
    }
    literal += text.slice(i, dollar);
    const next = text.charAt(dollar + 1);
    if (next === "$") {
      literal += "$";
      i = dollar + 2;
      continue;
    }
    const name = groupName(text, dollar + 1);
    if (name === undefined)
      return { ok: false, kind: "scan", problem: `truncated macro reference: "${text}"` };
    if (name.text === "") return { ok: false, kind: "scan", problem: `empty macro name: "${text}"` };
    if (!DIGITS.test(name.text))
      return { ok: false, kind: "index", problem: `non-numeric replacement index "${name.text}"` };
    const index = Number(name.text);
    if (index < 1)
      return { ok: false, kind: "index", problem: `${outOfRange} replacement index "${name.text}"` };
    if (literal !== "") parts.push(literal);
    literal = "";
    parts.push(index);
    highest = Math.max(highest, index);
    i = name.end;
  }
  if (literal !== "") parts.push(literal);
  return { ok: true, parts, highest };
}

function groupName(text: string, start: number): { text: string; end: number } | undefined {
  const open = text.charAt(start);
  if (open === "{" || open === "(") {
    const close = text.indexOf(open === "{" ? "}" : ")", start);
    return close < 0 ? undefined : { text: text.slice(start + 1, close), end: close + 1 };
  }
  let end = start;
  while (end < text.length && (isAlnumCode(text.charCodeAt(end)) || text.charAt(end) === "_")) end++;
  return { text: text.slice(start, end), end };
}

/** The text of a result; `group` gives the text of a group, empty when it did not match. */
export function expandReplacement(parts: Replacement, group: (index: number) => string): string {
  const [only] = parts;
  if (parts.length === 1 && typeof only === "string") return only;
  let text = "";
  for (const part of parts) text += typeof part === "string" ? part : group(part);
  return text;
}
