/**
 * Internal form (no quotes: queue files, resolve requests) and external form (RFC 822 quoting: headers, rewrite requests, table keys)
 * of an address. The domain is never quoted.
 */

import { isAlnumCode } from "../sys/bytes.ts";

const NEEDS_QUOTES = /[\x00-\x20\x7f()<>@,;:\\"[\]]|^\.|\.$|\.\.|^$/;
const ESCAPED_822 = /["\\\r]/g;
const ESCAPED_821 = /["\\\r\n]/g;
const PLAIN = /^[A-Za-z0-9_+=-]+(?:\.[A-Za-z0-9_+=-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*$/;
/** Whether an address is of ordinary atoms and one `@`: the same in both forms, and one address wherever it stands in a list. */
export const isPlain = (address: string): boolean => PLAIN.test(address);

const AT = 0x40;
const DOT = 0x2e;

/** Whether an address in bytes is surely the same in both forms: an ordinary localpart and one `@`. */
export function isPlainAddress(bytes: Uint8Array, start: number, end: number): boolean {
  let at = -1;
  /** An atom may begin, or the address end, only after another character than a dot or `@`. */
  let separated = true;
  for (let index = start; index < end; index++) {
    const code = bytes[index] ?? 0;
    if (code === DOT || code === AT) {
      if (separated || (code === AT && at >= 0)) return false;
      separated = true;
      if (code === AT) at = index;
    } else if (isAlnumCode(code) || code === 0x2b || code === 0x2d || code === 0x5f) separated = false;
    else return false;
  }
  return at >= 0 && !separated;
}

const quoteWith = (local: string, escaped: RegExp): string =>
  NEEDS_QUOTES.test(local) ? `"${local.replace(escaped, "\\$&")}"` : local;

/** Quotes a localpart where RFC 822 needs it; the whole text is localpart, an `@` in it included. */
export const quoteLocalPart = (local: string): string => quoteWith(local, ESCAPED_822);

/** Length of the leading source route `@a,@b:`, 0 without one. */
function routeLength(address: string): number {
  return address.charAt(0) === "@" ? address.indexOf(":") + 1 : 0;
}

/** RFC 822 quoting: internal to external form. */
export function internalToExternal(address: string): string {
  if (isPlain(address)) return address;
  const start = routeLength(address);
  const rest = start === 0 ? address : address.slice(start);
  const at = rest.lastIndexOf("@");
  const local = at < 0 ? rest : rest.slice(0, at);
  return address.slice(0, start) + quoteWith(local, ESCAPED_822) + (at < 0 ? "" : rest.slice(at));
}

/** RFC 821 quoting, for SMTP commands: no source routes. */
export function internalToSmtp(address: string): string {
  if (isPlain(address)) return address;
  const at = address.lastIndexOf("@");
  const local = at < 0 ? address : address.slice(0, at);
  return quoteWith(local, ESCAPED_821) + (at < 0 ? "" : address.slice(at));
}

const PLAIN_RUN = /[^"\\@]+/y;

/** RFC 822 unquoting: external to internal form. */
export function externalToInternal(address: string): string {
  if (!address.includes('"') && !address.includes("\\")) return address;
  const start = routeLength(address);
  const parts: string[] = [address.slice(0, start)];
  let inQuotes = false;
  /** Where the domain begins: index into the input, and number of parts before it. */
  let domainAt = -1;
  let domainPart = 0;
  let at = start;
  while (at < address.length) {
    PLAIN_RUN.lastIndex = at;
    if (PLAIN_RUN.test(address)) {
      parts.push(address.slice(at, PLAIN_RUN.lastIndex));
      at = PLAIN_RUN.lastIndex;
      continue;
    }
    const special = address.charAt(at);
    if (special === '"') inQuotes = !inQuotes;
    else if (special === "@") {
      if (!inQuotes) {
        domainAt = at;
        domainPart = parts.length;
      }
      parts.push("@");
    } else {
      const next = address.charAt(at + 1);
      parts.push(next === "" ? "\\" : next);
      at++;
    }
    at++;
  }
  if (domainAt < 0) return parts.join("");
  parts.length = domainPart;
  return parts.join("") + address.slice(domainAt);
}
