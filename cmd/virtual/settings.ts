/** What main.cf says to virtual(8). */
import { LocalDomains } from "../../lib/address/local_domains.ts";
import type { LookupRules } from "../../lib/address/lookup.ts";
import { extensionRules } from "../../lib/address/split.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { openDispositionTables } from "../../lib/delivery/agent.ts";
import { type LockMethods, parseLockMethods } from "../../lib/delivery/mailbox_lock.ts";
import { openStatusFilter, type StatusFilter } from "../../lib/delivery/status_filter.ts";
import { fatal } from "../../lib/log/log.ts";
import { setResourceLimit } from "../../lib/sys/process.ts";
import { TableList } from "../../lib/tables/list.ts";
import { PARANOID, TableFlag } from "../../lib/tables/table.ts";

export interface VirtualSettings {
  /** virtual_mailbox_base, absolute. */
  readonly base: string;
  readonly mailboxes: TableList;
  readonly uids: TableList;
  readonly gids: TableList;
  readonly rules: LookupRules;
  readonly filter: StatusFilter | undefined;
  readonly locks: LockMethods;
  readonly utf8: boolean;
}

/** As root, outside the jail. */
export async function openSettings(): Promise<VirtualSettings> {
  const base = parameter("virtual_mailbox_base");
  if (!base.startsWith("/")) fatal(`do not specify relative pathname: virtual_mailbox_base = ${base}`);
  const mailboxLimit = parameter("virtual_mailbox_limit");
  const messageLimit = parameter("message_size_limit");
  if (mailboxLimit > 0) {
    if (messageLimit === 0)
      fatal("configuration error: virtual_mailbox_limit is limited but message_size_limit is unlimited");
    if (mailboxLimit < messageLimit)
      fatal("configuration error: virtual_mailbox_limit is smaller than message_size_limit");
    setResourceLimit("fileSize", mailboxLimit);
  }
  // no folding by the tables: the recipient is folded here, pattern tables included
  const open = (name: "virtual_mailbox_maps" | "virtual_uid_maps" | "virtual_gid_maps"): Promise<TableList> =>
    TableList.open(name, parameter(name), TableFlag.lock | PARANOID | TableFlag.utf8_request);
  const locals = await LocalDomains.open();
  await openDispositionTables();
  return {
    base,
    mailboxes: await open("virtual_mailbox_maps"),
    uids: await open("virtual_uid_maps"),
    gids: await open("virtual_gid_maps"),
    rules: {
      ...extensionRules(),
      myorigin: parameter("myorigin"),
      isLocalDomain: (domain) => locals.isLocal(domain),
    },
    filter: await openStatusFilter(
      "virtual_delivery_status_filter",
      parameter("virtual_delivery_status_filter"),
    ),
    // the name in its complaint is the one in Postfix's
    locks: parseLockMethods("mailbox_delivery_lock", parameter("virtual_mailbox_lock")),
    utf8: parameter("smtputf8_enable"),
  };
}
