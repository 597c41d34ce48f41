/**
 * anvil(8): counts sessions and events per client for smtpd(8) and postscreen(8). One process knows all clients; each connection to it
 * stands for at most one client session, which ends with the connection.
 */

import { parameter } from "../../lib/config/configuration.ts";
import { multiServer } from "../../lib/daemon/multi.ts";
import type { Main } from "../../lib/daemon/program.ts";
import { receive, send } from "../../lib/ipc/attributes.ts";
import {
  AnvilConnectReply,
  AnvilGreeting,
  AnvilKnownLookupReply,
  AnvilLookupReply,
  AnvilRateReply,
  AnvilRequest,
  AnvilStatusReply,
} from "../../lib/ipc/protocols/anvil.ts";
import { info, warning } from "../../lib/log/log.ts";
import { localZone } from "../../lib/message/zone.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { every } from "../../lib/sys/timers.ts";
import { type Client, Counters, type EventName } from "./counters.ts";
import { statistics } from "./statistics.ts";

const RATE_REQUESTS = new Map<string, EventName>([
  ["message", "message"],
  ["recipient", "recipient"],
  ["newtls", "newtls"],
  ["auth", "auth"],
  ["tlstr", "tlstrace"],
]);

const UNKNOWN_REQUEST = -1;

/** The requests of all connections. */
class Anvil {
  private readonly sessions = new WeakMap<Channel, Client>();

  constructor(private readonly counters: Counters) {}

  /** Reads one request and queues its reply; false when the peer is gone or makes no sense. */
  async serve(channel: Channel): Promise<boolean> {
    const received = await receive(channel, AnvilRequest, { encoding: "plain" });
    if (received.kind !== "value") return false;
    const { request, ident } = received.value;
    const { counters } = this;
    const event = RATE_REQUESTS.get(request);
    if (event !== undefined) {
      const client = counters.find(ident) ?? this.attach(channel, ident);
      send(channel, AnvilRateReply, { status: 0, rate: counters.event(client, event) }, "plain");
      return true;
    }
    switch (request) {
      case "connect": {
        const client = this.attach(channel, ident);
        send(
          channel,
          AnvilConnectReply,
          { status: 0, count: client.count, rate: client.rates.connection },
          "plain",
        );
        return true;
      }
      case "disconnect":
        this.detach(channel);
        send(channel, AnvilStatusReply, { status: 0 }, "plain");
        return true;
      case "newtls_status": {
        const client = counters.find(ident);
        if (client !== undefined) counters.refresh(client);
        send(channel, AnvilRateReply, { status: 0, rate: client?.rates.newtls ?? 0 }, "plain");
        return true;
      }
      case "lookup":
        this.lookup(channel, ident);
        return true;
      default:
        warning(`unrecognized request: "${request}", ignored`);
        send(channel, AnvilStatusReply, { status: UNKNOWN_REQUEST }, "plain");
        return true;
    }
  }

  /** Registers the connection's client; one that it had before is let go. */
  private attach(channel: Channel, ident: string): Client {
    this.detach(channel);
    const client = this.counters.entry(ident);
    this.counters.connect(client);
    this.counters.event(client, "connection");
    this.sessions.set(channel, client);
    return client;
  }

  detach(channel: Channel): void {
    const client = this.sessions.get(channel);
    if (client === undefined) return;
    this.sessions.delete(channel);
    this.counters.disconnect(client);
  }

  private lookup(channel: Channel, ident: string): void {
    const client = this.counters.find(ident);
    if (client === undefined) {
      const none = { status: 0, count: 0, rate: 0, mail: 0, rcpt: 0, newtls: 0, auth: 0 };
      send(channel, AnvilLookupReply, none, "plain");
      return;
    }
    this.counters.refresh(client);
    const { count, rates } = client;
    const known = {
      status: 0,
      count,
      rate: rates.connection,
      mail: rates.message,
      rcpt: rates.recipient,
      newtls: rates.newtls,
      auth: rates.auth,
      tlsTrace: rates.tlstrace,
    };
    send(channel, AnvilKnownLookupReply, known, "plain");
  }
}

export const main: Main = (invocation) => {
  let counters: Counters | undefined;
  let anvil: Anvil | undefined;
  const report = (): void => {
    if (counters !== undefined)
      for (const line of statistics(counters, parameter("anvil_rate_time_unit"))) info(line);
  };
  return multiServer({
    profile: { files: "read" },
    greeting: AnvilGreeting,
    encoding: "plain",
    processLimit: 1,
    maxUse: 0,
    maxIdle: () => parameter("anvil_rate_time_unit"),
    preJail: () => {
      localZone();
    },
    postJail: () => {
      const unit = parameter("anvil_rate_time_unit");
      const counting = new Counters(unit * 1000);
      counters = counting;
      anvil = new Anvil(counting);
      every(unit, () => counting.sweep(), { background: true });
      every(parameter("anvil_status_update_time"), report, { background: true });
    },
    serve: async (channel) => anvil !== undefined && (await anvil.serve(channel)),
    disconnected: (channel) => anvil?.detach(channel),
    atExit: report,
  })(invocation);
};
