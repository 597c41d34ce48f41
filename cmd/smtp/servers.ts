/** From a destination to the addresses that are tried, in order (RFC 5321 5.1, RFC 2782, RFC 7505). */
import { toAsciiDomain } from "../../lib/address/hostname.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { compareInet, parseInet } from "../../lib/config/inet.ts";
import { type Dsn, dsn } from "../../lib/delivery/status.ts";
import {
  familyOf,
  type HostAddress,
  type HostAddresses,
  lookupAddresses,
  lookupNative,
} from "../../lib/dns/host_lookup.ts";
import { type LookupOptions, RECORD_LIMIT, resolver, tooManyRecords } from "../../lib/dns/resolver.ts";
import { orderServices, shuffle } from "../../lib/dns/servers.ts";
import { type DnsFailure, failureText, isNegative } from "../../lib/dns/types.ts";
import { info, warning } from "../../lib/log/log.ts";
import type { Destination } from "./destination.ts";
import type { Settings } from "./settings.ts";
import type { AgentTables } from "./tables.ts";

export interface Server extends HostAddress {
  /** Name in logs and notices. */
  readonly host: string;
  readonly port: number;
  /** MX preference; lower is better. */
  readonly preference: number;
}

export type ServerList =
  | {
      readonly kind: "servers";
      readonly servers: ReadonlyArray<Server>;
      /** We are one of the domain's servers: the list was cut, and no other destination is tried. */
      readonly foundSelf: boolean;
    }
  | {
      readonly kind: "failure";
      readonly status: Dsn;
      /** `mail for X loops back to myself`. */
      readonly loop: boolean;
    };

export interface LookupContext {
  readonly settings: Settings;
  readonly tables: Pick<AgentTables, "dnsFilter">;
  /** Addresses of this system, for loop detection. */
  readonly isOwnAddress: (bytes: Uint8Array) => boolean;
}

const failure = (status: string, reason: string, loop = false): ServerList => ({
  kind: "failure",
  status: dsn(status, reason),
  loop,
});

/** DSN code of a failed lookup; `softBefore`: the lookup for another server of this destination failed for the time being. */
function lookupStatus(result: DnsFailure, softBefore: boolean): string {
  switch (result.status) {
    case "not-found":
    case "no-data":
      return softBefore ? "4.4.4" : "5.4.4";
    case "retry":
    case "filter-error":
      return "4.4.3";
    case "fail":
      return "5.4.3";
    case "malformed":
    case "invalid-name":
    case "cname-loop":
      return "5.4.4";
    case "null-mx":
    case "null-srv":
      return "5.1.0";
    case "filtered":
      return "4.7.0";
  }
}

const lookupOptions = ({ settings, tables }: LookupContext): LookupOptions => ({
  dnssec: settings.dnsSupport === "dnssec",
  replyFilter: tables.dnsFilter,
});

type Addresses =
  | { readonly kind: "found"; readonly addresses: ReadonlyArray<HostAddress>; readonly canonicalName: string }
  | { readonly kind: "failure"; readonly status: Dsn };

/** A host's addresses by the methods of smtp_host_lookup. */
async function hostAddresses(host: string, context: LookupContext, softBefore: boolean): Promise<Addresses> {
  const { settings } = context;
  const numeric = familyOf(host);
  if (numeric !== undefined) {
    if (!settings.families.includes(numeric))
      return { kind: "failure", status: dsn("5.4.4", failureText("invalid-name", host, "")) };
    return { kind: "found", addresses: [{ family: numeric, address: host }], canonicalName: host };
  }
  let failed: Dsn | undefined;
  if (settings.lookupDns) {
    const options = { ...settings.resolver, ...lookupOptions(context) };
    const result: HostAddresses | DnsFailure = await lookupAddresses(host, settings.families, options);
    if (result.status === "found")
      return { kind: "found", addresses: result.addresses, canonicalName: result.canonicalName };
    failed = dsn(lookupStatus(result, softBefore), result.reason);
    if (!settings.lookupNative || !isNegative(result.status)) return { kind: "failure", status: failed };
  }
  if (settings.lookupNative) {
    const result = await lookupNative(host, settings.families);
    if (result.status === "found")
      return { kind: "found", addresses: result.addresses, canonicalName: result.canonicalName };
    const reason = `unable to look up host ${host}: ${result.text}`;
    switch (result.error) {
      case "EAI_NONAME":
        failed = dsn(softBefore ? "4.4.4" : "5.4.4", reason);
        break;
      case "EAI_AGAIN":
        failed = dsn("4.4.4", reason);
        break;
      case "EAI_NODATA":
      case "EAI_FAIL":
        failed = dsn(softBefore ? "4.3.0" : "5.3.0", reason);
    }
  }
  return { kind: "failure", status: failed ?? dsn("5.4.4", `${host}: host not found`) };
}

