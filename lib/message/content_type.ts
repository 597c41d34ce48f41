/** Parsing Content-Type and Content-Transfer-Encoding values (RFC 2045 5.1, 6.1). Linear, bounded. */
import { lowerAscii } from "../sys/bytes.ts";

export interface ContentToken {
  readonly kind: "word" | "special";
  readonly text: string;
}

const TOKEN_LIMIT = 1000;
const WORD_RUN = /[^\x00-\x20\x7f()<>@,;:\\"/[\]?=]+/y;
const QUOTED_RUN = /[^"\\]+/y;
const COMMENT_RUN = /[^()\\]+/y;

function runEnd(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}

/** Words (quoted strings unquoted) and specials; comments and white space are left out. */
export function contentTokens(text: string): ContentToken[] {
  const tokens: ContentToken[] = [];
  let at = 0;
  while (at < text.length && tokens.length < TOKEN_LIMIT) {
    const character = text.charAt(at);
    if (character <= " " || character === "\x7f") {
      at++;
    } else if (character === "(") {
      at = commentEnd(text, at);
    } else if (character === '"') {
      const parts: string[] = [];
      at++;
      for (;;) {
        const end = runEnd(QUOTED_RUN, text, at);
        parts.push(text.slice(at, end));
        const stop = text.charAt(end);
        at = end + 1;
        if (stop !== "\\") break;
        parts.push(text.charAt(at++));
      }
      tokens.push({ kind: "word", text: parts.join("") });
    } else {
      const end = runEnd(WORD_RUN, text, at);
      tokens.push(
        end > at ? { kind: "word", text: text.slice(at, end) } : { kind: "special", text: character },
      );
      at = Math.max(end, at + 1);
    }
  }
  return tokens;
}

function commentEnd(text: string, start: number): number {
  let depth = 0;
  let at = start;
  while (at < text.length) {
    at = runEnd(COMMENT_RUN, text, at);
    const stop = text.charAt(at++);
    if (stop === "(") depth++;
    else if (stop === "\\") at++;
    else if (stop === ")" && --depth === 0) break;
  }
  return at;
}

export type ContentKind = "text" | "message" | "multipart" | "other";
export type MessageSubtype = "rfc822" | "partial" | "external-body" | "global" | "other";

export interface ContentType {
  readonly kind: ContentKind;
  /** Lower case. */
  readonly subtype: string;
  /** Every `boundary=` parameter, in order. */
  readonly boundaries: ReadonlyArray<string>;
}

/** The type that a Content-Type value declares; undefined when it begins with no word. */
export function parseContentType(value: string): ContentType | undefined {
  const tokens = contentTokens(value);
  const [type, slash, subtypeToken] = tokens;
  if (type?.kind !== "word") return undefined;
  const hasSubtype = slash?.kind === "special" && slash.text === "/" && subtypeToken?.kind === "word";
  const name = lowerAscii(type.text);
  const kind: ContentKind = name === "text" || name === "message" || name === "multipart" ? name : "other";
  const boundaries: string[] = [];
  for (let i = 0; i + 3 < tokens.length; i++) {
    const [semicolon, attribute, equals, parameter] = tokens.slice(i, i + 4);
    if (
      semicolon?.text === ";" &&
      semicolon.kind === "special" &&
      equals?.text === "=" &&
      equals.kind === "special"
    )
      if (
        attribute?.kind === "word" &&
        lowerAscii(attribute.text) === "boundary" &&
        parameter?.kind === "word"
      )
        boundaries.push(parameter.text);
  }
  return { kind, subtype: hasSubtype ? lowerAscii(subtypeToken.text) : "", boundaries };
}

export type Encoding = "7bit" | "8bit" | "binary" | "base64" | "quoted-printable";
const ENCODINGS: ReadonlySet<string> = new Set(["7bit", "8bit", "binary", "base64", "quoted-printable"]);

/** The encoding that a Content-Transfer-Encoding value names; undefined for an unknown one. */
export function parseEncoding(value: string): Encoding | undefined {
  const [token] = contentTokens(value);
  const name = token?.kind === "word" ? lowerAscii(token.text) : "";
  return ENCODINGS.has(name) ? (name as Encoding) : undefined;
}
