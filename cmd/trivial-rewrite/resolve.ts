/** The resolve request: an address to the transport, next hop and recipient that deliver it (ADDRESS_CLASS_README, transport(5)). */
import { addressFault, literalFault } from "../../lib/address/address_syntax.ts";
import { isValidHostname, isValidUtf8Hostname } from "../../lib/address/hostname.ts";
import { type AddressTables, type LookupRules, lookupAddress } from "../../lib/address/lookup.ts";
import { splitAddress, stripExtension } from "../../lib/address/split.ts";
import { plainDomain, RESOLVE_FLAG, type ResolveReply } from "../../lib/ipc/protocols/rewrite.ts";
import { warning } from "../../lib/log/log.ts";
import { equalFold, isAscii, isValidUtf8, printable } from "../../lib/sys/bytes.ts";
import type { MatchResult } from "../../lib/tables/match.ts";
import { type StripOptions, stripLocalDomains } from "./strip_local.ts";
import type { TransportMap } from "./transport_map.ts";

export interface DomainList {
  matches(domain: string): MatchResult | Promise<MatchResult>;
}

/** Parameter values of the plain or of the address_verify_* set, with the names for warnings. */
export interface RouteSettings {
  readonly localTransport: string;
  readonly virtualTransport: string;
  readonly relayTransport: string;
  readonly defaultTransport: string;
  readonly relayhost: string;
  readonly transportMaps: TransportMap;
  readonly senderDependentRelayhost: AddressTables;
  readonly senderDependentDefaultTransport: AddressTables;
  /** `""`, or `address_verify_`. */
  readonly prefix: string;
}

export interface ResolveSettings extends StripOptions {
  readonly rules: LookupRules;
  readonly smtputf8: boolean;
  readonly resolveNumericDomain: boolean;
  readonly allowMinUser: boolean;
  readonly showTableName: boolean;
  readonly relocatedPrefix: boolean;
  readonly helpfulWarnings: boolean;
  readonly emptyRelayhostKey: string;
  readonly emptyDefaultTransportKey: string;
  readonly virtualAliasDomains: DomainList;
  readonly virtualMailboxDomains: DomainList;
  readonly relayDomains: DomainList;
  readonly relocated: AddressTables;
  /** Path of main.cf for a warning. */
  readonly configFile: string;
}

type Reply = Omit<ResolveReply, "serverFlags">;

const NOT_UPDATED = { transport: "CHANNEL NOT UPDATED", nexthop: "NEXTHOP NOT UPDATED" };

/** A table lookup failed; the cause was logged. */
class LookupFailure extends Error {}

/** Resolves an internal-form address for an internal-form sender. */
export async function resolveAddress(
  sender: string,
  address: string,
  route: RouteSettings,
  settings: ResolveSettings,
): Promise<Reply> {
  const draft: Draft = { ...NOT_UPDATED, recipient: address, flags: 0 };
  try {
    await resolve(sender, address, route, settings, draft);
  } catch (error) {
    if (!(error instanceof LookupFailure)) throw error;
    draft.flags |= RESOLVE_FLAG.fail;
  }
  return draft;
}

/**
 * Whether every plain address of the domain has this answer, for every sender: no table was asked for more than the domain. The tables of domains may
 * change, as they may for an answer that a client keeps for one address.
 */
export const isForWholeDomain = (
  address: string,
  { recipient, flags }: Reply,
  route: RouteSettings,
  settings: ResolveSettings,
): boolean =>
  recipient === address &&
  (flags & (RESOLVE_FLAG.error | RESOLVE_FLAG.fail | RESOLVE_FLAG.routed)) === 0 &&
  plainDomain(address) !== undefined &&
  route.transportMaps.empty &&
  route.senderDependentRelayhost.empty &&
  route.senderDependentDefaultTransport.empty &&
  settings.relocated.empty;

interface Draft {
  transport: string;
  nexthop: string;
  recipient: string;
  flags: number;
}

