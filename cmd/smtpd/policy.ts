/** Everything smtpd(8) decides by that comes from the configuration: settings, restriction lists, tables and match lists, opened once at start. */

import { usesLegacyDefault } from "../../lib/config/compatibility.ts";
import { configuration, parameter } from "../../lib/config/configuration.ts";
import { expandMacros } from "../../lib/config/expand.ts";
import { defaultNetworks } from "../../lib/config/interfaces.ts";
import { splitBraced } from "../../lib/config/lists.ts";
import { type Endpoint, parseEndpoint } from "../../lib/dns/endpoint.ts";
import { replyFilter } from "../../lib/dns/reply_filter.ts";
import type { ReplyFilter } from "../../lib/dns/resolver.ts";
import { warning } from "../../lib/log/log.ts";
import { DebugPeers } from "../../lib/smtp/debug_peers.ts";
import { lowerAscii } from "../../lib/sys/bytes.ts";
import { TableList } from "../../lib/tables/list.ts";
import { MatchList, parentMode } from "../../lib/tables/match.ts";
import { openTable } from "../../lib/tables/open.ts";
import { type Table, TableFlag } from "../../lib/tables/table.ts";
import { checkRelayControl } from "./access/start_up.ts";
import { type PolicyService, parsePolicyService } from "./policy_service.ts";
import { RESTRICTION_LISTS, type RestrictionList } from "./restriction_lists.ts";
import { parseRewriteClients, type RewriteClients } from "./rewrite_clients.ts";
import { readSettings, type Settings } from "./settings.ts";

const ACCESS_FLAGS = TableFlag.lock | TableFlag.fold_fix | TableFlag.utf8_request;
const PLAIN_FLAGS = TableFlag.lock;
const FILTER_FLAGS = TableFlag.lock | TableFlag.fold_fix;

export interface Policy {
  readonly settings: Settings;
  /** The words of each restriction list and class, by parameter name. */
  readonly lists: ReadonlyMap<RestrictionList, readonly string[]>;
  readonly classes: ReadonlyMap<string, readonly string[]>;
  /** Tables named in restriction lists, by `type:name`. */
  readonly accessTables: ReadonlyMap<string, Table>;
  /** Servers of check_policy_service, by its argument. */
  readonly policyServices: ReadonlyMap<string, PolicyService>;
  /** smtpd_proxy_filter */
  readonly proxyFilter: Endpoint | undefined;
  /** smtpd_access_maps is in parent_domain_matches_subdomains. */
  readonly accessParentMode: boolean;
  readonly debugPeers: DebugPeers;
  readonly dnsReplyFilter: ReplyFilter | undefined;
  readonly commandFilter: TableList;
  readonly rejectFilterMaps: TableList;
  readonly rejectFooterMaps: TableList;
  readonly discardEhloMaps: TableList;
  readonly localRecipientMaps: TableList;
  readonly virtualMailboxMaps: TableList;
  readonly relayRecipientMaps: TableList;
  readonly virtualAliasMaps: TableList;
  readonly canonicalMaps: TableList;
  readonly recipientCanonicalMaps: TableList;
  readonly senderCanonicalMaps: TableList;
  readonly rblReplyMaps: TableList;
  readonly mynetworks: MatchList;
  /** What mynetworks would be by the present default, where an old one is in use. */
  readonly presentNetworks: MatchList | undefined;
  readonly mydestination: MatchList;
  readonly noopCommands: MatchList;
  readonly forbiddenCommands: MatchList;
  readonly bareLfExclusions: MatchList;
  readonly eventExceptions: MatchList;
  readonly verpClients: MatchList;
  readonly xclientHosts: MatchList;
  readonly xforwardHosts: MatchList;
  readonly logPermitActions: MatchList;
  readonly mxBackupNetworks: MatchList;
  readonly rewriteClients: RewriteClients;
  /** Own and proxy addresses, in text form. */
  readonly ownAddresses: ReadonlySet<string>;
  /** Expands a template of reply text; values pass smtpd_expansion_filter. */
  expandReply(template: string, lookup: (name: string) => string | undefined): string;
}

/**
 * Opens everything; a table that cannot be opened is the table layer's affair. An ordinary user's stand-alone server decides nothing by access
 * control, and may not reach the services behind such tables: it opens none of them.
 */
