/** Byte strings: JavaScript strings in which each character is one byte (docs/conventions.md). */

/** The byte string of a chunk of bytes. */
export const fromBytes = (bytes: Uint8Array): string =>
  (bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).toString(
    "latin1",
  );

/** The bytes of a byte string. */
export const toBytes = (text: string): Buffer => Buffer.from(text, "latin1");

/** The byte string that holds the UTF-8 encoding of a Unicode string (command line, environment, literals with non-ASCII text). */
export const encodeUtf8 = (unicode: string): string =>
  isAscii(unicode) ? unicode : Buffer.from(unicode, "utf8").toString("latin1");

/** The Unicode string of a byte string that holds valid UTF-8, else undefined. */
export function decodeUtf8(text: string): string | undefined {
  if (isAscii(text)) return text;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.from(text, "latin1"));
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

const NON_ASCII = /[^\x00-\x7f]/;
export const isAscii = (text: string): boolean => !NON_ASCII.test(text);

const NOT_FOLDED_ASCII = /[A-Z\x80-\xff]/;
/** ASCII without upper case letters: most keys of tables are. */
export const isFoldedAscii = (text: string): boolean => !NOT_FOLDED_ASCII.test(text);

export const isValidUtf8 = (text: string): boolean => decodeUtf8(text) !== undefined;

const HAS_UPPER = /[A-Z]/;
const HAS_LOWER = /[a-z]/;
const UPPER = /[A-Z]+/g;
const LOWER = /[a-z]+/g;
/** Lower case of the ASCII letters alone; other bytes, UTF-8 sequences included, stay. */
export const lowerAscii = (text: string): string => {
  if (!HAS_UPPER.test(text)) return text;
  return isAscii(text) ? text.toLowerCase() : text.replace(UPPER, (run) => run.toLowerCase());
};
export const upperAscii = (text: string): string => {
  if (!HAS_LOWER.test(text)) return text;
  return isAscii(text) ? text.toUpperCase() : text.replace(LOWER, (run) => run.toUpperCase());
};

/** ASCII case-insensitive equality (C strcasecmp() == 0 in the C locale). */
export const equalFold = (a: string, b: string): boolean =>
  a === b || (a.length === b.length && lowerAscii(a) === lowerAscii(b));

/** isspace() of the C locale, for a character code. */
export const isSpaceCode = (code: number): boolean => code === 0x20 || (code >= 0x09 && code <= 0x0d);
export const isDigitCode = (code: number): boolean => code >= 0x30 && code <= 0x39;
export const isAlphaCode = (code: number): boolean => {
  const folded = code | 0x20;
  return folded >= 0x61 && folded <= 0x7a;
};
export const isAlnumCode = (code: number): boolean => isDigitCode(code) || isAlphaCode(code);
/** isprint() of the C locale: 0x20..0x7e. */
export const isPrintCode = (code: number): boolean => code >= 0x20 && code <= 0x7e;

/** The text without leading C-locale white space. */
export function trimStartSpace(text: string): string {
  let start = 0;
  while (start < text.length && isSpaceCode(text.charCodeAt(start))) start++;
  return start === 0 ? text : text.slice(start);
}

/** The text without trailing C-locale white space. */
export function trimEndSpace(text: string): string {
  let end = text.length;
  while (end > 0 && isSpaceCode(text.charCodeAt(end - 1))) end--;
  return end === text.length ? text : text.slice(0, end);
}

/** The text without leading and trailing C-locale white space. */
export const trimSpace = (text: string): string => trimStartSpace(trimEndSpace(text));

/** Splits at runs of any of the separator characters; no empty elements (C strtok). */
export function splitAny(text: string, separators: string): string[] {
  const words: string[] = [];
  let start = -1;
  for (let i = 0; i < text.length; i++) {
    if (separators.includes(text.charAt(i))) {
      if (start >= 0) words.push(text.slice(start, i));
      start = -1;
    } else if (start < 0) start = i;
  }
  if (start >= 0) words.push(text.slice(start));
  return words;
}

/** Bytes outside printable ASCII become `?`; with `utf8` valid UTF-8 sequences pass and only ASCII controls and invalid bytes are replaced. */
export function printable(text: string, utf8 = false, replacement = "?"): string {
  if (isCleanAscii(text)) return text;
  let out = "";
  for (let i = 0; i < text.length; ) {
    const code = text.charCodeAt(i);
    if (isPrintCode(code)) {
      out += text.charAt(i++);
      continue;
    }
    const length = utf8 && code >= 0x80 ? utf8SequenceLength(text, i) : 0;
    if (length > 0) {
      out += text.slice(i, i + length);
      i += length;
    } else {
      out += replacement;
      i++;
    }
  }
  return out;
}

const UNCLEAN = /[^ -~]/;
const isCleanAscii = (text: string): boolean => !UNCLEAN.test(text);

/** Length of the valid multi-byte UTF-8 sequence at `index` (no overlong forms, surrogates or values above U+10FFFF), else 0. RFC 3629. */
export function utf8SequenceLength(text: string, index: number): number {
  const lead = text.charCodeAt(index);
  const second = text.charCodeAt(index + 1);
  const continuation = (at: number): boolean => (text.charCodeAt(at) & 0xc0) === 0x80 && at < text.length;
  if (lead >= 0xc2 && lead <= 0xdf) return continuation(index + 1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    if (!continuation(index + 1) || !continuation(index + 2)) return 0;
    if (lead === 0xe0 && second < 0xa0) return 0;
    if (lead === 0xed && second > 0x9f) return 0;
    return 3;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    if (!continuation(index + 1) || !continuation(index + 2) || !continuation(index + 3)) return 0;
    if (lead === 0xf0 && second < 0x90) return 0;
    if (lead === 0xf4 && second > 0x8f) return 0;
    return 4;
  }
  return 0;
}

/** A path for node:fs: the string itself when it is ASCII, else its bytes. */
export const pathOf = (path: string): string | Buffer => (isAscii(path) ? path : toBytes(path));