async function resolve(
  sender: string,
  address: string,
  route: RouteSettings,
  settings: ResolveSettings,
  draft: Draft,
): Promise<void> {
  const stripped = await stripLocalDomains(address, settings);
  if (stripped.kind === "error") throw new LookupFailure();
  let local = stripped.kind === "local";
  draft.recipient = stripped.recipient;

  const checked = checkDomain(draft.recipient, settings);
  if (checked === undefined) {
    draft.flags |= RESOLVE_FLAG.error | RESOLVE_FLAG.default;
    return;
  }
  if (checked !== domainOf(draft.recipient)) {
    draft.recipient = `${splitAddress(draft.recipient).local}@${checked}`;
    const own = await settings.isLocalDomain(checked);
    if (own === "error") throw new LookupFailure();
    local = own;
  }
  const domain = checked;
  if (isRouted(draft.recipient, domain)) draft.flags |= RESOLVE_FLAG.routed;

  await classify(sender, domain, local, route, settings, draft);
  if ((draft.flags & RESOLVE_FLAG.virtualAlias) === 0)
    await applyTransportMaps(domain, route, settings, draft);
  await applyRelocated(settings, draft);
  if (!settings.allowMinUser && draft.recipient.startsWith("-")) draft.flags |= RESOLVE_FLAG.error;
}

const domainOf = (address: string): string => splitAddress(address).domain ?? "";

/** The domain, in brackets when it is a bare address and that is allowed; undefined when it is invalid. */
function checkDomain(recipient: string, settings: ResolveSettings): string | undefined {
  const domain = domainOf(recipient);
  if (domain.startsWith("[")) {
    const fault = domain.endsWith("]") ? literalFault(domain.slice(1, -1)) : "";
    if (fault === undefined) return validText(recipient, settings) ? domain : undefined;
    if (fault !== "") warning(fault);
    return undefined;
  }
  if (!validText(recipient, settings)) return undefined;
  if (settings.smtputf8 ? isValidUtf8Hostname(domain) : isValidHostname(domain)) return domain;
  if (!settings.resolveNumericDomain || addressFault(domain) !== undefined) return undefined;
  return domain.includes(":") ? `[IPv6:${domain}]` : `[${domain}]`;
}

const validText = (recipient: string, settings: ResolveSettings): boolean =>
  !settings.smtputf8 || isAscii(recipient) || isValidUtf8(recipient);

/** The address names a way through other systems: something after `@`, `!` or `%` that is not the domain. */
function isRouted(recipient: string, domain: string): boolean {
  const at = recipient.search(/[@!%]/);
  return at >= 0 && recipient.slice(at + 1) !== domain;
}

async function classify(
  sender: string,
  domain: string,
  local: boolean,
  route: RouteSettings,
  settings: ResolveSettings,
  draft: Draft,
): Promise<void> {
  const { prefix } = route;
  if (local) {
    draft.flags |= RESOLVE_FLAG.local;
    setTransport(draft, route.localTransport, domain, `${prefix}local_transport`, settings);
    if (settings.helpfulWarnings) {
      await warnBoth(domain, "mydestination", settings.virtualAliasDomains, "virtual_alias_domains");
      await warnBoth(domain, "mydestination", settings.virtualMailboxDomains, "virtual_mailbox_domains");
    }
    return;
  }
  if (await listed(settings.virtualAliasDomains, domain, "virtual_alias_domains")) {
    draft.flags |= RESOLVE_FLAG.virtualAlias;
    draft.transport = "error";
    draft.nexthop = settings.showTableName
      ? "5.1.1 User unknown in virtual alias table"
      : "5.1.1 User unknown";
    if (settings.helpfulWarnings) {
      await warnBoth(
        domain,
        "virtual_alias_domains",
        settings.virtualMailboxDomains,
        "virtual_mailbox_domains",
      );
      await warnBoth(domain, "virtual_alias_domains", settings.relayDomains, "relay_domains");
    }
    return;
  }
  if (await listed(settings.virtualMailboxDomains, domain, "virtual_mailbox_domains")) {
    draft.flags |= RESOLVE_FLAG.virtualMailbox;
    setTransport(draft, route.virtualTransport, domain, `${prefix}virtual_transport`, settings);
    if (settings.helpfulWarnings)
      await warnBoth(domain, "virtual_mailbox_domains", settings.relayDomains, "relay_domains");
    return;
  }
  if (await listed(settings.relayDomains, domain, "relay_domains")) {
    draft.flags |= RESOLVE_FLAG.relay;
    setTransport(
      draft,
      route.relayTransport,
      await relayNexthop(sender, domain, route, settings),
      `${prefix}relay_transport`,
      settings,
    );
    return;
  }
  draft.flags |= RESOLVE_FLAG.default;
  const title = `${prefix}sender_dependent_default_transport_maps`;
  const chosen = await bySender(
    sender,
    route.senderDependentDefaultTransport,
    title,
    settings.emptyDefaultTransportKey,
    settings,
  );
  setTransport(
    draft,
    chosen ?? route.defaultTransport,
    await relayNexthop(sender, domain, route, settings),
    chosen === undefined ? `${prefix}default_transport` : title,
    settings,
  );
}

