/** The verified name of an SMTP client: address to name, and back (smtpd's `client_name`, `reverse_client_name`). */
import { isAddress, isValidHostname } from "../address/hostname.ts";
import { compareInet, parseInet } from "../config/inet.ts";
import { warning } from "../log/log.ts";
import { printable } from "../sys/bytes.ts";
import { familyOf, lookupNative, reverseName } from "./host_lookup.ts";
import { hostsFile, normalAddress } from "./hosts_file.ts";
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

async function addressToName(address: string, bytes: Uint8Array, dns: Resolver): Promise<Reverse> {
  const listed = hostsFile().byAddress.get(normalAddress(address) ?? address);
  if (listed !== undefined) return { kind: "found", name: listed };
  const result = await dns.lookup(reverseName(bytes), "PTR", { quiet: true, replyFilter: undefined });
  if (result.status === "retry") return { kind: "temporary" };
  if (result.status !== "found") return { kind: "permanent" };
  const record = result.records.find((candidate) => candidate.type === "PTR");
  const name = record?.type === "PTR" ? stripDot(record.host) : undefined;
  return name !== undefined && HOST_NAME.test(name) ? { kind: "found", name } : { kind: "permanent" };
}

/** Looks up the name of an address and whether that name has the address. Never throws for what the peer's zone says. */
export async function lookupHostName(address: string, dns: Resolver = resolver()): Promise<ClientName> {
  const family = familyOf(address);
  const bytes = parseInet(address);
  if (family === undefined || bytes === undefined) return unknownName("permanent");
  const reverse = await addressToName(address, bytes, dns);
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
  const refused = (nameStatus: NameStatus): ClientName => ({
    name: UNKNOWN,
    nameStatus,
    reverseName: name,
    reverseStatus: "ok",
  });
  const forward = await lookupNative(name, [family], dns);
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