export async function openPolicy(standAlone = false): Promise<Policy> {
  const settings = readSettings();
  const lists = new Map<RestrictionList, readonly string[]>();
  for (const name of standAlone ? [] : RESTRICTION_LISTS) lists.set(name, splitBraced(parameter(name)));
  const classes = new Map<string, readonly string[]>();
  for (const name of standAlone ? [] : splitBraced(parameter("smtpd_restriction_classes")))
    classes.set(name, splitBraced(configuration().lookup(name) ?? ""));
  if (!standAlone) checkRelayControl(lists, classes);
  const accessTables = new Map<string, Table>();
  const policyServices = new Map<string, PolicyService>();
  for (const list of [...lists.values(), ...classes.values()])
    await openServers(list, accessTables, policyServices);
  const maps = (name: Parameters<typeof parameter>[0], flags = ACCESS_FLAGS): Promise<TableList> =>
    TableList.open(name, String(parameter(name)), flags);
  const controlMaps = (name: Parameters<typeof parameter>[0]): Promise<TableList> =>
    standAlone ? TableList.open(name, "", ACCESS_FLAGS) : maps(name);
  const clients = (name: Parameters<typeof parameter>[0], feature?: string): Promise<MatchList> =>
    MatchList.open(
      name,
      String(parameter(name)),
      "namadr",
      feature === undefined ? {} : { parentFeature: feature },
    );
  const strings = (name: Parameters<typeof parameter>[0]): Promise<MatchList> =>
    MatchList.open(name, String(parameter(name)), "string");
  const dnsFilter = await maps("smtpd_dns_reply_filter", TableFlag.lock);
  const allowed = new Set(unescapeFilter(settings.expansionFilter));
  return {
    settings,
    lists,
    classes,
    accessTables,
    policyServices,
    proxyFilter: settings.proxyFilter === "" ? undefined : parseEndpoint(settings.proxyFilter, "inet"),
    accessParentMode: parentMode("smtpd_access_maps"),
    debugPeers: await DebugPeers.open(),
    dnsReplyFilter: dnsFilter.empty ? undefined : replyFilter("smtpd_dns_reply_filter", dnsFilter),
    commandFilter: await maps("smtpd_command_filter", FILTER_FLAGS),
    rejectFilterMaps: await maps("smtpd_reject_filter_maps", PLAIN_FLAGS),
    rejectFooterMaps: await maps("smtpd_reject_footer_maps", PLAIN_FLAGS),
    discardEhloMaps: await maps("smtpd_discard_ehlo_keyword_address_maps", PLAIN_FLAGS),
    localRecipientMaps: await controlMaps("local_recipient_maps"),
    virtualMailboxMaps: await controlMaps("virtual_mailbox_maps"),
    relayRecipientMaps: await controlMaps("relay_recipient_maps"),
    virtualAliasMaps: await controlMaps("virtual_alias_maps"),
    canonicalMaps: await controlMaps("canonical_maps"),
    recipientCanonicalMaps: await controlMaps("recipient_canonical_maps"),
    senderCanonicalMaps: await controlMaps("sender_canonical_maps"),
    rblReplyMaps: await controlMaps("rbl_reply_maps"),
    mynetworks: await (standAlone
      ? MatchList.open("mynetworks", "", "namadr")
      : clients("mynetworks", "mynetworks")),
    presentNetworks: usesLegacyDefault(configuration(), "mynetworks_style")
      ? await MatchList.open(
          "mynetworks",
          defaultNetworks("host", () => configuration().ownAddresses()),
          "namadr",
        )
      : undefined,
    mydestination: await strings("mydestination"),
    noopCommands: await strings("smtpd_noop_commands"),
    forbiddenCommands: await strings("smtpd_forbidden_commands"),
    bareLfExclusions: await clients("smtpd_forbid_bare_newline_exclusions", "mynetworks"),
    eventExceptions: await clients(
      "smtpd_client_event_limit_exceptions",
      "smtpd_client_event_limit_exceptions",
    ),
    verpClients: await clients("smtpd_authorized_verp_clients"),
    xclientHosts: await clients("smtpd_authorized_xclient_hosts"),
    xforwardHosts: await clients("smtpd_authorized_xforward_hosts"),
    logPermitActions: await strings("smtpd_log_access_permit_actions"),
    mxBackupNetworks: await (standAlone
      ? MatchList.open("permit_mx_backup_networks", "", "namadr")
      : clients("permit_mx_backup_networks", "permit_mx_backup_networks")),
    rewriteClients: await parseRewriteClients(standAlone ? "" : parameter("local_header_rewrite_clients")),
    ownAddresses: new Set(
      [...configuration().ownAddresses(), ...configuration().proxyAddresses()].map((own) => own.address),
    ),
    expandReply(template, lookup) {
      if (!template.includes("$")) return template;
      const expansion = expandMacros(template, {
        lookup: (name) => {
          const value = lookup(name);
          if (value === undefined) warning(`unknown macro name "${name}" in expansion request`);
          return value;
        },
        recursive: false,
        filter: allowed,
      });
      if (expansion.ok) return expansion.value;
      for (const problem of expansion.problems) warning(problem);
      return template;
    },
  };
}

/** Opens the tables that a restriction list names, and notes its policy servers, once each. */
async function openServers(
  list: readonly string[],
  tables: Map<string, Table>,
  services: Map<string, PolicyService>,
): Promise<void> {
  for (let i = 0; i < list.length; i++) {
    const word = list[i] as string;
    if (lowerAscii(word) === "check_policy_service") {
      const server = list[++i];
      if (server !== undefined && !services.has(server)) services.set(server, parsePolicyService(server));
    } else if (word.includes(":") && !word.startsWith("{") && !tables.has(word))
      tables.set(word, await openTable(word, { flags: ACCESS_FLAGS }));
  }
}

/** C escapes of smtpd_expansion_filter. */
function unescapeFilter(text: string): string {
  return text.replace(
    /\\(?:([abfnrtv])|([0-7]{1,3})|(.))/g,
    (_all, letter?: string, octal?: string, other?: string) => {
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
      if (letter !== undefined) return "\x07\b\f\n\r\t\v".charAt("abfnrtv".indexOf(letter));
      return other ?? "";
    },
  );
}
