/** The requests of proxymap(8): open, lookup, update, delete, sequence on approved tables. */
import { type Message, receive, receiveHead, send } from "../../lib/ipc/attributes.ts";
import {
  PROXYMAP_STATUS,
  ProxymapBadReply,
  ProxymapCommand,
  ProxymapDelete,
  ProxymapLookup,
  ProxymapLookupReply,
  ProxymapOpen,
  ProxymapSequence,
  ProxymapSequenceReply,
  ProxymapStatusReply,
  ProxymapUpdate,
} from "../../lib/ipc/protocols/proxymap.ts";
import { warning } from "../../lib/log/log.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import type { Soon } from "../../lib/sys/when.ts";
import { openTable } from "../../lib/tables/open.ts";
import { type SequenceResult, type StoreResult, type Table, TableFlag } from "../../lib/tables/table.ts";
import { type ProxyService, withoutProxy } from "./approved.ts";

/** A request must be complete this long after its first byte. */
const REQUEST_SECONDS = 1;

interface TableRequest {
  readonly table: string;
  readonly instanceFlags: number;
}

/** The table of a request, or the status that refuses it. */
type Access =
  | { readonly kind: "table"; readonly table: Table }
  | { readonly kind: "refused"; readonly status: number };

const STATUS = PROXYMAP_STATUS;

/** Answers a malformed request in the form of the request's own reply. */
function refuse(channel: Channel, request: string): void {
  const nothing = { status: STATUS.bad, flags: 0 };
  if (request === "lookup") send(channel, ProxymapLookupReply, { ...nothing, value: "" });
  else if (request === "sequence") send(channel, ProxymapSequenceReply, { ...nothing, key: "", value: "" });
  else send(channel, ProxymapStatusReply, nothing);
}

export class Requests {
  private readonly tables = new Map<string, Promise<Table>>();

  constructor(
    private readonly service: ProxyService,
    private readonly approved: ReadonlySet<string>,
  ) {}

  /** Reads one request and queues its reply; false when the peer makes no sense. */
  async serve(channel: Channel): Promise<boolean> {
    const timeLimit = channel.timeLimit;
    channel.timeLimit = REQUEST_SECONDS;
    try {
      return await this.answer(channel);
    } finally {
      channel.timeLimit = timeLimit;
    }
  }

  private async answer(channel: Channel): Promise<boolean> {
    const command = await receiveHead(channel, ProxymapCommand);
    return command.kind === "value" && (await this.dispatch(channel, command.value.request));
  }

  private async dispatch(channel: Channel, request: string): Promise<boolean> {
    switch (request) {
      case "open":
        return await this.withRequest(channel, request, ProxymapOpen, async (value) =>
          this.open(channel, value),
        );
      case "lookup":
        return await this.withRequest(channel, request, ProxymapLookup, async (value) => {
          const access = await this.find(value);
          if (access.kind === "refused")
            return send(channel, ProxymapLookupReply, { status: access.status, flags: 0, value: "" });
          const [result, flags] = await withFlags(access.table, value.flags, (table) =>
            table.lookup(value.key),
          );
          const found = result.kind === "found" ? result.value : "";
          send(channel, ProxymapLookupReply, { status: statusOf(result), flags, value: found });
        });
      case "update":
        return await this.withRequest(channel, request, ProxymapUpdate, async (value) =>
          this.change(channel, "update", value, TableFlag.dup_replace, (table) =>
            table.update?.(value.key, value.value),
          ),
        );
      case "delete":
        return await this.withRequest(channel, request, ProxymapDelete, async (value) =>
          this.change(channel, "delete", value, 0, (table) => table.remove?.(value.key)),
        );
      case "sequence":
        return await this.withRequest(channel, request, ProxymapSequence, async (value) =>
          this.sequence(channel, value),
        );
      default:
        return await this.withRequest(channel, request, ProxymapCommand, async () => {
          warning(`unrecognized request: "${request}", ignored`);
          send(channel, ProxymapBadReply, { status: STATUS.bad });
        });
    }
  }