function toServers(
  found: Extract<Addresses, { kind: "found" }>,
  host: string,
  port: number,
  preference: number,
  context: LookupContext,
): Server[] {
  const name = context.settings.get("cname_overrides_servername") ? found.canonicalName : host;
  return found.addresses.map((address) => ({ ...address, host: name, port, preference }));
}

/** Random order where wanted, then by preference and address family, then the limit with its balance of families. */
export function orderServers(
  servers: ReadonlyArray<Server>,
  settings: Pick<Settings, "addressPreference" | "get" | "addressLimit">,
): Server[] {
  const list = [...servers];
  if (settings.get("randomize_addresses")) shuffle(list);
  const preferred = settings.addressPreference;
  const familyRank = (server: Server): number =>
    preferred === undefined || server.family === preferred ? 0 : 1;
  list.sort((a, b) => a.preference - b.preference || familyRank(a) - familyRank(b));
  return balance(list, settings);
}

function balance(list: Server[], settings: Pick<Settings, "get" | "addressLimit">): Server[] {
  const limit = settings.addressLimit;
  const [first] = list;
  if (!settings.get("balance_inet_protocols") || limit < 2 || list.length <= limit || first === undefined)
    return list;
  const v6 = list.filter((server) => server.family === "ipv6").length;
  const v4 = list.length - v6;
  if (v4 === 0 || v6 === 0) return list;
  let keep6: number;
  if (v6 <= limit / 2) keep6 = v6;
  else if (v4 <= limit / 2) keep6 = limit - v4;
  else keep6 = Math.floor(limit / 2) + (limit % 2 === 1 && first.family === "ipv6" ? 1 : 0);
  let left6 = keep6;
  let left4 = limit - keep6;
  return list.filter((server) => (server.family === "ipv6" ? left6-- > 0 : left4-- > 0));
}

/** Looks up the servers of a destination. */
export async function findServers(destination: Destination, context: LookupContext): Promise<ServerList> {
  const { settings } = context;
  const host = toAsciiDomain(destination.host) ?? destination.host;
  const detectLoops = settings.mode === "smtp" && destination.port === 25;
  const useDns = settings.dnsSupport !== "disabled";
  if (useDns && !destination.literal && settings.useSrvLookup.includes(destination.service)) {
    const services = await serviceServers(destination, host, context);
    if (services !== undefined) return services;
  }
  if (settings.mode === "lmtp" || destination.literal || !useDns)
    return hostServers(destination, host, context, detectLoops);
  return mxServers(destination, host, context, detectLoops);
}

const isOwn = (server: Server, context: LookupContext): boolean => {
  const bytes = parseInet(server.address);
  return bytes !== undefined && context.isOwnAddress(bytes);
};

async function hostServers(
  destination: Destination,
  host: string,
  context: LookupContext,
  detectLoops: boolean,
): Promise<ServerList> {
  const found = await hostAddresses(host, context, false);
  if (found.kind === "failure") return { ...found, loop: false };
  const servers = toServers(found, host, destination.port, 0, context);
  if (detectLoops && servers.some((server) => isOwn(server, context)))
    return failure("5.4.6", `mail for ${destination.host} loops back to myself`, true);
  return { kind: "servers", servers: orderServers(servers, context.settings), foundSelf: false };
}

