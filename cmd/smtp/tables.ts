/** The agent's tables, opened before the jail is entered. */

import { LocalDomains } from "../../lib/address/local_domains.ts";
import type { LookupRules } from "../../lib/address/lookup.ts";
import { propagatingTables } from "../../lib/address/propagation.ts";
import { extensionRules } from "../../lib/address/split.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { openStatusFilter, type StatusFilter } from "../../lib/delivery/status_filter.ts";
import { replyFilter } from "../../lib/dns/reply_filter.ts";
import type { ReplyFilter } from "../../lib/dns/resolver.ts";
import { DebugPeers } from "../../lib/smtp/debug_peers.ts";
import { TableList } from "../../lib/tables/list.ts";
import { MatchList } from "../../lib/tables/match.ts";
import { TableFlag } from "../../lib/tables/table.ts";
import type { AgentSuffix, Settings } from "./settings.ts";

export interface AgentTables {
  readonly generic: TableList;
  readonly headerChecks: TableList;
  readonly mimeHeaderChecks: TableList;
  readonly nestedHeaderChecks: TableList;
  readonly bodyChecks: TableList;
  readonly replyFilter: TableList;
  readonly dnsFilter: ReplyFilter | undefined;
  readonly discardKeywords: TableList;
  readonly pixWorkarounds: TableList;
  readonly statusFilter: StatusFilter | undefined;
  readonly cacheDestinations: MatchList;
  readonly debugPeers: DebugPeers;
  /** For lookups of addresses in generic maps; undefined when there are none. */
  readonly addressRules: LookupRules | undefined;
  /** propagate_unmatched_extensions names them. */
  readonly genericExtensions: boolean;
}

export async function openTables(settings: Settings): Promise<AgentTables> {
  const text = (suffix: AgentSuffix): string => String(settings.get(suffix));
  const open = (suffix: AgentSuffix, flags: number): Promise<TableList> =>
    TableList.open(settings.name(suffix), text(suffix), TableFlag.lock | flags);
  const generic = await open("generic_maps", TableFlag.fold_fix | TableFlag.utf8_request);
  const dnsFilter = await open("dns_reply_filter", 0);
  const local = generic.empty ? undefined : await LocalDomains.open();
  return {
    generic,
    headerChecks: await open("header_checks", 0),
    mimeHeaderChecks: await open("mime_header_checks", 0),
    nestedHeaderChecks: await open("nested_header_checks", 0),
    bodyChecks: await open("body_checks", 0),
    replyFilter: await open("reply_filter", 0),
    dnsFilter: dnsFilter.empty ? undefined : replyFilter(settings.name("dns_reply_filter"), dnsFilter),
    discardKeywords: await open("discard_ehlo_keyword_address_maps", 0),
    pixWorkarounds: await open("pix_workaround_maps", 0),
    statusFilter: await openStatusFilter(
      settings.name("delivery_status_filter"),
      text("delivery_status_filter"),
    ),
    cacheDestinations: await MatchList.open(
      settings.name("connection_cache_destinations"),
      text("connection_cache_destinations"),
      "string",
    ),
    debugPeers: await DebugPeers.open(),
    addressRules:
      local === undefined
        ? undefined
        : {
            ...extensionRules(),
            myorigin: parameter("myorigin"),
            isLocalDomain: (domain) => local.isLocal(domain),
          },
    genericExtensions: propagatingTables().has("generic"),
  };
}