async function listed(list: DomainList, domain: string, name: string): Promise<boolean> {
  const result = await list.matches(domain);
  if (result.kind === "error") {
    warning(`${name} lookup failure`);
    throw new LookupFailure();
  }
  return result.kind === "match";
}

async function warnBoth(domain: string, name: string, other: DomainList, otherName: string): Promise<void> {
  const result = await other.matches(domain);
  if (result.kind === "match") warning(`do not list domain ${domain} in BOTH ${name} and ${otherName}`);
}

async function relayNexthop(
  sender: string,
  domain: string,
  route: RouteSettings,
  settings: ResolveSettings,
): Promise<string> {
  const title = `${route.prefix}sender_dependent_relayhost_maps`;
  const chosen = await bySender(
    sender,
    route.senderDependentRelayhost,
    title,
    settings.emptyRelayhostKey,
    settings,
  );
  return chosen ?? (route.relayhost !== "" ? route.relayhost : domain);
}

/** The table's result for a sender; undefined for none or DUNNO. */
async function bySender(
  sender: string,
  tables: AddressTables,
  title: string,
  emptyKey: string,
  settings: ResolveSettings,
): Promise<string | undefined> {
  if (tables.empty) return undefined;
  const key = sender === "" ? emptyKey : sender;
  const result = await lookupAddress(tables, key, settings.rules, "both");
  if (result.kind === "error") {
    warning(`${title} lookup failure`);
    throw new LookupFailure();
  }
  if (result.kind === "absent" || equalFold(result.value, "DUNNO")) return undefined;
  if (result.value === "") {
    warning(`${title}: ignoring null lookup result for ${key}`);
    return undefined;
  }
  return result.value;
}

/** Splits `transport:nexthop`; a next hop of its own replaces the one given. */
function setTransport(
  draft: Draft,
  value: string,
  nexthop: string,
  name: string,
  settings: ResolveSettings,
): void {
  const colon = value.indexOf(":");
  draft.transport = colon < 0 ? value : value.slice(0, colon);
  draft.nexthop = colon >= 0 && colon < value.length - 1 ? value.slice(colon + 1) : nexthop;
  if (draft.transport !== "") return;
  warning(`file ${settings.configFile}: parameter ${name}: null transport is not allowed`);
  throw new LookupFailure();
}

async function applyTransportMaps(
  domain: string,
  route: RouteSettings,
  settings: ResolveSettings,
  draft: Draft,
): Promise<void> {
  const { transportMaps } = route;
  if (transportMaps.empty) return;
  const { recipient } = draft;
  const stripped = stripExtension(recipient, settings.rules);
  const result = await transportMaps.lookup(recipient, stripped?.address, domain);
  if (result.kind === "error") {
    warning(`${route.prefix}transport_maps lookup failure`);
    throw new LookupFailure();
  }
  if (result.kind === "absent") return;
  const colon = result.value.indexOf(":");
  const transport = colon < 0 ? result.value : result.value.slice(0, colon);
  const nexthop = colon < 0 ? "" : result.value.slice(colon + 1);
  if (transport === "") {
    if (nexthop !== "") draft.nexthop = nexthop;
    return;
  }
  draft.transport = transport;
  if (nexthop !== "") draft.nexthop = nexthop;
  else draft.nexthop = transport === "error" || transport === "retry" ? "Address is undeliverable" : domain;
}

const STATUS_TEXT = /^[245]\.[0-9]{1,3}\.[0-9]{1,3}[ \t]+[^ \t]/;

async function applyRelocated(settings: ResolveSettings, draft: Draft): Promise<void> {
  if (settings.relocated.empty) return;
  const result = await lookupAddress(settings.relocated, draft.recipient, settings.rules, "both");
  if (result.kind === "error") {
    warning("relocated_maps lookup failure");
    throw new LookupFailure();
  }
  if (result.kind === "absent") return;
  draft.transport = "error";
  if (settings.relocatedPrefix) draft.nexthop = `5.1.6 User has moved to ${result.value}`;
  else if (STATUS_TEXT.test(result.value)) draft.nexthop = result.value;
  else {
    warning(
      `relocated_maps result must contain RFC 3463 status and text: '${printable(result.value.slice(0, 100))}'`,
    );
    draft.nexthop = "5.2.0 Mailbox is unavailable";
  }
}
