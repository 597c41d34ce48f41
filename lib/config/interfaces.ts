/** The machine's own addresses: inet_protocols, inet_interfaces, proxy_interfaces, mynetworks. */

import { lowerAscii, splitAny } from "../sys/bytes.ts";
import { errorText } from "../sys/errno.ts";
import { existsSync, readFileSync } from "../sys/fs.ts";
import { outputOf } from "../sys/program_end.ts";
import {
  compareInet,
  formatInet,
  isLoopback,
  isUnspecified,
  maskInet,
  maskLength,
  parseInet,
} from "./inet.ts";
import { parseNames } from "./lists.ts";

export interface OwnAddress {
  readonly address: string;
  readonly bytes: Uint8Array;
  /** Length of the interface's network mask. */
  readonly prefix: number;
}

export interface Protocols {
  readonly ipv4: boolean;
  readonly ipv6: boolean;
}

/** What is configured cannot be used: the text of the fatal line. */
export class InterfaceProblem extends Error {}

/** Names that inet_protocols may list. */
const PROTOCOL_NAMES = ["all", "ipv4", "ipv6"] as const;

/** What inet_protocols allows and the kernel has. `warn` hears of a family that the kernel lacks. */
export function parseProtocols(value: string, warn: (text: string) => void): Protocols {
  const parsed = parseNames("inet_protocols", value, PROTOCOL_NAMES);
  if (!parsed.ok) throw new InterfaceProblem(parsed.problem);
  const all = parsed.names.has("all");
  const ipv6 = all || parsed.names.has("ipv6");
  const hasIpv6 = existsSync("/proc/net/if_inet6") || !existsSync("/proc/net");
  if (ipv6 && !hasIpv6)
    warn("inet_protocols: disabling IPv6 name/address support: Address family not supported by protocol");
  return { ipv4: all || parsed.names.has("ipv4"), ipv6: ipv6 && hasIpv6 };
}

/** The part of the system's list of interfaces that we use. */
export type Interfaces = Readonly<
  Record<string, ReadonlyArray<{ readonly address: string; readonly netmask: string }> | undefined>
>;

/** Throws InterfaceProblem when there is no list: a machine that seems to have no address must not go on. */
function listInterfaces(list: () => Interfaces): Interfaces {
  try {
    return list();
  } catch (error) {
    throw new InterfaceProblem(`cannot list network interfaces: ${errorText(error)}`);
  }
}

/** Addresses of the interfaces that are up, IPv4 first. */
export function machineAddresses(
  protocols: Protocols,
  list: () => Interfaces = () => process.getBuiltinModule("node:os").networkInterfaces(),
): OwnAddress[] {
  const v4: OwnAddress[] = [];
  const v6: OwnAddress[] = [];
  for (const addresses of Object.values(listInterfaces(list))) {
    for (const entry of addresses ?? []) {
      const bytes = parseInet(entry.address.replace(/%.*/, ""));
      if (bytes === undefined || isUnspecified(bytes)) continue;
      const mask = parseInet(entry.netmask);
      // without a mask it is a network of its own; a mask of nothing would make everybody a neighbour
      const known = mask?.length === bytes.length ? maskLength(mask) : 0;
      const prefix = known === 0 ? 8 * bytes.length : known;
      (bytes.length === 4 ? v4 : v6).push({ address: formatInet(bytes), bytes, prefix });
    }
  }
  return [...(protocols.ipv4 ? v4 : []), ...(protocols.ipv6 ? v6 : [])];
}

/** The addresses that inet_interfaces selects. */
export function ownAddresses(value: string, protocols: Protocols): OwnAddress[] {
  if (!protocols.ipv4 && !protocols.ipv6) return [];
  const machine = machineAddresses(protocols);
  if (value === "all" || value === "loopback-only") {
    const selected = value === "all" ? machine : machine.filter((own) => isLoopback(own.bytes));
    if (selected.length === 0) throw new InterfaceProblem("could not find any active network interfaces");
    return selected;
  }
  const wanted = resolveList("inet_interfaces", value, protocols);
  if (wanted.length > 0 && machine.length === 0)
    throw new InterfaceProblem("could not find any active network interfaces");
  return wanted.map((bytes) => {
    const own = machine.find((candidate) => compareInet(candidate.bytes, bytes) === 0);
    if (own === undefined)
      throw new InterfaceProblem(
        `parameter inet_interfaces: no local interface found for ${formatInet(bytes)}`,
      );
    return own;
  });
}

