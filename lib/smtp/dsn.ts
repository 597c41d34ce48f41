/** Enhanced status codes (RFC 3463) and the parameters of the DSN extension (RFC 3461). */
import { warning } from "../log/log.ts";
import { isDigitCode, lowerAscii, upperAscii } from "../sys/bytes.ts";
import { decodeUtf8Xtext, decodeXtext } from "./xtext.ts";

/** Length of the enhanced status code at the head of the text (`d.ddd.ddd` with class 2, 4 or 5, then white space or the end), else 0. */
export function statusLength(text: string): number {
  const lead = text[0];
  if ((lead !== "2" && lead !== "4" && lead !== "5") || text[1] !== ".") return 0;
  let at = 2;
  for (let part = 0; part < 2; part++) {
    const start = at;
    while (at - start < 4 && isDigitCode(text.charCodeAt(at))) at++;
    if (at === start || at - start > 3) return 0;
    if (part === 0) {
      if (text[at] !== ".") return 0;
      at++;
    }
  }
  return at === text.length || text[at] === " " || text[at] === "\t" ? at : 0;
}

export const isStatus = (text: string): boolean => text.length > 0 && statusLength(text) === text.length;

export interface StatusText {
  readonly status: string;
  readonly text: string;
}

/** Splits `5.7.1 text`; without a code at the head the fallback status is given. The text has no leading white space. */
export function splitStatus(text: string, fallback: string): StatusText {
  const start = skipBlanks(text, 0);
  const body = start === 0 ? text : text.slice(start);
  const length = statusLength(body);
  if (length === 0) return { status: fallback, text: body };
  return { status: body.slice(0, length), text: body.slice(skipBlanks(body, length)) };
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (text[at] === " " || text[at] === "\t") at++;
  return at;
}

/** The status with its class digit made equal to that of the reply code. */
export const withClass = (status: string, reply: string): string => `${reply[0] ?? "5"}${status.slice(1)}`;

/** NOTIFY bits (ipc.md 6.7). */
export const NOTIFY_NEVER = 1;
export const NOTIFY_SUCCESS = 2;
export const NOTIFY_FAILURE = 4;
export const NOTIFY_DELAY = 8;

const NOTIFY_WORDS = new Map([
  ["NEVER", NOTIFY_NEVER],
  ["SUCCESS", NOTIFY_SUCCESS],
  ["FAILURE", NOTIFY_FAILURE],
  ["DELAY", NOTIFY_DELAY],
]);

/** The bits of a NOTIFY= value, undefined when it is malformed. RFC 3461 section 4.1; like Postfix, words may be repeated and empty. */
export function parseNotify(value: string): number | undefined {
  let bits = 0;
  for (const word of value.split(",")) {
    if (word === "") continue;
    const bit = NOTIFY_WORDS.get(upperAscii(word));
    if (bit === undefined) {
      warning(`unknown DSN NOTIFY command value "${word}" in "${value}"`);
      return undefined;
    }
    bits |= bit;
  }
  if (bits === 0) return undefined;
  return (bits & NOTIFY_NEVER) !== 0 && bits !== NOTIFY_NEVER ? undefined : bits;
}

/** A NOTIFY= value for the bits, empty for none. */
export function formatNotify(bits: number): string {
  const words: string[] = [];
  for (const [word, bit] of NOTIFY_WORDS) if ((bits & bit) !== 0) words.push(word);
  return words.join(",");
}

export const RET_FULL = 1;
export const RET_HDRS = 2;

/** RFC 3461 section 4.3. */
export function parseRet(value: string): number | undefined {
  switch (upperAscii(value)) {
    case "FULL":
      return RET_FULL;
    case "HDRS":
      return RET_HDRS;
    default:
      return undefined;
  }
}

/** Decodes ENVID=; printable ASCII, blanks and tabs only. RFC 3461 section 4.4. */
export function parseEnvid(value: string): string | undefined {
  const decoded = decodeXtext(value);
  return decoded === undefined || decoded.length === 0 || /[^\t -~]/.test(decoded) ? undefined : decoded;
}

/** Decodes ORCPT=type;xtext into `type;address`; undefined when malformed. RFC 3461 section 4.2, RFC 6533 section 3. */
export function parseOrcpt(value: string): string | undefined {
  const semicolon = value.indexOf(";");
  if (semicolon <= 0) return undefined;
  const type = value.slice(0, semicolon);
  const encoded = value.slice(semicolon + 1);
  const address = lowerAscii(type) === "utf-8" ? decodeUtf8Xtext(encoded) : decodeXtext(encoded);
  return address === undefined || address.includes("\0") ? undefined : `${type};${address}`;
}
