/** Case folding of table keys and match list subjects. */
import { decodeUtf8, encodeUtf8, isAscii, lowerAscii } from "../sys/bytes.ts";

/** Unicode full case folding (CaseFolding.txt, C + F) of one code point. The language has none: lower(upper(lower(c))) is it, but for two blocks. */
function foldCodePoint(char: string, code: number): string {
  if (code === 0x131) return char;
  if (code >= 0x13a0 && code <= 0x13f5) return char;
  if (code >= 0x13f8 && code <= 0x13fd) return String.fromCodePoint(code - 8);
  if (code >= 0xab70 && code <= 0xabbf) return String.fromCodePoint(code - 0xab70 + 0x13a0);
  return char.toLowerCase().toUpperCase().toLowerCase();
}

/** Folds a byte string: with `utf8` by Unicode full case folding where it holds valid UTF-8, else the ASCII letters alone. */
export function foldCase(text: string, utf8: boolean): string {
  if (!utf8 || isAscii(text)) return lowerAscii(text);
  const unicode = decodeUtf8(text);
  if (unicode === undefined) return lowerAscii(text);
  let folded = "";
  for (const char of unicode) folded += foldCodePoint(char, char.codePointAt(0) ?? 0);
  return encodeUtf8(folded);
}
