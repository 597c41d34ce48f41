/** Addresses of a host, from DNS alone or as getaddrinfo() finds them (`smtp_host_lookup = dns, native`). */
import { isIPv4, isIPv6, isValidHostname } from "../address/hostname.ts";
import { lowerAscii } from "../sys/bytes.ts";
import type { Soon } from "../sys/when.ts";
import { hostsFile } from "./hosts_file.ts";
import { stripDot } from "./message.ts";
import { type LookupOptions, type Resolver, resolver } from "./resolver.ts";
import type { DnsFailure, DnsResult } from "./types.ts";

export type Family = "ipv4" | "ipv6";

export interface HostAddress {
  readonly family: Family;
  readonly address: string;
}

export interface HostAddresses {
  readonly status: "found";
  readonly addresses: ReadonlyArray<HostAddress>;
  readonly canonicalName: string;
  readonly secure: boolean;
}

/** The family of an address literal, undefined when it is none. */
export const familyOf = (address: string): Family | undefined =>
  isIPv4(address) ? "ipv4" : isIPv6(address) ? "ipv6" : undefined;

/** How much a failed lookup of one family says about the host: the worst comes first. */
const SEVERITY: ReadonlyArray<DnsFailure["status"]> = [
  "retry",
  "fail",
  "malformed",
  "filter-error",
  "cname-loop",
];
function worse(a: DnsFailure, b: DnsFailure): DnsFailure {
  const rank = (failure: DnsFailure): number => {
    const index = SEVERITY.indexOf(failure.status);
    return index < 0 ? SEVERITY.length : index;
  };
  return rank(a) < rank(b) ? a : b;
}

/** Asks for A and AAAA records, as the families say. Found when either is. */
export async function lookupAddresses(
  name: string,
  families: ReadonlyArray<Family>,
  options: LookupOptions = {},
  dns: Pick<Resolver, "lookup"> = resolver(),
): Promise<HostAddresses | DnsFailure> {
  const lookups: ReadonlyArray<Promise<DnsResult>> = families.map((family) =>
    dns.lookup(name, family === "ipv4" ? "A" : "AAAA", options),
  );
  const addresses: HostAddress[] = [];
  let canonicalName = name;
  let secure = true;
  let failure: DnsFailure | undefined;
  for (const result of await Promise.all(lookups)) {
    if (result.status !== "found") {
      failure = failure === undefined ? result : worse(failure, result);
      continue;
    }
    canonicalName = result.canonicalName;
    secure &&= result.secure;
    for (const record of result.records)
      if (record.type === "A" || record.type === "AAAA")
        addresses.push({ family: record.type === "A" ? "ipv4" : "ipv6", address: record.address });
  }
  if (addresses.length > 0) return { status: "found", addresses, canonicalName, secure };
  return failure ?? { status: "not-found", reason: `${name}: host not found` };
}

/** The errors of getaddrinfo() and getnameinfo(), with glibc's texts. */
const GAI_TEXT = {
  EAI_NONAME: "Name or service not known",
  EAI_NODATA: "No address associated with hostname",
  EAI_AGAIN: "Temporary failure in name resolution",
  EAI_FAIL: "Non-recoverable failure in name resolution",
} as const;
export type GaiError = keyof typeof GAI_TEXT;
export interface NativeFailure {
  readonly status: "error";
  readonly error: GaiError;
  readonly text: string;
}
const nativeFailure = (error: GaiError): NativeFailure => ({ status: "error", error, text: GAI_TEXT[error] });

function gaiError(failure: DnsFailure): GaiError {
  switch (failure.status) {
    case "not-found":
    case "invalid-name":
      return "EAI_NONAME";
    case "no-data":
    case "cname-loop":
      return "EAI_NODATA";
    case "retry":
      return "EAI_AGAIN";
    default:
      return "EAI_FAIL";
  }
}

const NATIVE: LookupOptions = { replyFilter: undefined, defaultNames: true, searchList: true, quiet: true };

const LOCALHOST: ReadonlyArray<HostAddress> = [
  { family: "ipv4", address: "127.0.0.1" },
  { family: "ipv6", address: "::1" },
];

/** What getaddrinfo() gives with `hosts: files dns`: the hosts file first, then DNS with the search list. */
export function lookupNative(
  name: string,
  families: ReadonlyArray<Family>,
  dns: Pick<Resolver, "lookup"> = resolver(),
): Soon<HostAddresses | NativeFailure> {
  const numeric = familyOf(name);
  if (numeric !== undefined)
    return families.includes(numeric)
      ? {
          status: "found",
          addresses: [{ family: numeric, address: name }],
          canonicalName: name,
          secure: false,
        }
      : nativeFailure("EAI_NONAME");
  const key = lowerAscii(stripDot(name));
  const hosts = hostsFile();
  const listed = hosts.byName.get(key)?.flatMap((address): HostAddress[] => {
    const family = familyOf(address);
    return family === undefined ? [] : [{ family, address }];
  });
  const known = (listed ?? (key === "localhost" ? LOCALHOST : [])).filter(({ family }) =>
    families.includes(family),
  );
  if (known.length > 0)
    return {
      status: "found",
      addresses: known,
      canonicalName: hosts.canonical.get(key) ?? name,
      secure: false,
    };
  if (!isValidHostname(stripDot(name))) return nativeFailure("EAI_NONAME");
  return lookupAddresses(name, families, NATIVE, dns).then((result) =>
    result.status === "found" ? result : nativeFailure(gaiError(result)),
  );
}

/** The name in the reverse zones for an address (RFC 1035 3.5, RFC 3596 2.5). */
export function reverseName(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${Array.from(bytes).reverse().join(".")}.in-addr.arpa`;
  const nibbles = Buffer.from(bytes).toString("hex").split("").reverse();
  return `${nibbles.join(".")}.ip6.arpa`;
}
