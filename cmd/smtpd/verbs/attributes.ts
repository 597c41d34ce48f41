/** `name=xtext` attributes of XCLIENT and XFORWARD. */
import { decodeXtext } from "../../../lib/smtp/xtext.ts";
import { printable, upperAscii } from "../../../lib/sys/bytes.ts";

const VALUE_LIMIT = 255;

export interface Attribute {
  /** Upper case, or as typed when it is unknown to the caller. */
  readonly name: string;
  readonly value: string;
}

/** The attribute, or the reply that refuses it. `utf8`: UTF-8 is text. */
export function parseAttribute(word: string, utf8: boolean): Attribute | string {
  const equals = word.indexOf("=");
  if (equals < 0 || equals === word.length - 1) return "501 5.5.4 Error: attribute=value expected";
  const raw = word.slice(equals + 1);
  if (raw.length > VALUE_LIMIT) return "501 5.5.4 Error: attribute value too long";
  const typed = word.slice(0, equals);
  const known = upperAscii(typed);
  return {
    name: KNOWN.has(known) ? known : printable(typed, utf8),
    value: printable(decodeXtext(raw) ?? raw, utf8),
  };
}

const KNOWN = new Set([
  "NAME",
  "ADDR",
  "PORT",
  "PROTO",
  "HELO",
  "REVERSE_NAME",
  "LOGIN",
  "DESTADDR",
  "DESTPORT",
  "SOURCE",
  "IDENT",
]);
