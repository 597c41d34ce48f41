/** Local part, domain and address extension of an internal-form address. */
import { parameter } from "../config/configuration.ts";
import { lowerAscii } from "../sys/bytes.ts";

export interface AddressParts {
  readonly local: string;
  /** Text after the last `@`; undefined without one. */
  readonly domain: string | undefined;
}

/** Splits at the last `@`. */
export function splitAddress(address: string): AddressParts {
  const at = address.lastIndexOf("@");
  return at < 0
    ? { local: address, domain: undefined }
    : { local: address.slice(0, at), domain: address.slice(at + 1) };
}

export const joinAddress = (local: string, domain: string | undefined): string =>
  domain === undefined ? local : `${local}@${domain}`;

/** What decides how an extension is split off: recipient_delimiter, owner_request_special, double_bounce_sender. */
export interface ExtensionRules {
  /** A set of characters. */
  readonly delimiters: string;
  readonly ownerRequestSpecial: boolean;
  readonly doubleBounceSender: string;
}

/** The rules of the installed configuration. */
export const extensionRules = (): ExtensionRules => ({
  delimiters: parameter("recipient_delimiter"),
  ownerRequestSpecial: parameter("owner_request_special"),
  doubleBounceSender: parameter("double_bounce_sender"),
});

export interface SplitLocalPart {
  readonly user: string;
  /** With its delimiter. */
  readonly extension: string;
}

/** Splits a localpart at the first delimiter character; undefined when there is nothing to split off. */
export function splitExtension(local: string, rules: ExtensionRules): SplitLocalPart | undefined {
  const { delimiters } = rules;
  if (delimiters === "") return undefined;
  let at = -1;
  for (const delimiter of delimiters) {
    const found = local.indexOf(delimiter);
    if (found >= 0 && (at < 0 || found < at)) at = found;
  }
  if (at <= 0) return undefined;
  const folded = lowerAscii(local);
  if (
    folded === "postmaster" ||
    folded === "mailer-daemon" ||
    folded === lowerAscii(rules.doubleBounceSender)
  )
    return undefined;
  if (rules.ownerRequestSpecial && delimiters.includes("-")) {
    if (folded.startsWith("owner-")) return undefined;
    if (folded.endsWith("-request") && folded.length > "-request".length) return undefined;
  }
  return { user: local.slice(0, at), extension: local.slice(at) };
}

export interface StrippedAddress {
  readonly address: string;
  /** With its delimiter. */
  readonly extension: string;
}

/** The address without its extension; undefined when it has none. */
export function stripExtension(address: string, rules: ExtensionRules): StrippedAddress | undefined {
  const { local, domain } = splitAddress(address);
  const split = splitExtension(local, rules);
  return split === undefined
    ? undefined
    : { address: joinAddress(split.user, domain), extension: split.extension };
}

/** Puts an extension before the last `@` (or at the end). */
export function insertExtension(address: string, extension: string): string {
  const { local, domain } = splitAddress(address);
  return joinAddress(local + extension, domain);
}
