/** Client of scache(8): connections that other processes may take over (ipc.md 5.10). */

import { type Configuration, configuration } from "../../config/configuration.ts";
import { warning } from "../../log/log.ts";
import type { Channel } from "../../sys/channel.ts";
import { closeSync } from "../../sys/fs.ts";
import { type Message, receive, send } from "../attributes.ts";
import { PersistentClient } from "../client.ts";
import { passDescriptor, takeDescriptor } from "../descriptor_passing.ts";
import {
  SCACHE_STATUS,
  ScacheDestinationReply,
  ScacheEndpointReply,
  ScacheFindDestination,
  ScacheFindEndpoint,
  ScacheGreeting,
  ScacheSaveDestination,
  ScacheSaveEndpoint,
  ScacheStatus,
} from "../protocols/scache.ts";

export interface CachedConnection {
  /** A blocking descriptor, owned by whom it is given to. */
  readonly fd: number;
  readonly endpointProperty: string;
  /** Empty when it was found by its endpoint. */
  readonly destinationProperty: string;
}

type Found = { readonly kind: "hit"; readonly connection: CachedConnection } | { readonly kind: "miss" };
const MISS: Found = { kind: "miss" };

/** A server that says nothing but its name is no cache. */
const TRIES = 2;

export class ScacheClient {
  readonly #connection: PersistentClient;
  #failures = 0;

  constructor(settings: { service: string; timeLimit: number; idleLimit: number; ageLimit: number }) {
    this.#connection = new PersistentClient({
      serviceClass: "private",
      greeting: ScacheGreeting,
      retry: "twice",
      connectionLimit: 4,
      label: `server private/${settings.service}`,
      ...settings,
    });
  }

  findEndpoint(label: string): Promise<CachedConnection | undefined> {
    return this.#find(async (channel) => {
      const reply = await ask(channel, ScacheFindEndpoint, { label }, ScacheEndpointReply);
      return reply && { status: reply.status, endpointProperty: reply.property, destinationProperty: "" };
    });
  }

  findDestination(label: string): Promise<CachedConnection | undefined> {
    return this.#find((channel) => ask(channel, ScacheFindDestination, { label }, ScacheDestinationReply));
  }

  async #find(
    request: (
      channel: Channel,
    ) => Promise<{ status: number; endpointProperty: string; destinationProperty: string } | undefined>,
  ): Promise<CachedConnection | undefined> {
    const found = await this.#exchange(async (channel): Promise<Found | undefined> => {
      const reply = await request(channel);
      if (reply === undefined) return undefined;
      if (reply.status !== SCACHE_STATUS.ok) return MISS;
      const fd = await takeDescriptor(channel, { acknowledged: true });
      if (fd === undefined) return undefined;
      const { endpointProperty, destinationProperty } = reply;
      return { kind: "hit", connection: { fd, endpointProperty, destinationProperty } };
    });
    return found?.kind === "hit" ? found.connection : undefined;
  }

  /** Hands over a connection for `ttl` seconds; the descriptor is closed here. */
  async saveEndpoint(ttl: number, label: string, property: string, fd: number): Promise<boolean> {
    try {
      const status = await this.#exchange(async (channel) => {
        send(channel, ScacheSaveEndpoint, { ttl, label, property });
        if (!(await passDescriptor(channel, fd, { acknowledged: false }))) return undefined;
        const reply = await receive(channel, ScacheStatus);
        return reply.kind === "value" ? reply.value.status : undefined;
      });
      return status === SCACHE_STATUS.ok;
    } finally {
      closeSync(fd);
    }
  }

  async saveDestination(
    ttl: number,
    destination: string,
    property: string,
    endpoint: string,
  ): Promise<boolean> {
    const reply = await this.#exchange((channel) =>
      ask(channel, ScacheSaveDestination, { ttl, destination, property, endpoint }, ScacheStatus),
    );
    return reply?.status === SCACHE_STATUS.ok;
  }

  /** After two failures in a row there is no cache any more for this process. */
  async #exchange<R>(conversation: (channel: Channel) => Promise<R | undefined>): Promise<R | undefined> {
    if (this.#failures >= TRIES) return undefined;
    const result = await this.#connection.exchange(conversation);
    if (result !== undefined) this.#failures = 0;
    else if (++this.#failures >= TRIES) warning("disabling connection caching");
    return result;
  }

  close(): void {
    this.#connection.close();
  }
}

async function ask<Q, R>(
  channel: Channel,
  request: Message<Q>,
  value: Q,
  reply: Message<R>,
): Promise<R | undefined> {
  send(channel, request, value);
  await channel.flush();
  const answer = await receive(channel, reply);
  return answer.kind === "value" ? answer.value : undefined;
}

const clients = new WeakMap<Configuration, ScacheClient>();

/** The client of the installed configuration. */
export function scacheClient(): ScacheClient {
  const current = configuration();
  let client = clients.get(current);
  if (client === undefined) {
    client = new ScacheClient({
      service: current.get("connection_cache_service_name"),
      timeLimit: current.get("connection_cache_protocol_timeout"),
      idleLimit: current.get("ipc_idle"),
      ageLimit: current.get("ipc_ttl"),
    });
    clients.set(current, client);
  }
  return client;
}
