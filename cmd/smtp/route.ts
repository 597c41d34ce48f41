/** The way through the destinations of a request and the servers of each, until nobody is left (delivery.md 8.2 to 8.4). */
import { parameter } from "../../lib/config/configuration.ts";
import { dsn } from "../../lib/delivery/status.ts";
import { SENDOPT } from "../../lib/ipc/protocols/delivery.ts";
import { info, warning } from "../../lib/log/log.ts";
import type { Peer } from "../../lib/smtp/client_session.ts";
import { type Connection, connectServer } from "./connect.ts";
import type { Delivery } from "./delivery.ts";
import { type Destination, destinationList, parseDestination } from "./destination.ts";
import { handOver } from "./hand_over.ts";
import { destinationLabel, endpointLabel } from "./labels.ts";
import { SessionNotes } from "./notice.ts";
import { requireTlsStatus } from "./requiretls.ts";
import { findServers, type Server } from "./servers.ts";
import {
  cachePolicy,
  labelContext,
  openSession,
  reportSession,
  type SessionUse,
  UNAVAILABLE,
  useKept,
  useSession,
} from "./session_use.ts";

/** Which kept connection: any of the destination, or one of a server. */
type Kept = "of the destination" | Server;

/** The way through the destinations of a request and their servers. */
export class Route {
  #sessions = 0;
  /** We are one of the servers: nothing behind us is tried. */
  #foundSelf = false;
  #loop = false;
  #last: Destination | undefined;

  constructor(private readonly delivery: Delivery) {}

  async run(): Promise<void> {
    const { delivery } = this;
    const { agent, request } = delivery;
    const { settings } = agent;
    if (settings.families.length === 0) {
      await delivery.finishSite(dsn("4.4.4", "all network protocols are disabled"));
      return;
    }
    const nexthop =
      settings.mode === "lmtp" && request.nexthop.startsWith("inet:")
        ? request.nexthop.slice(5)
        : request.nexthop;
    const list = destinationList(nexthop, settings.get("fallback_relay"));
    for (const [index, { text, fallback }] of list.entries()) {
      if (delivery.done || this.#foundSelf) break;
      const destination = parseDestination(text, settings.tcpPort, fallback);
      if (destination.service === "smtps" || destination.port === 465)
        info(
          `SMTPS wrappermode (TCP port 465) requires setting "${settings.name("tls_wrappermode")} = yes", and "${settings.name("tls_security_level")} = encrypt" (or stronger)`,
        );
      this.#last = destination;
      await cachePolicy(delivery, destination.host);
      // the label of a destination is the whole next hop, which stands for its first
      const label = index === 0 ? destinationLabel(labelContext(delivery)) : undefined;
      await this.#tryDestination(destination, index === list.length - 1, label);
    }
    if (!delivery.done) await this.#finishRest();
  }

  async #tryDestination(
    destination: Destination,
    lastDestination: boolean,
    label: string | undefined,
  ): Promise<void> {
    const { delivery } = this;
    const { agent } = delivery;
    this.#sessions = 0;
    const context = { settings: agent.settings, tables: agent.tables, isOwnAddress: agent.isOwnAddress };
    const found = await findServers(destination, context);
    if (found.kind === "failure") {
      delivery.tls = undefined;
      delivery.lastReason = found.status;
      if (found.loop) {
        this.#foundSelf = true;
        this.#loop = found.status.status === "5.4.6";
      }
      return;
    }
    this.#foundSelf = found.foundSelf;
    await this.#tryServers(destination, found.servers, lastDestination || found.foundSelf, label);
  }

