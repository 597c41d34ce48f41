/** Strict readers of numbers in text that comes from outside. */

const DECIMAL = /^[0-9]+$/;

/** An unsigned decimal number of digits only, at most `max` (default 2^53-1), else undefined. */
export function readDecimal(text: string, max: number = Number.MAX_SAFE_INTEGER): number | undefined {
  if (!DECIMAL.test(text) || text.length > 20) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) && value <= max ? value : undefined;
}

const OCTAL = /^[0-7]+$/;
/** An unsigned octal number of digits only, else undefined. */
export function readOctal(text: string): number | undefined {
  if (!OCTAL.test(text) || text.length > 17) return undefined;
  return Number.parseInt(text, 8);
}

const HEX = /^[0-9A-Fa-f]+$/;
/** An unsigned hexadecimal number of digits only, as bigint, at most 64 bits, else undefined. */
export function readHex(text: string): bigint | undefined {
  if (!HEX.test(text)) return undefined;
  const digits = text.replace(/^0+(?=.)/, "");
  return digits.length <= 16 ? BigInt(`0x${digits}`) : undefined;
}

const LEADING_INTEGER = /^[ \t\n\v\f\r]{0,64}([+-]?[0-9]{1,20})/;
/** What C atoi() makes of the text: leading white space, sign and digits; 0 when there are none; clamped to 32 bits. */
export function leadingInteger(text: string): number {
  const match = LEADING_INTEGER.exec(text);
  if (match === null) return 0;
  return Math.max(-2147483648, Math.min(2147483647, Number(match[1])));
}
