/** `proxy:type:name`: a table that proxymap(8) or proxywrite(8) has open. */

import { parameter } from "../../config/configuration.ts";
import type { Message } from "../../ipc/attributes.ts";
import { PersistentClient } from "../../ipc/client.ts";
import {
  PROXYMAP_STATUS,
  ProxymapDelete,
  ProxymapGreeting,
  ProxymapLookup,
  ProxymapLookupReply,
  ProxymapOpen,
  ProxymapSequence,
  ProxymapSequenceReply,
  ProxymapStatusReply,
  ProxymapUpdate,
} from "../../ipc/protocols/proxymap.ts";
import { fatal } from "../../log/log.ts";
import { existsSync } from "../../sys/fs.ts";
import {
  ABSENT,
  CONFIG,
  DONE,
  found,
  type LookupResult,
  type OpenType,
  RETRY,
  type SequenceResult,
  type StoreResult,
  type Table,
  type TableFailure,
  TableFlag,
  TableOpenError,
  UNCHANGED,
  UNKNOWN_OWNER,
} from "../table.ts";

const clients = new Map<string, PersistentClient>();

function client(service: string): PersistentClient {
  let existing = clients.get(service);
  if (existing === undefined) {
    existing = new PersistentClient({
      serviceClass: "private",
      service,
      greeting: ProxymapGreeting,
      complaint: `dict_proxy_lookup: service ${service}`,
      // commands run anywhere, daemons in the queue directory
      directory: existsSync(`private/${service}`) ? "" : `${parameter("queue_directory")}/`,
      retry: "forever",
      timeLimit: parameter("ipc_timeout"),
      idleLimit: parameter("ipc_idle"),
      ageLimit: parameter("ipc_ttl"),
    });
    clients.set(service, existing);
  }
  return existing;
}

interface Reply {
  readonly status: number;
  readonly flags: number;
}

/** Requests with retry "forever" always come back with a reply. */
async function ask<Q, R extends Reply>(
  service: string,
  request: Message<Q>,
  value: Q,
  reply: Message<R>,
): Promise<R> {
  for (;;) {
    const answer = await client(service).request(request, value, reply);
    if (answer !== undefined) return answer;
  }
}

const denied = (service: string, updates: boolean, table: string): string =>
  updates
    ? `${service} update access is not configured for table "${table}"`
    : `${service} service is not configured for table "${table}"`;

class ProxyTable implements Table {
  readonly owner = UNKNOWN_OWNER;
  readonly name: string;

  constructor(
    private readonly table: string,
    private readonly service: string,
    private readonly updates: boolean,
    private readonly instanceFlags: number,
    public flags: number,
  ) {
    this.name = `proxy:${table}`;
  }
  get fixed(): boolean {
    return (this.flags & TableFlag.fixed) !== 0;
  }

  async lookup(key: string): Promise<LookupResult> {
    const { table, instanceFlags, flags } = this;
    const reply = await ask(
      this.service,
      ProxymapLookup,
      { table, instanceFlags, flags, key },
      ProxymapLookupReply,
    );
    const outcome = this.outcome(reply, "lookup", key);
    return outcome === "ok" ? found(reply.value) : outcome === "no key" ? ABSENT : outcome;
  }
  async update(key: string, value: string): Promise<StoreResult> {
    const { table, instanceFlags, flags } = this;
    const request = { table, instanceFlags, flags, key, value };
    const reply = await ask(this.service, ProxymapUpdate, request, ProxymapStatusReply);
    return this.stored(this.outcome(reply, "update", key));
  }
  async remove(key: string): Promise<StoreResult> {
    const { table, instanceFlags, flags } = this;
    const reply = await ask(
      this.service,
      ProxymapDelete,
      { table, instanceFlags, flags, key },
      ProxymapStatusReply,
    );
    return this.stored(this.outcome(reply, "delete", key));
  }
  async sequence(position: "first" | "next"): Promise<SequenceResult> {
    const { table, instanceFlags, flags } = this;
    const request = { table, instanceFlags, flags, function: position === "first" ? 0 : 1 };
    const reply = await ask(this.service, ProxymapSequence, request, ProxymapSequenceReply);
    const outcome = this.outcome(reply, "sequence", "");
    if (outcome === "ok") return { kind: "found", key: reply.key, value: reply.value };
    return outcome === "no key" ? ABSENT : outcome;
  }

  private stored(outcome: "ok" | "no key" | TableFailure): StoreResult {
    return outcome === "ok" ? DONE : outcome === "no key" ? UNCHANGED : outcome;
  }

  private outcome(reply: Reply, operation: string, key: string): "ok" | "no key" | TableFailure {
    switch (reply.status) {
      case PROXYMAP_STATUS.ok:
        this.flags = reply.flags;
        return "ok";
      case PROXYMAP_STATUS.noKey:
        this.flags = reply.flags;
        return "no key";
      case PROXYMAP_STATUS.retry:
        this.flags = reply.flags;
        return RETRY;
      case PROXYMAP_STATUS.config:
        this.flags = reply.flags;
        return CONFIG;
      case PROXYMAP_STATUS.bad:
        return fatal(
          `${this.service} ${operation} failed for table "${this.table}"${key === "" ? "" : ` key "${key}"`}: invalid request`,
        );
      case PROXYMAP_STATUS.denied:
        return fatal(denied(this.service, this.updates, this.table));
      default:
        return RETRY;
    }
  }
  changed(): boolean {
    return false;
  }
  close(): void {}
}

export const openProxy: OpenType = async (name, options) => {
  const updates = options.access !== "read";
  const service = parameter(updates ? "proxywrite_service_name" : "proxymap_service_name");
  const request = { table: name, instanceFlags: options.flags };
  const reply = await ask(service, ProxymapOpen, request, ProxymapStatusReply);
  if (reply.status === PROXYMAP_STATUS.bad)
    throw new TableOpenError(`${service} open failed for table "${name}": invalid request`);
  if (reply.status === PROXYMAP_STATUS.denied) throw new TableOpenError(denied(service, updates, name));
  // trouble with the table itself shows at the lookups
  return new ProxyTable(
    name,
    service,
    updates,
    options.flags,
    reply.status === PROXYMAP_STATUS.ok ? reply.flags : options.flags,
  );
};
