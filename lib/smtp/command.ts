/** SMTP command lines: the tokenizer and the ESMTP parameters. RFC 5321 section 4.1, with Postfix's leniency (smtpd.md 3.1). */
import { isSpaceCode, upperAscii } from "../sys/bytes.ts";

export interface Token {
  readonly text: string;
  /** A quote or angle bracket of the token is never closed. */
  readonly unbalanced: boolean;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LESS = 0x3c;
const GREATER = 0x3e;

/** Splits a command line at white space; quoted strings and <...> keep theirs. `FROM:` and `TO:` at the head of the second token stand alone. */
export function tokenize(line: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  for (;;) {
    while (at < line.length && isSpaceCode(line.charCodeAt(at))) at++;
    if (at >= line.length) return tokens;
    if (tokens.length === 1) {
      const keyword = keywordLength(line, at);
      if (keyword > 0) {
        tokens.push({ text: line.slice(at, at + keyword), unbalanced: false });
        at += keyword;
        continue;
      }
    }
    const end = tokenEnd(line, at);
    tokens.push({ text: line.slice(at, Math.abs(end)), unbalanced: end < 0 });
    at = Math.abs(end);
  }
}

/** Length of `FROM:` or `TO:` at this place, else 0. */
function keywordLength(line: string, at: number): number {
  if (line[at + 4] === ":" && upperAscii(line.slice(at, at + 4)) === "FROM") return 5;
  return line[at + 2] === ":" && upperAscii(line.slice(at, at + 2)) === "TO" ? 3 : 0;
}

/** Index behind the token; negative when something in it is not closed. */
function tokenEnd(line: string, start: number): number {
  let inQuote = false;
  let inAngle = false;
  let at = start;
  for (; at < line.length; at++) {
    const code = line.charCodeAt(at);
    if (inQuote) {
      if (code === BACKSLASH) at++;
      else if (code === QUOTE) inQuote = false;
    } else if (code === QUOTE) inQuote = true;
    else if (inAngle) {
      if (code === BACKSLASH) at++;
      else if (code === GREATER) inAngle = false;
    } else if (code === LESS) inAngle = true;
    else if (isSpaceCode(code)) return at;
  }
  return inQuote || inAngle ? -line.length : line.length;
}

export interface Parameter {
  /** The word as typed. */
  readonly word: string;
  /** Upper-case name. */
  readonly name: string;
  /** Text behind `=`, undefined without one. */
  readonly value: string | undefined;
}

/** RFC 5321 section 4.1.2, esmtp-param. */
export function parseParameter(word: string): Parameter {
  const equals = word.indexOf("=");
  return equals < 0
    ? { word, name: upperAscii(word), value: undefined }
    : { word, name: upperAscii(word.slice(0, equals)), value: word.slice(equals + 1) };
}

export type SizeValue = { kind: "size"; size: number } | { kind: "syntax" } | { kind: "overflow" };

const OFF_T_MAX = 9223372036854775807n;

/** An unsigned decimal number as C's off_t reads it; values above 2^53 are rounded, which only a comparison with a smaller limit sees. */
export function parseSize(text: string): SizeValue {
  if (text.length === 0 || /[^0-9]/.test(text)) return { kind: "syntax" };
  const digits = text.replace(/^0+(?=.)/, "");
  if (digits.length > 19 || BigInt(digits) > OFF_T_MAX) return { kind: "overflow" };
  return { kind: "size", size: Number(digits) };
}

export type BdatCommand = { readonly size: number; readonly last: boolean };

/** `BDAT count [LAST]`, undefined when malformed. RFC 3030 section 2. */
export function parseBdat(tokens: readonly Token[]): BdatCommand | undefined {
  if (tokens.length < 2 || tokens.length > 3) return undefined;
  const size = parseSize(tokens[1]?.text ?? "");
  if (size.kind !== "size") return undefined;
  const last = tokens[2];
  if (last !== undefined && upperAscii(last.text) !== "LAST") return undefined;
  return { size: size.size, last: last !== undefined };
}