  async #tryServers(
    destination: Destination,
    found: ReadonlyArray<Server>,
    lastDestination: boolean,
    label: string | undefined,
  ): Promise<void> {
    const { delivery } = this;
    const { settings } = delivery.agent;
    const best = found[0]?.preference;
    let servers = found.slice(0, settings.addressLimit > 0 ? settings.addressLimit : found.length);
    /** A kept connection is the session of its server, which is not tried again. */
    const useOne = async (kept: Kept): Promise<boolean> => {
      const others = (peer: Peer): Server[] =>
        servers.filter(({ address, port }) => address !== peer.address || port !== peer.port);
      const isFinal = (peer: Peer): boolean =>
        lastDestination && (others(peer).length === 0 || this.#isLastSession());
      const used = await this.#tryKept(destination, label, kept, isFinal);
      if (used !== undefined) servers = others(used);
      return delivery.done || this.#sessionsUsedUp();
    };
    if (delivery.loadSessions) {
      if (label !== undefined && (await useOne("of the destination"))) return;
      for (const server of servers.filter(({ preference }) => preference === best))
        if (servers.includes(server) && (await useOne(server))) return;
    }
    for (const [index, server] of servers.entries()) {
      if (delivery.done || this.#sessionsUsedUp()) return;
      delivery.finalServer = lastDestination && index === servers.length - 1;
      if (
        delivery.loadSessions &&
        server.preference !== best &&
        (await this.#tryKept(
          destination,
          label,
          server,
          () => delivery.finalServer || (lastDestination && this.#isLastSession()),
        )) !== undefined
      )
        continue;
      await this.#tryServer(destination, server, {
        best: server.preference === best,
        lastDestination,
        label,
      });
    }
  }

  #sessionsUsedUp(): boolean {
    const { sessionLimit } = this.delivery.agent.settings;
    return sessionLimit > 0 && this.#sessions >= sessionLimit;
  }
  /** The session that begins is the last that the limit allows. */
  #isLastSession(): boolean {
    const { sessionLimit } = this.delivery.agent.settings;
    return sessionLimit > 0 && this.#sessions + 1 >= sessionLimit;
  }

  async #tryKept(
    destination: Destination,
    label: string | undefined,
    kept: Kept,
    isFinal: (peer: Peer) => boolean,
  ): Promise<Peer | undefined> {
    const { delivery } = this;
    const { sessions } = delivery.agent;
    const endpoint = kept === "of the destination" ? undefined : endpointLabel(labelContext(delivery), kept);
    const take = () => {
      if (endpoint !== undefined && kept !== "of the destination")
        return sessions.takeByEndpoint(endpoint, kept);
      return label === undefined ? undefined : sessions.takeByDestination(label);
    };
    delivery.tls = undefined;
    const used = await useKept(delivery, take, this.#keptUse(destination, label, endpoint), isFinal);
    if (used !== undefined) this.#sessions++;
    return used;
  }

  #keptUse(destination: Destination, label: string | undefined, endpoint: string | undefined): SessionUse {
    return {
      nexthop: destination.host,
      bestServer: true,
      detectLoops: false,
      labels: { destination: label, endpoint },
    };
  }

  async #tryServer(
    destination: Destination,
    server: Server,
    place: { readonly best: boolean; readonly lastDestination: boolean; readonly label: string | undefined },
  ): Promise<void> {
    const { delivery } = this;
    const { agent, request } = delivery;
    const { settings } = agent;
    delivery.tls = `${settings.tlsLevel}?`;
    delivery.requireTls = "";
    if ((request.sendopts & SENDOPT.requireTls) !== 0 && parameter("requiretls_enable")) {
      const required = await requireTlsStatus(settings, destination.host, server.host);
      delivery.requireTls = required.kind === "off" ? "" : "/requiretls?";
      if (required.kind === "refused") {
        warning(`TLS policy lookup for ${destination.text}/${server.host}: ${required.status.reason}`);
        delivery.requireTls = `/!requiretls:${required.what}`;
        delivery.lastReason = required.status;
        return;
      }
    }
    const connection: Connection = await connectServer(agent, server, destination.host);
    if (connection.kind === "failure") {
      delivery.lastReason = connection.status;
      return;
    }
    const { session } = connection;
    const notes = new SessionNotes();
    const use: SessionUse = {
      nexthop: destination.host,
      bestServer: place.best,
      detectLoops: settings.mode === "smtp" && server.port === 25,
      labels: {
        destination: place.best ? place.label : undefined,
        endpoint: endpointLabel(labelContext(delivery), server),
      },
    };
    const pix = await openSession(delivery, session, notes, use);
    if (pix === undefined) session.close();
    else {
      this.#sessions++;
      if (this.#sessionsUsedUp()) delivery.finalServer = place.lastDestination;
      await useSession(delivery, session, notes, use, pix);
    }
    await reportSession(delivery, session, notes);
  }

  /** All servers were tried. What is left is returned or put off for the last reason. */
  async #finishRest(): Promise<void> {
    const { delivery } = this;
    delivery.finalServer = true;
    const status = delivery.lastReason ?? UNAVAILABLE;
    if (!status.status.startsWith("5")) {
      await delivery.finishSite(status);
      return;
    }
    const destination = this.#last;
    if (destination?.fallback === true) {
      warning(`${delivery.agent.settings.name("fallback_relay")} configuration problem`);
      await delivery.finishSite({ ...status, status: "4.3.5" });
    } else if (destination !== undefined && destination.text === parameter("relayhost")) {
      warning("relayhost configuration problem");
      await delivery.finishSite({ ...status, status: "4.3.5" });
    } else if (this.#loop && delivery.agent.settings.mode === "smtp" && parameter("best_mx_transport") !== "")
      await handOver(delivery, parameter("best_mx_transport"));
    else await delivery.finishSite(status);
  }
}