async function mxServers(
  destination: Destination,
  host: string,
  context: LookupContext,
  detectLoops: boolean,
): Promise<ServerList> {
  const { settings } = context;
  const result = await resolver().lookup(host, "MX", lookupOptions(context));
  if (result.status !== "found") {
    const ignorable = result.status === "retry" || result.status === "fail" || result.status === "malformed";
    if (isNegative(result.status) || (ignorable && parameter("ignore_mx_lookup_error")))
      return hostServers(destination, host, context, detectLoops);
    return failure(lookupStatus(result, false), result.reason);
  }
  const exchangers = result.records.flatMap((record) => (record.type === "MX" ? [record] : []));
  exchangers.sort((a, b) => a.preference - b.preference);
  const servers: Server[] = [];
  let soft = false;
  let last: Dsn | undefined;
  for (const exchanger of exchangers) {
    const found = await hostAddresses(exchanger.host, context, soft);
    if (found.kind === "failure") {
      last = found.status;
      if (last.status.startsWith("4")) soft = true;
    } else if (
      !add(servers, toServers(found, exchanger.host, destination.port, exchanger.preference, context))
    )
      break;
  }
  if (servers.length === 0) {
    warning(`no MX host for ${destination.host} has a valid address record`);
    const status = last ?? dsn("5.4.4", `${destination.host}: host not found`);
    const softened = settings.get("defer_if_no_mx_address_found") && status.status.startsWith("5");
    return {
      kind: "failure",
      status: softened ? { ...status, status: `4${status.status.slice(1)}` } : status,
      loop: false,
    };
  }
  const best = exchangers[0]?.preference ?? 0;
  if (detectLoops) {
    const own = servers.find((server) => isOwn(server, context));
    if (own !== undefined) {
      const better = servers.filter((server) => server.preference < own.preference);
      if (better.length > 0)
        return { kind: "servers", servers: orderServers(better, settings), foundSelf: true };
      return own.preference > best
        ? failure("4.4.4", `unable to find primary relay for ${destination.host}`, true)
        : failure("5.4.6", `mail for ${destination.host} loops back to myself`, true);
    }
  }
  return { kind: "servers", servers: orderServers(servers, settings), foundSelf: false };
}

/** Adds as many as there is room for; false when some had to be left out. */
function add(servers: Server[], more: ReadonlyArray<Server>): boolean {
  const room = RECORD_LIMIT - servers.length;
  servers.push(...more.slice(0, room));
  if (more.length <= room) return true;
  const last = servers.at(-1);
  if (last !== undefined) tooManyRecords(last.host, last.family === "ipv4" ? "A" : "AAAA");
  return false;
}

/** Servers by SRV records; undefined when the lookup is to go on by other means. */
async function serviceServers(
  destination: Destination,
  host: string,
  context: LookupContext,
): Promise<ServerList | undefined> {
  const { settings } = context;
  const query = `_${destination.service}._tcp.${host}`;
  const fallback = parameter("allow_srv_lookup_fallback");
  const goOn = (reason: string): undefined => {
    info(`skipping SRV lookup for ${query}: ${reason}`);
  };
  const result = await resolver().lookup(query, "SRV", lookupOptions(context));
  if (result.status !== "found") {
    const soft = result.status === "retry" || result.status === "fail" || result.status === "malformed";
    if (fallback || (soft && parameter("ignore_srv_lookup_error"))) return goOn(result.reason);
    return failure(lookupStatus(result, false), result.reason);
  }
  const records = orderServices(result.records.flatMap((record) => (record.type === "SRV" ? [record] : [])));
  const servers: Server[] = [];
  let soft = false;
  let last: Dsn = dsn("5.4.4", `${query}: host not found`);
  for (const [index, record] of records.entries()) {
    const found = await hostAddresses(record.host, context, soft);
    if (found.kind === "failure") {
      last = found.status;
      if (last.status.startsWith("4")) soft = true;
    } else if (!add(servers, toServers(found, record.host, record.port, index, context))) break;
  }
  if (servers.length > 0) return { kind: "servers", servers: balance(servers, settings), foundSelf: false };
  warning(`no SRV host for ${query} has a valid address record`);
  return fallback ? goOn(last.reason) : { kind: "failure", status: last, loop: false };
}

/** A test for addresses of this system and of proxies in front of it. */
export function ownAddressTest(
  addresses: Iterable<{ readonly bytes: Uint8Array }>,
): (bytes: Uint8Array) => boolean {
  const own = [...addresses].map(({ bytes }) => bytes);
  return (bytes) => own.some((candidate) => compareInet(candidate, bytes) === 0);
}
