/** The verified name of an SMTP client: address to name, and back (smtpd's `client_name`, `reverse_client_name`). */
import { isAddress, isValidHostname } from "../address/hostname.ts";
import { compareInet, parseInet } from "../config/inet.ts";
import { warning } from "../log/log.ts";
import { printable } from "../sys/bytes.ts";
import { type Soon, when } from "../sys/when.ts";
import {
  familyOf,
  type HostAddresses,
  lookupNative,
  type NativeFailure,
  reverseName,
} from "./host_lookup.ts";
import { type HostsFile, hostsFile, normalAddress } from "./hosts_file.ts";
import { stripDot } from "./message.ts";
import { hostProblem, type Resolver, resolver } from "./resolver.ts";

export type NameStatus = "ok" | "temporary" | "permanent" | "forged";

export interface ClientName {
  /** Verified name, or `unknown`. */
  readonly name: string;
  readonly nameStatus: NameStatus;
  /** Name of the PTR record whether verified or not, or `unknown`. */
  readonly reverseName: string;
  readonly reverseStatus: Exclude<NameStatus, "forged">;
}

export const UNKNOWN = "unknown";

const unknownName = (status: "temporary" | "permanent"): ClientName => ({
  name: UNKNOWN,
  nameStatus: status,
  reverseName: UNKNOWN,
  reverseStatus: status,
});

const isSameAddress = (text: string, bytes: Uint8Array): boolean => {
  const other = parseInet(text);
  return other !== undefined && compareInet(other, bytes) === 0;
};

/** Other names are none to the C library (res_hnok). */
const HOST_NAME = /^(?!-)[A-Za-z0-9._-]+$/;

type Reverse =
  | { readonly kind: "found"; readonly name: string }
  | { readonly kind: "temporary" | "permanent" };

function addressToName(address: string, bytes: Uint8Array, dns: Resolver): Soon<Reverse> {
  const listed = hostsFile().byAddress.get(normalAddress(address) ?? address);
  return listed === undefined ? askForName(bytes, dns) : { kind: "found", name: listed };
}

async function askForName(bytes: Uint8Array, dns: Resolver): Promise<Reverse> {
  const result = await dns.lookup(reverseName(bytes), "PTR", { quiet: true, replyFilter: undefined });
  if (result.status === "retry") return { kind: "temporary" };
  if (result.status !== "found") return { kind: "permanent" };
  const record = result.records.find((candidate) => candidate.type === "PTR");
  const name = record?.type === "PTR" ? stripDot(record.host) : undefined;
  return name !== undefined && HOST_NAME.test(name) ? { kind: "found", name } : { kind: "permanent" };
}

/** Verified names of addresses that the hosts file alone leads to, and back: they stay true as long as the file does. */
const listedNames = new WeakMap<HostsFile, Map<string, ClientName>>();

/** Looks up the name of an address and whether that name has the address. Never throws for what the peer's zone says. */
export function lookupHostName(address: string, dns: Resolver = resolver()): Soon<ClientName> {
  const hosts = hostsFile();
  const known = listedNames.get(hosts)?.get(address);
  if (known !== undefined) return known;
  const name = findName(address, dns);
  if (name instanceof Promise || name.nameStatus !== "ok") return name;
  const names = listedNames.get(hosts) ?? new Map<string, ClientName>();
  listedNames.set(hosts, names.set(address, name));
  return name;
}

function findName(address: string, dns: Resolver): Soon<ClientName> {
  const family = familyOf(address);
  const bytes = parseInet(address);
  if (family === undefined || bytes === undefined) return unknownName("permanent");
  return when(addressToName(address, bytes, dns), (reverse) => {
    if (reverse.kind !== "found") return unknownName(reverse.kind);
    const { name } = reverse;
    if (isAddress(name)) {
      warning(`numeric hostname: ${printable(name)}`);
      return unknownName("permanent");
    }
    if (!isValidHostname(name)) {
      warning(`valid_hostname: ${hostProblem(name)}: ${printable(name.slice(0, 100))}`);
      return unknownName("permanent");
    }
    return when(lookupNative(name, [family], dns), (forward) => verified(address, bytes, name, forward));
  });
}

function verified(
  address: string,
  bytes: Uint8Array,
  name: string,
  forward: HostAddresses | NativeFailure,
): ClientName {
  const refused = (nameStatus: NameStatus): ClientName => ({
    name: UNKNOWN,
    nameStatus,
    reverseName: name,
    reverseStatus: "ok",
  });
  if (forward.status === "error") {
    warning(`hostname ${name} does not resolve to address ${address}: ${forward.text}`);
    return refused(forward.error === "EAI_AGAIN" ? "temporary" : "forged");
  }
  if (!forward.addresses.some((candidate) => isSameAddress(candidate.address, bytes))) {
    warning(`hostname ${name} does not resolve to address ${address}`);
    return refused("forged");
  }
  return { name, nameStatus: "ok", reverseName: name, reverseStatus: "ok" };
}