  private async withRequest<T>(
    channel: Channel,
    request: string,
    message: Message<T>,
    act: (value: T) => Promise<void>,
  ): Promise<boolean> {
    const received = await receive(channel, message, { skipExtra: message === ProxymapCommand });
    if (received.kind !== "value") {
      refuse(channel, request);
      await channel.flush();
      return false;
    }
    await act(received.value);
    return true;
  }

  private async open(channel: Channel, request: TableRequest): Promise<void> {
    const access = await this.find(request);
    if (access.kind === "refused") send(channel, ProxymapStatusReply, { status: access.status, flags: 0 });
    else send(channel, ProxymapStatusReply, { status: STATUS.ok, flags: access.table.flags });
  }

  private async change(
    channel: Channel,
    operation: "update" | "delete",
    request: TableRequest & { readonly flags: number },
    extraFlags: number,
    act: (table: Table) => Soon<StoreResult> | undefined,
  ): Promise<void> {
    if (this.service !== "proxywrite") {
      warning(`refusing ${withoutProxy(request.table)} ${operation} request on non-proxywrite service`);
      send(channel, ProxymapStatusReply, { status: STATUS.denied, flags: 0 });
      return;
    }
    const access = await this.find(request);
    if (access.kind === "refused") {
      send(channel, ProxymapStatusReply, { status: access.status, flags: 0 });
      return;
    }
    const wanted = request.flags | TableFlag.sync_update | extraFlags;
    const [result, flags] = await withFlags(access.table, wanted, act);
    const status = result === undefined ? STATUS.bad : statusOf(result);
    send(channel, ProxymapStatusReply, { status, flags });
  }

  private async sequence(
    channel: Channel,
    request: TableRequest & { readonly flags: number; readonly function: number },
  ): Promise<void> {
    const reply = (status: number, flags: number, result?: SequenceResult): void => {
      const { key, value } = result?.kind === "found" ? result : { key: "", value: "" };
      send(channel, ProxymapSequenceReply, { status, flags, key, value });
    };
    const access = await this.find(request);
    if (access.kind === "refused") return reply(access.status, 0);
    if (request.function !== 0 && request.function !== 1) return reply(STATUS.bad, 0);
    const [result, flags] = await withFlags(access.table, request.flags, (table) =>
      table.sequence?.(request.function === 0 ? "first" : "next"),
    );
    if (result === undefined) return reply(STATUS.bad, 0);
    reply(statusOf(result), flags, result);
  }

  /** Finds or opens a table; each name with its flags is opened once. */
  private async find({ table: requested, instanceFlags }: TableRequest): Promise<Access> {
    const name = withoutProxy(requested);
    if (!this.approved.has(name)) {
      if (!name.includes(":")) return { kind: "refused", status: STATUS.bad };
      const [mode, list] =
        this.service === "proxywrite" ? ["read-write", "proxy_write_maps"] : ["read-only", "proxy_read_maps"];
      warning(`request for unapproved table: "${name}"`);
      warning(`to approve this table for ${mode} access, list proxy:${name} in main.cf:${list}`);
      return { kind: "refused", status: STATUS.denied };
    }
    const key = `${instanceFlags >>> 0}:${name}`;
    let table = this.tables.get(key);
    if (table === undefined) {
      const writable = this.service === "proxywrite";
      const flags = writable ? instanceFlags | TableFlag.sync_update | TableFlag.dup_replace : instanceFlags;
      table = openTable(name, { access: writable ? "create" : "read", flags });
      this.tables.set(key, table);
    }
    return { kind: "table", table: await table };
  }
}

/**
 * An operation under the flags of one request, and the flags it leaves. Several clients share a table: by the time that the outcome is there, the
 * table may have another one's flags.
 */
async function withFlags<R>(
  table: Table,
  flags: number,
  act: (table: Table) => R | Promise<R>,
): Promise<readonly [R, number]> {
  table.flags = flags;
  const pending = act(table);
  const left = table.flags;
  return [await pending, left];
}

function statusOf(result: { readonly kind: string; readonly error?: "retry" | "config" }): number {
  switch (result.kind) {
    case "found":
    case "done":
      return STATUS.ok;
    case "absent":
    case "unchanged":
      return STATUS.noKey;
    default:
      return result.error === "config" ? STATUS.config : STATUS.retry;
  }
}
