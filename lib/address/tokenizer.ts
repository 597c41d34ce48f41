/** RFC 822 tokens as trivial-rewrite and cleanup see them: external form to a flat list. Linear in the input. */

export type WordKind = "atom" | "quoted" | "literal" | "comment";

export interface Word {
  readonly kind: WordKind;
  /** Without quotes, brackets and backslashes; a comment keeps its parentheses and backslashes. */
  readonly text: string;
}

export interface Operator {
  readonly kind: "operator";
  /** One character. The colon that starts a group is `groupColon`. */
  readonly text: string;
}

export type Token = Word | Operator;

/** RFC 822 specials. */
export const SPECIALS = '()<>@,;:\\".[]';
const OPERATORS = `|%!${SPECIALS}`;

const OPERATOR_TOKENS: ReadonlyMap<string, Operator> = new Map(
  [...OPERATORS].map((text) => [text, { kind: "operator", text }]),
);
/** The shared token of an operator character. */
export function operator(text: string): Operator {
  return OPERATOR_TOKENS.get(text) ?? { kind: "operator", text };
}

export const isOperator = (
  token: { readonly kind: string; readonly text?: string } | undefined,
  text: string,
): boolean => token !== undefined && token.kind === "operator" && token.text === text;

export const atom = (text: string): Word => ({ kind: "atom", text });
export const quoted = (text: string): Word => ({ kind: "quoted", text });

const BLANKS = /[ \t\r\n]*/y;
const ATOM_RUN = /[^ \t\r\n|%!()<>@,;:\\".[\]]+/y;
const QUOTED_RUN = /[^"\\\t\r\n]+/y;
const LITERAL_RUN = /[^\]\\\t\r\n]+/y;
const COMMENT_RUN = /[^()\\]+/y;
/** What cannot stand in an atom: SP, controls, operators. */
const NOT_ATOM = /[\x00-\x20\x7f|%!()<>@,;:\\".[\]]/;

/** The end of the run at `index`. */
function runEnd(pattern: RegExp, text: string, index: number): number {
  pattern.lastIndex = index;
  return pattern.test(text) ? pattern.lastIndex : index;
}

/** Splits external-form text into at most `limit` tokens; the rest of the text is dropped. */
export function tokenize(text: string, limit: number = Number.POSITIVE_INFINITY): Token[] {
  const tokens: Token[] = [];
  let at = runEnd(BLANKS, text, 0);
  while (at < text.length && tokens.length < limit) {
    const first = text.charAt(at);
    switch (first) {
      case "(":
        at = comment(text, at, tokens);
        break;
      case "[":
        at = delimited(text, at + 1, "]", LITERAL_RUN, "literal", tokens);
        break;
      case '"':
        at = delimited(text, at + 1, '"', QUOTED_RUN, "quoted", tokens);
        break;
      default: {
        const known = first === "\\" ? undefined : OPERATOR_TOKENS.get(first);
        if (known === undefined) at = word(text, at, tokens);
        else {
          tokens.push(known);
          at++;
        }
      }
    }
    at = runEnd(BLANKS, text, at);
  }
  return tokens;
}

function word(text: string, start: number, tokens: Token[]): number {
  let at = runEnd(ATOM_RUN, text, start);
  if (text.charAt(at) !== "\\") {
    const value = text.slice(start, at);
    tokens.push({ kind: NOT_ATOM.test(value) ? "quoted" : "atom", text: value });
    return at;
  }
  const parts = [text.slice(start, at)];
  while (text.charAt(at) === "\\") {
    parts.push(text.charAt(at + 1));
    const next = runEnd(ATOM_RUN, text, at + 2);
    parts.push(text.slice(at + 2, next));
    at = Math.min(next, text.length);
  }
  const value = parts.join("").replace(/[\t\r\n]/g, " ");
  tokens.push({ kind: NOT_ATOM.test(value) ? "quoted" : "atom", text: value });
  return at;
}

function delimited(
  text: string,
  start: number,
  end: string,
  run: RegExp,
  kind: "literal" | "quoted",
  tokens: Token[],
): number {
  const parts: string[] = [];
  let at = start;
  while (at < text.length) {
    const next = runEnd(run, text, at);
    if (next > at) parts.push(text.slice(at, next));
    const stop = text.charAt(next);
    at = next + 1;
    if (stop === end || stop === "") break;
    if (stop === "\\") parts.push(text.charAt(at++));
    else parts.push(" ");
  }
  tokens.push({ kind, text: parts.join("").replace(/[\t\r\n]/g, " ") });
  return Math.min(at, text.length);
}

function comment(text: string, start: number, tokens: Token[]): number {
  let depth = 0;
  let at = start;
  while (at < text.length) {
    at = runEnd(COMMENT_RUN, text, at);
    const stop = text.charAt(at++);
    if (stop === "(") depth++;
    else if (stop === "\\") at++;
    else if (stop === ")" && --depth === 0) break;
  }
  at = Math.min(at, text.length);
  tokens.push({ kind: "comment", text: text.slice(start, at) });
  return at;
}
