/** `${domain_to_ascii{...}}` and `${domain_to_utf8{...}}` (RFC 5891). */
import { decodeUtf8, encodeUtf8, isAscii, lowerAscii } from "../sys/bytes.ts";

export type DomainConversion =
  | { readonly ok: true; readonly value: string }
  | { readonly ok: false; readonly problem: string };

const url = (): typeof import("node:url") => process.getBuiltinModule("node:url");

/** A-labels; ASCII input passes unchanged. */
export function domainToAscii(domain: string): DomainConversion {
  if (isAscii(domain)) return { ok: true, value: domain };
  const unicode = decodeUtf8(domain);
  const value = unicode === undefined ? "" : url().domainToASCII(unicode);
  const faults = labelFaults(unicode ?? domain, value);
  if (faults.length === 0) return { ok: true, value };
  return {
    ok: false,
    problem: `midna_domain_to_ascii_create: Problem translating domain "${domain}" to ASCII form: ${faults.join(",")}`,
  };
}

/** U-labels; input that is not ASCII passes unchanged. */
export function domainToUtf8(domain: string): DomainConversion {
  if (!isAscii(domain)) return { ok: true, value: domain };
  const value = url().domainToUnicode(domain);
  const faults = labelFaults(domain, value);
  if (faults.length === 0) return { ok: true, value: encodeUtf8(value) };
  return {
    ok: false,
    problem: `midna_domain_to_utf8_create: Problem translating domain "${domain}" to UTF-8 form: ${faults.join(",")}`,
  };
}

/** What ICU names wrong with a domain, in the order of its error bits. */
function labelFaults(domain: string, converted: string): string[] {
  const labels = domain.split(".");
  const faults: string[] = [];
  const say = (name: string, found: boolean): void => {
    if (found) faults.push(`UIDNA_ERROR_${name}`);
  };
  // A trailing dot is the root and no empty label.
  say(
    "EMPTY_LABEL",
    labels.some((label, index) => label === "" && (index < labels.length - 1 || index === 0)),
  );
  say(
    "LABEL_TOO_LONG",
    converted.split(".").some((label) => isAscii(label) && label.length > 63),
  );
  say(
    "LEADING_HYPHEN",
    labels.some((label) => label.startsWith("-")),
  );
  say(
    "TRAILING_HYPHEN",
    labels.some((label) => label.endsWith("-")),
  );
  say(
    "HYPHEN_3_4",
    labels.some((label) => label.slice(2, 4) === "--" && !lowerAscii(label).startsWith("xn--")),
  );
  if (faults.length === 0 && converted === "") say("DISALLOWED", true);
  return faults;
}
