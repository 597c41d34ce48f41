/** The From header that cleanup adds, with the sender's full name in RFC 5322 or RFC 2047 form. */
import { isAscii, trimSpace, utf8SequenceLength } from "../../lib/sys/bytes.ts";

export interface FromOptions {
  readonly format: "standard" | "obsolete";
  readonly charset: string;
}

const SPECIAL = /[%!()<>@,;:\\".[\]]/;

/** `From: ...`; lines joined by newline where it is folded. `address` is in external form. */
export function fromHeader(address: string, fullName: string, options: FromOptions): string {
  const name = trimSpace(fullName.replace(/[\x00-\x1f\x7f]/g, " ")).replace(/ +/g, " ");
  if (name === "") return `From: ${address}`;
  if (options.format === "obsolete") {
    const comment = isAscii(name) ? commentText(name) : encodedWords(name, options.charset, COMMENT_SPECIALS);
    return `From: ${address}\n(${comment})`;
  }
  const phrase = isAscii(name) ? phraseText(name) : encodedWords(name, options.charset, PHRASE_SPECIALS);
  return `From: ${phrase}\n<${address}>`;
}

function phraseText(name: string): string {
  return SPECIAL.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
}

/** Parentheses balanced, no backslash at the end. */
function commentText(name: string): string {
  const parts: string[] = [];
  let depth = 0;
  for (let at = 0; at < name.length; at++) {
    const character = name.charAt(at);
    if (character === "\\") {
      if (at + 1 < name.length) parts.push(character, name.charAt(++at));
      continue;
    }
    if (character === "(") depth++;
    else if (character === ")") {
      if (depth === 0) continue;
      depth--;
    }
    parts.push(character);
  }
  return parts.join("") + ")".repeat(depth);
}

const PHRASE_SPECIALS = new Set("()<>@,;:\\\".[]#$%&'^`{|}~/");
const COMMENT_SPECIALS = new Set("()\\");
const WORD_LIMIT = 75;
const BASE64_FROM = 20;

/** RFC 2047 encoded words: Q, or B when much of a long text needs encoding. */
function encodedWords(text: string, charset: string, specials: ReadonlySet<string>): string {
  const needed = [...text].filter((character) => needsEncoding(character, specials)).length;
  const base64 = text.length >= BASE64_FROM && needed * 2 >= text.length;
  const frame = `=?${charset}?${base64 ? "B" : "Q"}?`.length + 2;
  const room = Math.max(WORD_LIMIT - frame, 12);
  const words: string[] = [];
  let raw = "";
  let size = 0;
  const finish = (): void => {
    if (raw === "") return;
    const body = base64 ? Buffer.from(raw, "latin1").toString("base64") : quote(raw, specials);
    words.push(`=?${charset}?${base64 ? "B" : "Q"}?${body}?=`);
    raw = "";
    size = 0;
  };
  for (let at = 0; at < text.length; ) {
    const length = Math.max(1, utf8SequenceLength(text, at));
    const character = text.slice(at, at + length);
    const added = base64 ? length : quote(character, specials).length;
    const total = base64 ? Math.ceil((size + added) / 3) * 4 : size + added;
    if (total > room) finish();
    raw += character;
    size += added;
    at += length;
  }
  finish();
  return words.join("\n");
}

const needsEncoding = (character: string, specials: ReadonlySet<string>): boolean =>
  character < " " ||
  character > "~" ||
  character === "=" ||
  character === "?" ||
  character === "_" ||
  specials.has(character);

const quote = (text: string, specials: ReadonlySet<string>): string =>
  Array.from(text, (character) => {
    if (character === " ") return "_";
    if (!needsEncoding(character, specials)) return character;
    return `=${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
  }).join("");
