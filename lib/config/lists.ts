/** Lists in parameter values: separators, braces, named masks. */
import { splitAny, trimSpace } from "../sys/bytes.ts";

/** Comma or white space. */
export const LIST_SEPARATORS = ", \t\r\n";
/** White space. */
export const BLANKS = " \t\r\n";

/** Elements of a plain list; there are no empty ones. */
export const splitList = (text: string, separators: string = LIST_SEPARATORS): string[] =>
  splitAny(text, separators);

/** Elements of a list in which separators inside `{}` do not count. Unbalanced braces stay in the element, for `unwrapBraces` to report. */
export function splitBraced(text: string, separators: string = LIST_SEPARATORS): string[] {
  if (!text.includes("{")) return splitAny(text, separators);
  const elements: string[] = [];
  let start = -1;
  let depth = 0;
  for (let index = 0; index < text.length; index++) {
    const character = text.charAt(index);
    if (depth === 0 && separators.includes(character)) {
      if (start >= 0) elements.push(text.slice(start, index));
      start = -1;
      continue;
    }
    if (start < 0) start = index;
    if (character === "{") depth++;
    else if (character === "}" && depth > 0) depth--;
  }
  if (start >= 0) elements.push(text.slice(start));
  return elements;
}

export type Unwrapped =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly problem: string };

/** The text inside `{ ... }`, trimmed. */
export function unwrapBraces(text: string): Unwrapped {
  if (!text.startsWith("{")) return { ok: false, problem: `no '{' at start of text in "${text}"` };
  let depth = 0;
  for (let index = 0; index < text.length; index++) {
    const character = text.charAt(index);
    if (character === "{") depth++;
    else if (character === "}" && --depth === 0) {
      if (trimSpace(text.slice(index + 1)) !== "")
        return { ok: false, problem: `syntax error after '}' in "${text}"` };
      return { ok: true, text: trimSpace(text.slice(1, index)) };
    }
  }
  return { ok: false, problem: `missing '}' in "${text}"` };
}

export type NamedSet<T extends string> =
  | { readonly ok: true; readonly names: ReadonlySet<T> }
  | { readonly ok: false; readonly problem: string };

/** The words of a parameter that takes names from a fixed set. */
export function parseNames<T extends string>(
  parameter: string,
  value: string,
  known: ReadonlyArray<T>,
  separators: string = LIST_SEPARATORS,
): NamedSet<T> {
  const names = new Set<T>();
  for (const word of splitAny(value, separators)) {
    const name = known.find((candidate) => candidate === word);
    if (name === undefined)
      return { ok: false, problem: `unknown ${parameter} value "${word}" in "${value}"` };
    names.add(name);
  }
  return { ok: true, names };
}