/** The addresses of proxy_interfaces. */
export const proxyAddresses = (value: string, protocols: Protocols): OwnAddress[] =>
  resolveList("proxy_interfaces", value, protocols).map((bytes) => ({
    address: formatInet(bytes),
    bytes,
    prefix: 8 * bytes.length,
  }));

function resolveList(parameter: string, value: string, protocols: Protocols): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (const name of splitAny(value, " \t,")) {
    const addresses = resolveHost(name).filter((bytes) =>
      bytes.length === 4 ? protocols.ipv4 : protocols.ipv6,
    );
    if (addresses.length === 0)
      throw new InterfaceProblem(`config variable ${parameter}: host not found: ${name}`);
    found.push(...addresses);
  }
  found.sort(compareInet);
  return found.filter((bytes, index) => index === 0 || compareInet(bytes, found[index - 1] ?? bytes) !== 0);
}

/**
 * Addresses of a host name at start-up: the number itself, /etc/hosts, or what the system's resolver says. It blocks: only a configuration
 * that names interfaces by DNS names waits.
 */
export function resolveHost(name: string): Uint8Array[] {
  const numeric = parseInet(name.replace(/^\[(?:ipv6:)?(.*)\]$/i, "$1"));
  if (numeric !== undefined) return [numeric];
  const listed = hostsFile(name);
  return listed.length > 0 ? listed : askResolver(name);
}

function hostsFile(name: string): Uint8Array[] {
  if (!existsSync("/etc/hosts")) return [];
  const wanted = lowerAscii(name);
  const found: Uint8Array[] = [];
  for (const line of readFileSync("/etc/hosts", "latin1").split("\n")) {
    const [address = "", ...names] = splitAny(line.replace(/#.*/, ""), " \t\r");
    const bytes = names.some((candidate) => lowerAscii(candidate) === wanted)
      ? parseInet(address)
      : undefined;
    if (bytes !== undefined) found.push(bytes);
  }
  return found;
}

function askResolver(name: string): Uint8Array[] {
  if (name.startsWith("-") || !existsSync("/usr/bin/getent")) return [];
  const { output } = outputOf({
    path: "/usr/bin/getent",
    argv: ["getent", "ahosts", name],
    environment: new Map(),
  });
  const found: Uint8Array[] = [];
  for (const line of output.split("\n")) {
    const bytes = line.includes("STREAM") ? parseInet(splitAny(line, " \t")[0] ?? "") : undefined;
    if (bytes !== undefined) found.push(bytes);
  }
  return found;
}

const STYLES = ["host", "subnet", "class"] as const;

/** The default of mynetworks: the networks of our own addresses, each followed by a blank. */
export function defaultNetworks(style: string, addresses: () => ReadonlyArray<OwnAddress>): string {
  const parsed = parseNames("mynetworks mask style", style, STYLES);
  if (!parsed.ok) throw new InterfaceProblem(parsed.problem);
  const [only, ...more] = parsed.names;
  if (only === undefined || more.length > 0)
    throw new InterfaceProblem(`bad mynetworks_style value: ${style}; specify exactly one value`);
  const networks = new Set(
    addresses().map(({ bytes, prefix }) => {
      const length = networkLength(only, bytes, prefix);
      const network = formatInet(maskInet(bytes, length));
      return bytes.length === 4 ? `${network}/${length} ` : `[${network}]/${length} `;
    }),
  );
  return [...networks].join("");
}

function networkLength(style: (typeof STYLES)[number], bytes: Uint8Array, prefix: number): number {
  if (style === "host") return 8 * bytes.length;
  if (style === "subnet" || bytes.length === 16) return prefix;
  const first = bytes[0] ?? 0;
  if (first < 128) return 8;
  if (first < 192) return 16;
  return first < 224 ? 24 : 4;
}
