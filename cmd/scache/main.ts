/** scache(8): keeps idle connections to servers for whatever process of smtp(8) needs one next. */

import { parameter } from "../../lib/config/configuration.ts";
import { multiServer } from "../../lib/daemon/multi.ts";
import { type Message, receive, receiveHead, send } from "../../lib/ipc/attributes.ts";
import { passDescriptor, takeDescriptor } from "../../lib/ipc/descriptor_passing.ts";
import {
  SCACHE_STATUS,
  ScacheCommand,
  ScacheDestinationReply,
  ScacheEndpointReply,
  ScacheFindDestination,
  ScacheFindEndpoint,
  ScacheGreeting,
  ScacheSaveDestination,
  ScacheSaveEndpoint,
  ScacheStatus,
} from "../../lib/ipc/protocols/scache.ts";
import { info, panic, warning } from "../../lib/log/log.ts";
import { localZone } from "../../lib/message/zone.ts";
import { printable } from "../../lib/sys/bytes.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { closeSync } from "../../lib/sys/fs.ts";
import { resourceLimit } from "../../lib/sys/process.ts";
import { every } from "../../lib/sys/timers.ts";
import { watchConnection } from "./idle_connection.ts";
import { Statistics } from "./statistics.ts";
import { CAPACITY, ConnectionStore } from "./store.ts";

class Scache {
  readonly statistics = new Statistics();
  constructor(readonly store: ConnectionStore) {}

  /** One request; false ends the connection. */
  async serve(channel: Channel): Promise<boolean> {
    const head = await receiveHead(channel, ScacheCommand);
    if (head.kind !== "value") return false;
    switch (head.value.request) {
      case "save_endp":
        return this.#saveEndpoint(channel);
      case "find_endp":
        return this.#findEndpoint(channel);
      case "save_dest":
        return this.#saveDestination(channel);
      case "find_dest":
        return this.#findDestination(channel);
      default:
        warning(`unrecognized request: "${printable(head.value.request)}", ignored`);
        status(channel, SCACHE_STATUS.bad);
        return (await receive(channel, ScacheCommand, { skipExtra: true })).kind === "value";
    }
  }

  async #saveEndpoint(channel: Channel): Promise<boolean> {
    const request = await read(channel, ScacheSaveEndpoint);
    if (request === undefined || request.ttl <= 0) {
      badRequest("save_endp");
      status(channel, SCACHE_STATUS.bad);
      return request !== undefined;
    }
    const fd = await takeDescriptor(channel, { acknowledged: false });
    if (fd === undefined) {
      warning(`scache_save_endp_service: recv_fd: no descriptor from ${channel.name}`);
      return status(channel, SCACHE_STATUS.fail);
    }
    const connection = await watchConnection(fd);
    if (!this.store.saveEndpoint(request.ttl, request.label, request.property, connection)) {
      connection.close();
      return status(channel, SCACHE_STATUS.fail);
    }
    this.statistics.saw(this.store.sizes);
    return status(channel, SCACHE_STATUS.ok);
  }

  async #saveDestination(channel: Channel): Promise<boolean> {
    const request = await read(channel, ScacheSaveDestination);
    if (request === undefined || request.ttl <= 0) {
      badRequest("save_dest");
      status(channel, SCACHE_STATUS.bad);
      return request !== undefined;
    }
    const { ttl, destination, property, endpoint } = request;
    const saved = this.store.saveDestination(ttl, destination, property, endpoint);
    this.statistics.saw(this.store.sizes);
    return status(channel, saved ? SCACHE_STATUS.ok : SCACHE_STATUS.fail);
  }

  async #findEndpoint(channel: Channel): Promise<boolean> {
    const request = await read(channel, ScacheFindEndpoint);
    if (request === undefined) {
      badRequest("find_endp");
      send(channel, ScacheEndpointReply, { status: SCACHE_STATUS.bad, property: "" });
      return false;
    }
    const found = this.store.findEndpoint(request.label);
    this.statistics.addresses.count(found !== undefined);
    const result = found === undefined ? SCACHE_STATUS.fail : SCACHE_STATUS.ok;
    send(channel, ScacheEndpointReply, { status: result, property: found?.property ?? "" });
    return found === undefined || handOver(channel, found.fd);
  }

  async #findDestination(channel: Channel): Promise<boolean> {
    const request = await read(channel, ScacheFindDestination);
    if (request === undefined) {
      badRequest("find_dest");
      send(channel, ScacheDestinationReply, {
        status: SCACHE_STATUS.bad,
        destinationProperty: "",
        endpointProperty: "",
      });
      return false;
    }
    const found = this.store.findDestination(request.label);
    this.statistics.domains.count(found !== undefined);
    send(channel, ScacheDestinationReply, {
      status: found === undefined ? SCACHE_STATUS.fail : SCACHE_STATUS.ok,
      destinationProperty: found?.destinationProperty ?? "",
      endpointProperty: found?.property ?? "",
    });
    return found === undefined || handOver(channel, found.fd);
  }

  report(): void {
    for (const line of this.statistics.take()) info(line);
  }
}

/** A request; undefined when it cannot be read, and the connection is of no more use. */
async function read<T>(channel: Channel, declared: Message<T>): Promise<T | undefined> {
  const request = await receive(channel, declared);
  return request.kind === "value" ? request.value : undefined;
}

const badRequest = (request: string): void =>
  warning(`scache_${request}_service: bad or missing request parameter`);

function status(channel: Channel, value: number): true {
  send(channel, ScacheStatus, { status: value });
  return true;
}

/** The connection belongs to the client when it has said so; lost on the way, it is closed. */
async function handOver(channel: Channel, fd: number): Promise<boolean> {
  try {
    return await passDescriptor(channel, fd, { acknowledged: true });
  } finally {
    closeSync(fd);
  }
}

/** Half of the descriptors: the others are for clients, and for connections on their way. */
const connectionLimit = (): number =>
  Math.min(CAPACITY, (resourceLimit("openFiles") ?? Number.POSITIVE_INFINITY) / 2);

let scache: Scache | undefined;

export const main = multiServer({
  profile: { files: "read" },
  greeting: ScacheGreeting,
  processLimit: 1,
  maxUse: 0,
  descriptorsPerClient: 3,
  parameters: ["connection_cache_ttl_limit", "connection_cache_status_update_time"],
  preJail() {
    // the zone's rules are outside the jail
    localZone();
  },
  postJail() {
    const started = new Scache(
      new ConnectionStore(parameter("connection_cache_ttl_limit"), connectionLimit()),
    );
    scache = started;
    every(parameter("connection_cache_status_update_time"), () => started.report(), { background: true });
  },
  serve: (channel) => (scache ?? panic("scache: not initialized")).serve(channel),
  atExit() {
    scache?.store.clear();
    scache?.report();
  },
});
