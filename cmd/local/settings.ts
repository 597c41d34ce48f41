/** What main.cf says to local(8). */
import { type PropagatingTable, propagatingTables } from "../../lib/address/propagation.ts";
import { type ExtensionRules, extensionRules } from "../../lib/address/split.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { namesOf } from "../../lib/config/names.ts";
import { openDispositionTables } from "../../lib/delivery/agent.ts";
import { type LockMethods, parseLockMethods } from "../../lib/delivery/mailbox_lock.ts";
import { openStatusFilter, type StatusFilter } from "../../lib/delivery/status_filter.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { setResourceLimit } from "../../lib/sys/process.ts";
import { type ListResult, TableList } from "../../lib/tables/list.ts";
import { PARANOID, TableFlag } from "../../lib/tables/table.ts";

/** Where an address, file or command was found. */
export type Origin = "alias" | "include" | "forward";

/** Tables that are opened at the first lookup: one that cannot be opened harms only the recipients that need it. */
export class DemandedTables {
  private list: Promise<TableList> | undefined;
  constructor(
    private readonly name: "mailbox_transport_maps" | "mailbox_command_maps" | "fallback_transport_maps",
    private readonly flags: number,
  ) {}

  async lookup(key: string): Promise<ListResult> {
    const { name, flags } = this;
    this.list ??= TableList.open(name, parameter(name), TableFlag.lock | TableFlag.utf8_request | flags);
    return (await this.list).lookup(key);
  }
}

export interface LocalSettings {
  readonly aliases: TableList;
  readonly mailboxTransports: DemandedTables;
  readonly mailboxCommands: DemandedTables;
  readonly fallbackTransports: DemandedTables;
  readonly filter: StatusFilter | undefined;
  readonly locks: LockMethods;
  readonly extensions: ExtensionRules;
  /** allow_mail_to_commands, allow_mail_to_files. */
  readonly commandOrigins: ReadonlySet<string>;
  readonly fileOrigins: ReadonlySet<string>;
  readonly propagate: ReadonlySet<PropagatingTable>;
  /** prepend_delivered_header: command, file, forward. */
  readonly prependDelivered: ReadonlySet<string>;
  readonly commandFilter: ReadonlySet<string>;
  readonly forwardFilter: ReadonlySet<string>;
  readonly directoryFilter: ReadonlySet<string>;
  readonly utf8: boolean;
}

const CONTEXTS = ["command", "file", "forward"] as const;
const ORIGINS: ReadonlyArray<Origin> = ["alias", "include", "forward"];

/** sun_mailtool_compatibility is an old name of one lock method. */
function lockMethods(): LockMethods {
  if (!parameter("sun_mailtool_compatibility"))
    return parseLockMethods("mailbox_delivery_lock", parameter("mailbox_delivery_lock"));
  warning('sun_mailtool_compatibility: deprecated parameter, use "mailbox_delivery_lock = dotlock" instead');
  return { fcntl: false, flock: false, dotlock: true };
}

/** As root, outside the jail. */
export async function openSettings(): Promise<LocalSettings> {
  const mailboxLimit = parameter("mailbox_size_limit");
  const messageLimit = parameter("message_size_limit");
  if (mailboxLimit > 0) {
    if (messageLimit === 0)
      fatal("configuration error: mailbox_size_limit is limited but message_size_limit is unlimited");
    if (mailboxLimit < messageLimit)
      fatal("configuration error: mailbox_size_limit is smaller than message_size_limit");
    setResourceLimit("fileSize", mailboxLimit);
  }
  await openDispositionTables();
  return {
    aliases: await TableList.open(
      "alias_maps",
      parameter("alias_maps"),
      TableFlag.lock | PARANOID | TableFlag.fold_fix | TableFlag.utf8_request,
    ),
    mailboxTransports: new DemandedTables("mailbox_transport_maps", TableFlag.no_regsub),
    mailboxCommands: new DemandedTables("mailbox_command_maps", PARANOID),
    fallbackTransports: new DemandedTables("fallback_transport_maps", TableFlag.no_regsub),
    filter: await openStatusFilter("local_delivery_status_filter", parameter("local_delivery_status_filter")),
    locks: lockMethods(),
    extensions: extensionRules(),
    commandOrigins: namesOf("allow_mail_to_commands", parameter("allow_mail_to_commands"), ORIGINS),
    fileOrigins: namesOf("allow_mail_to_files", parameter("allow_mail_to_files"), ORIGINS),
    propagate: propagatingTables(),
    prependDelivered: namesOf("prepend_delivered_header", parameter("prepend_delivered_header"), CONTEXTS),
    commandFilter: new Set(parameter("command_expansion_filter")),
    forwardFilter: new Set(parameter("forward_expansion_filter")),
    directoryFilter: new Set(parameter("execution_directory_expansion_filter")),
    utf8: parameter("smtputf8_enable"),
  };
}
