/** Validity of host names and address literals, as the resolver and the SMTP grammar need it. */
import { parameter } from "../config/configuration.ts";
import { parseInet } from "../config/inet.ts";
import { decodeUtf8, isAscii } from "../sys/bytes.ts";
import { literalFault } from "./address_syntax.ts";

const NAME_LIMIT = 255;
const LABEL = /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;
const NUMERIC = /^[0-9.]+$/;

/** Letters, digits, `_` and interior `-`; labels of 1 to 63 bytes; no empty label; not all numeric. */
export function isValidHostname(name: string): boolean {
  if (name === "" || name.length > NAME_LIMIT || NUMERIC.test(name)) return false;
  for (const label of name.split(".")) if (!LABEL.test(label)) return false;
  return true;
}

/** As above, a UTF-8 name is valid when its A-label form is. */
export function isValidUtf8Hostname(name: string): boolean {
  if (isAscii(name)) return isValidHostname(name);
  const ascii = toAsciiDomain(name);
  return ascii !== undefined && isValidHostname(ascii);
}

/** The A-label form of a UTF-8 domain (byte string), undefined when there is none. */
export function toAsciiDomain(name: string): string | undefined {
  if (isAscii(name)) return name;
  if (name.length > 4 * NAME_LIMIT) return undefined;
  const decoded = decodeUtf8(name);
  if (decoded === undefined) return undefined;
  const unicode = compatibleForm(decoded);
  const labels: string[] = [];
  // label by label: the whole name may look like a numeric address to the converter
  for (const label of unicode.split(/[.\u3002\uff0e\uff61]/)) {
    if (isAscii(label)) labels.push(label);
    else {
      const ascii =
        label.startsWith("-") || label.endsWith("-")
          ? ""
          : process.getBuiltinModule("node:url").domainToASCII(label);
      if (ascii === "") return undefined;
      labels.push(ascii);
    }
  }
  return labels.join(".");
}

/** With enable_idna2003_compatibility, the four characters that IDNA2008 keeps apart become what IDNA2003 made of them (UTS 46, 4). */
export const compatibleForm = (name: string): string =>
  parameter("enable_idna2003_compatibility")
    ? name
        .replaceAll("\u00df", "ss")
        .replaceAll("\u03c2", "\u03c3")
        .replaceAll("\u200c", "")
        .replaceAll("\u200d", "")
    : name;

export const isIPv4 = (text: string): boolean => parseInet(text)?.length === 4;
export const isIPv6 = (text: string): boolean => parseInet(text)?.length === 16;
export const isAddress = (text: string): boolean => parseInet(text) !== undefined;

const LITERAL = /^\[(?:(?:ipv6:([0-9A-Fa-f:.]+))|([0-9.]+))\]$/i;

/** The address of `[1.2.3.4]` or `[IPv6:2001:db8::1]`, undefined when it is no valid literal (RFC 5321 4.1.3). */
export function addressOfLiteral(literal: string): string | undefined {
  const match = LITERAL.exec(literal);
  if (match === null) return undefined;
  const [, v6, v4] = match;
  if (v6 !== undefined) return isIPv6(v6) ? v6 : undefined;
  return v4 !== undefined && isIPv4(v4) ? v4 : undefined;
}
export const isValidAddressLiteral = (literal: string): boolean =>
  literal.startsWith("[") && literal.endsWith("]") && literalFault(literal.slice(1, -1)) === undefined;

/** The 4 or 16 bytes of a numeric address. */
export const addressBytes = (address: string): Uint8Array | undefined => parseInet(address);
