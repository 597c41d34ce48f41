/** trivial-rewrite's parameters and tables, opened once before the sandbox. */
import { LocalDomains } from "../../lib/address/local_domains.ts";
import type { LookupRules } from "../../lib/address/lookup.ts";
import { extensionRules } from "../../lib/address/split.ts";
import { configuration, parameter } from "../../lib/config/configuration.ts";
import { info } from "../../lib/log/log.ts";
import { lowerAscii } from "../../lib/sys/bytes.ts";
import { TableList } from "../../lib/tables/list.ts";
import { MatchList, parentMode } from "../../lib/tables/match.ts";
import { TableFlag } from "../../lib/tables/table.ts";
import type { ResolveSettings, RouteSettings } from "./resolve.ts";
import type { RewriteContext, RewriteOptions } from "./rewrite.ts";
import { TransportMap } from "./transport_map.ts";

const ADDRESS_FLAGS = TableFlag.lock | TableFlag.fold_fix | TableFlag.utf8_request;
const ROUTE_FLAGS = ADDRESS_FLAGS | TableFlag.no_regsub;

export interface Settings {
  readonly local: RewriteContext;
  readonly remote: RewriteContext;
  readonly rewrite: RewriteOptions;
  readonly resolve: ResolveSettings;
  readonly route: RouteSettings;
  /** The address_verify_* set. */
  readonly verifyRoute: RouteSettings;
}

export async function openSettings(): Promise<Settings> {
  const locals = await LocalDomains.open();
  const virtualAliasDomains = await MatchList.open(
    "virtual_alias_domains",
    parameter("virtual_alias_domains"),
    "string",
  );
  const virtualMailboxDomains = await MatchList.open(
    "virtual_mailbox_domains",
    parameter("virtual_mailbox_domains"),
    "string",
  );
  const relayDomains = await MatchList.open("relay_domains", parameter("relay_domains"), "domain", {
    parentFeature: "relay_domains",
  });
  const isLocalDomain: LookupRules["isLocalDomain"] = (domain) => locals.isLocal(domain);
  const isListed = async (domain: string): Promise<boolean> => {
    for (const list of [virtualAliasDomains, virtualMailboxDomains, relayDomains])
      if ((await list.matches(domain)).kind === "match") return true;
    return (await locals.isLocal(domain)) === true;
  };
  const rewrite: RewriteOptions = {
    swapBangpath: parameter("swap_bangpath"),
    percentHack: parameter("allow_percent_hack"),
    appendAtMyorigin: parameter("append_at_myorigin"),
    appendDotMydomain: parameter("append_dot_mydomain"),
    ...implicitDotMydomain(isListed),
  };
  const rules: LookupRules = { ...extensionRules(), myorigin: parameter("myorigin"), isLocalDomain };
  const remoteDomain = parameter("remote_header_rewrite_domain");
  const local: RewriteContext = { origin: parameter("myorigin"), domain: parameter("mydomain") };
  const resolve: ResolveSettings = {
    rules,
    rewrite,
    context: local,
    isLocalDomain,
    resolveNullDomain: parameter("resolve_null_domain"),
    resolveDequotedAddress: parameter("resolve_dequoted_address"),
    resolveNumericDomain: parameter("resolve_numeric_domain"),
    emptyAddressRecipient: parameter("empty_address_recipient"),
    myhostname: parameter("myhostname"),
    smtputf8: parameter("smtputf8_enable"),
    allowMinUser: parameter("allow_min_user"),
    showTableName: parameter("show_user_unknown_table_name"),
    relocatedPrefix: parameter("relocated_prefix_enable"),
    helpfulWarnings: parameter("helpful_warnings"),
    emptyRelayhostKey: parameter("empty_address_relayhost_maps_lookup_key"),
    emptyDefaultTransportKey: parameter("empty_address_default_transport_maps_lookup_key"),
    virtualAliasDomains,
    virtualMailboxDomains,
    relayDomains,
    relocated: await TableList.open("relocated_maps", parameter("relocated_maps"), ADDRESS_FLAGS),
    configFile: `${configuration().directory}/main.cf`,
  };
  return {
    local,
    remote: { origin: remoteDomain, domain: remoteDomain },
    rewrite,
    resolve,
    route: await openRoute(""),
    verifyRoute: await openRoute("address_verify_"),
  };
}

async function openRoute(prefix: "" | "address_verify_"): Promise<RouteSettings> {
  const tables = (
    name: "transport_maps" | "sender_dependent_relayhost_maps" | "sender_dependent_default_transport_maps",
  ): Promise<TableList> => TableList.open(`${prefix}${name}`, parameter(`${prefix}${name}`), ROUTE_FLAGS);
  const transportMaps = new TransportMap(await tables("transport_maps"), parentMode("transport_maps"));
  if (!transportMaps.empty) await transportMaps.wildcard();
  return {
    localTransport: parameter(`${prefix}local_transport`),
    virtualTransport: parameter(`${prefix}virtual_transport`),
    relayTransport: parameter(`${prefix}relay_transport`),
    defaultTransport: parameter(`${prefix}default_transport`),
    relayhost: parameter(`${prefix}relayhost`),
    transportMaps,
    senderDependentRelayhost: await tables("sender_dependent_relayhost_maps"),
    senderDependentDefaultTransport: await tables("sender_dependent_default_transport_maps"),
    prefix,
  };
}

/** Says when an old default took effect, so that the admin can set it before it goes away. */
function implicitDotMydomain(
  isListed: (domain: string) => Promise<boolean>,
): Pick<RewriteOptions, "onImplicitDotMydomain"> {
  const current = configuration();
  if (current.isSet("append_dot_mydomain") || !parameter("append_dot_mydomain")) return {};
  const say = (host: string, domain: string, hint: string): void =>
    info(
      `using backwards-compatible default setting append_dot_mydomain=yes to rewrite "${host}" to "${host}.${domain}"${hint}`,
    );
  return {
    onImplicitDotMydomain: (host, domain) => {
      if (lowerAscii(host) !== "localhost") {
        say(host, domain, "");
        return;
      }
      void isListed(host).then((listed) => {
        if (!listed) say(host, domain, '; please add "localhost" to mydestination or other address class');
      });
    },
  };
}
