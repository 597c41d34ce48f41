/** xtext (RFC 3461 section 4) and utf-8-addr-xtext (RFC 6533 section 3), on byte strings. */
import { encodeUtf8 } from "../sys/bytes.ts";

const ENCODE = /[^!-*,-<>-~]/g;

const hexByte = (code: number): string => `+${(code < 16 ? "0" : "") + code.toString(16).toUpperCase()}`;

/** Every byte outside `!`..`~`, and `+` and `=`, becomes `+HH`. */
export const encodeXtext = (text: string): string =>
  text.replace(ENCODE, (char) => hexByte(char.charCodeAt(0)));

const hexValue = (code: number): number => {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const folded = code | 0x20;
  return folded >= 0x61 && folded <= 0x66 ? folded - 0x57 : -1;
};

/** The decoded text, undefined where `+` is not followed by two hexadecimal digits. */
export function decodeXtext(text: string): string | undefined {
  let plus = text.indexOf("+");
  if (plus < 0) return text;
  let out = "";
  let from = 0;
  while (plus >= 0) {
    const high = hexValue(text.charCodeAt(plus + 1));
    const low = hexValue(text.charCodeAt(plus + 2));
    if (high < 0 || low < 0) return undefined;
    out += text.slice(from, plus) + String.fromCharCode(high * 16 + low);
    from = plus + 3;
    plus = text.indexOf("+", from);
  }
  return out + text.slice(from);
}

const UTF8_ESCAPE = /\\x\{([0-9A-Fa-f]{0,8})(\}?)/g;

/** Decodes `\x{HEX}` escapes into UTF-8; other backslashes stay. Undefined for NUL, a surrogate, a value above U+10FFFF or an escape without its end. */
export function decodeUtf8Xtext(text: string): string | undefined {
  if (!text.includes("\\")) return text;
  let good = true;
  const decoded = text.replace(UTF8_ESCAPE, (_escape, digits: string, end: string) => {
    const point = Number.parseInt(digits === "" ? "0" : digits, 16);
    if (end !== "" && point !== 0 && point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff))
      return encodeUtf8(String.fromCodePoint(point));
    good = false;
    return "";
  });
  return good ? decoded : undefined;
}
