/** The one place where commands are put together: nothing that could end a line gets through (RFC 5321 4.1.1, RFC 3461, RFC 6533). */
import { decodeUtf8, equalFold, isAscii } from "../sys/bytes.ts";
import { formatNotify } from "./dsn.ts";
import { encodeXtext } from "./xtext.ts";

/** An address, name or parameter that cannot be part of a command. */
export class UnsafeCommand extends Error {
  constructor(
    /** What could not be written, with the bad bytes in it. */
    readonly value: string,
  ) {
    super("command contains a line end");
    this.name = "UnsafeCommand";
  }
}

/** What ends a line, or a string at a server written in C. */
const CONTROL = /[\0\r\n]/;
/** A command line without its end; throws on line ends and NUL. */
export function commandLine(line: string): string {
  if (CONTROL.test(line)) throw new UnsafeCommand(line);
  return line;
}

/** ENVID travels as xtext. */
export const xtext = encodeXtext;

const XFORWARD_SPECIAL = /[^!-~]|\+/g;
/** XFORWARD values are xtext in which `=` stands for itself. */
export const xforwardText = (value: string): string =>
  value.replace(
    XFORWARD_SPECIAL,
    (char) => `+${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );

export interface OriginalRecipient {
  /** `type;address` as recorded, decoded, or empty. */
  readonly recorded: string;
  /** The address before rewriting, or empty. */
  readonly original: string;
}

/** `ORCPT=` with its value, undefined when nothing is known. */
export function orcptParameter(recipient: OriginalRecipient): string | undefined {
  const { recorded, original } = recipient;
  const value =
    recorded !== ""
      ? recorded
      : original === ""
        ? ""
        : `${isAscii(original) ? "rfc822" : "utf-8"};${original}`;
  const semicolon = value.indexOf(";");
  if (semicolon <= 0) return undefined;
  const type = value.slice(0, semicolon);
  const address = value.slice(semicolon + 1);
  return ` ORCPT=${commandLine(type)};${equalFold(type, "utf-8") ? utf8Xtext(address) : encodeXtext(address)}`;
}

/** utf-8-addr-xtext: what is not printable ASCII, and `\`, `+`, `=`, becomes `\x{HEX}`. */
export function utf8Xtext(address: string): string {
  const unicode = decodeUtf8(address);
  if (unicode === undefined) return encodeXtext(address);
  let out = "";
  for (const char of unicode) {
    const point = char.codePointAt(0) ?? 0;
    const plain = point > 0x20 && point < 0x7f && char !== "\\" && char !== "+" && char !== "=";
    out += plain ? char : `\\x{${point.toString(16).toUpperCase()}}`;
  }
  return out;
}

/** `NOTIFY=` with its value, empty when the sender did not ask. */
export const notifyParameter = (flags: number): string =>
  flags === 0 ? "" : ` NOTIFY=${formatNotify(flags)}`;
