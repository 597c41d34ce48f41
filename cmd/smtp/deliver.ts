/** One delivery request from beginning to end: destinations, servers, sessions, and what is left when all were tried (delivery.md 8.4). */

import { parameter } from "../../lib/config/configuration.ts";
import type { DeliveryRequest, DeliveryResult } from "../../lib/delivery/request.ts";
import { moment } from "../../lib/delivery/stats.ts";
import { dsn } from "../../lib/delivery/status.ts";
import { DELIVERY_FLAG as RequestFlag, SENDOPT } from "../../lib/ipc/protocols/delivery.ts";
import { info, warning } from "../../lib/log/log.ts";
import { breakdown, type SmtpSession } from "../../lib/smtp/client_session.ts";
import { equalFold } from "../../lib/sys/bytes.ts";
import type { Agent } from "./agent.ts";
import { type Connection, connectPath, connectServer } from "./connect.ts";
import { Delivery } from "./delivery.ts";
import { type Destination, destinationList, parseDestination } from "./destination.ts";
import { refuseByFlags } from "./flags.ts";
import { handOver } from "./hand_over.ts";
import { NO_WORKAROUNDS, type PixWorkarounds, sayHello, softUnlessFinal } from "./hello.ts";
import { destinationLabel, endpointLabel, type LabelContext } from "./labels.ts";
import { notifyPostmaster, SessionNotes } from "./notice.ts";
import { requireTlsProblem } from "./requiretls.ts";
import { findServers, type Server } from "./servers.ts";
import { brokenStatus, sayQuit, transact } from "./transaction.ts";

/** Delivers a request as far as that is possible now. */
export async function deliver(request: DeliveryRequest, agent: Agent): Promise<DeliveryResult> {
  const delivery = new Delivery(request, agent);
  if (await refuseByFlags(delivery)) return delivery.result();
  const { mode } = agent.settings;
  if (mode === "lmtp" && request.nexthop.startsWith("unix:"))
    await deliverToPath(delivery, request.nexthop.slice(5));
  else await new Route(delivery).run();
  return delivery.result();
}

/** How one session is used. */
interface SessionUse {
  readonly nexthop: string;
  readonly bestServer: boolean;
  readonly detectLoops: boolean;
  /** Where the connection is kept afterwards; undefined: not at all. */
  readonly labels: { readonly destination: string | undefined; readonly endpoint: string } | undefined;
}

/** Introduces us over a new connection; false when the session cannot be used. */
async function openSession(
  delivery: Delivery,
  session: SmtpSession,
  notes: SessionNotes,
  use: SessionUse,
): Promise<PixWorkarounds | undefined> {
  const { settings } = delivery.agent;
  try {
    const hello = await sayHello({ delivery, session, notes, ...use });
    if (hello.kind === "ready") {
      delivery.connected = moment();
      return hello.pix;
    }
    await delivery.fail("site", hello.status, session);
    await sayQuit(session, settings.limits.quit, settings.skipQuitResponse);
  } catch (error) {
    const kind = breakdown(error);
    if (kind === undefined) throw error;
    await delivery.fail("site", brokenStatus(session, kind), session);
  }
  return undefined;
}

/** Transfers the message, then keeps or closes the connection. */
async function useSession(
  delivery: Delivery,
  session: SmtpSession,
  notes: SessionNotes,
  use: SessionUse,
  pix: PixWorkarounds,
): Promise<void> {
  const { agent } = delivery;
  const { settings } = agent;
  const countLimit = settings.get("connection_reuse_count_limit");
  const mayKeep =
    use.labels !== undefined &&
    delivery.storeSessions &&
    session.ageSeconds < settings.get("connection_reuse_time_limit") &&
    (countLimit === 0 || session.reuseCount < countLimit);
  let keep = false;
  try {
    keep = await transact(delivery, session, notes, { pix, mayKeep });
  } finally {
    if (keep && use.labels !== undefined)
      agent.sessions.save({ session, ...use.labels }, settings.get("connection_cache_time_limit"));
    else session.close();
  }
}

async function reportSession(delivery: Delivery, session: SmtpSession, notes: SessionNotes): Promise<void> {
  const { request, agent } = delivery;
  if (notes.wanted(agent.settings))
    await notifyPostmaster(session, request.sender, request.flags & TRACE_BITS, agent.settings);
}
const TRACE_BITS = RequestFlag.mtaVerify | RequestFlag.userVerify | RequestFlag.record;

/** LMTP over a unix-domain socket. */
async function deliverToPath(delivery: Delivery, path: string): Promise<void> {
  const { agent } = delivery;
  const { settings } = agent;
  const fallback = settings.get("fallback_relay");
  if (fallback !== "")
    warning(`ignoring "${settings.name("fallback_relay")} = ${fallback}" setting for non-TCP connections`);
  if (settings.tlsLevel !== "none")
    warning(`opportunistic TLS encryption is not appropriate for unix-domain destinations.`);
  delivery.finalServer = true;
  delivery.tls = "none?";
  const cache = cachePolicy(delivery, path);
  const context = labelContext(delivery);
  const endpoint = endpointLabel({ ...context, tlsLevel: "none" }, { address: path, port: 0 });
  const use: SessionUse = {
    nexthop: delivery.request.nexthop,
    bestServer: false,
    detectLoops: false,
    labels: { destination: undefined, endpoint },
  };
  await cache;
  const kept = delivery.loadSessions
    ? await revive(delivery, () => agent.sessions.takeByEndpoint(endpoint))
    : undefined;
  if (kept !== undefined) {
    const notes = new SessionNotes();
    delivery.tls = undefined;
    delivery.finalServer = false;
    await useSession(delivery, kept, notes, use, NO_WORKAROUNDS);
    await reportSession(delivery, kept, notes);
    if (delivery.done) return;
    delivery.finalServer = true;
    delivery.tls = "none?";
  }
  const connection = await connectPath(agent, path);
  if (connection.kind === "failure") {
    await delivery.finishSite(connection.status);
    return;
  }
  const notes = new SessionNotes();
  const { session } = connection;
  const pix = await openSession(delivery, session, notes, use);
  if (pix === undefined) session.close();
  else {
    delivery.tls = "none";
    await useSession(delivery, session, notes, use, pix);
  }
  await reportSession(delivery, session, notes);
  if (!delivery.done) await delivery.finishSite(delivery.lastReason ?? UNAVAILABLE);
}

const UNAVAILABLE = dsn("4.3.0", "server unavailable or unable to receive mail");

const labelContext = (delivery: Delivery): LabelContext => ({
  service: delivery.agent.service,
  nexthop: delivery.request.nexthop,
  tlsLevel: delivery.agent.settings.tlsLevel,
  sendopts: delivery.request.sendopts,
});

/** Decides whether kept connections are used and made for this request. */
async function cachePolicy(delivery: Delivery, host: string): Promise<void> {
  const { settings, tables } = delivery.agent;
  const { flags } = delivery.request;
  if (!tables.cacheDestinations.empty) {
    const listed = await tables.cacheDestinations.matches(host);
    if (listed.kind === "match") {
      delivery.loadSessions = true;
      delivery.storeSessions = true;
      return;
    }
  }
  const demand = settings.get("connection_cache_on_demand");
  delivery.loadSessions = demand && (flags & RequestFlag.connectionLoad) !== 0;
  delivery.storeSessions = demand && (flags & RequestFlag.connectionStore) !== 0;
}

/** A kept connection that still answers. */
async function revive(
  delivery: Delivery,
  take: () => SmtpSession | undefined,
): Promise<SmtpSession | undefined> {
  const { settings } = delivery.agent;
  for (let session = take(); session !== undefined; session = take()) {
    session.state = "sending RSET probe";
    session.quitting = false;
    try {
      const reply = await session.ask("RSET", settings.limits.rset);
      if (reply.code >= 200 && reply.code < 300) {
        session.reuseCount++;
        session.transcript.length = 0;
        delivery.connected = moment();
        return session;
      }
    } catch (error) {
      if (breakdown(error) === undefined) throw error;
    }
    session.close();
  }
  return undefined;
}

/** The way through the destinations of a request and their servers. */
class Route {
  #sessions = 0;
  /** We are one of the servers: nothing behind us is tried. */
  #foundSelf = false;
  #loop = false;
  #softFailure = false;
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
          'SMTPS wrappermode (TCP port 465) requires setting "smtp_tls_wrappermode = yes", and "smtp_tls_security_level = encrypt" (or stronger)',
        );
      this.#last = destination;
      if (index === 0) await cachePolicy(delivery, destination.host);
      else {
        delivery.loadSessions = false;
        delivery.storeSessions = false;
      }
      await this.#tryDestination(destination, index === list.length - 1);
    }
    if (!delivery.done) await this.#finishRest();
  }

  async #tryDestination(destination: Destination, lastDestination: boolean): Promise<void> {
    const { delivery } = this;
    const { agent } = delivery;
    const label = destinationLabel(labelContext(delivery));
    if (delivery.loadSessions) {
      const kept = await revive(delivery, () => agent.sessions.takeByDestination(label));
      if (kept !== undefined) await this.#useKept(destination, kept, kept.peer, label);
      if (delivery.done) return;
    }
    const context = { settings: agent.settings, tables: agent.tables, isOwnAddress: agent.isOwnAddress };
    const found = await findServers(destination, context, this.#softFailure);
    if (found.kind === "failure") {
      delivery.tls = undefined;
      delivery.lastReason = found.status;
      if (found.status.status.startsWith("4")) this.#softFailure = true;
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
    label: string,
  ): Promise<void> {
    const { delivery } = this;
    const { settings } = delivery.agent;
    const best = found[0]?.preference;
    let servers = found.slice(0, settings.addressLimit > 0 ? settings.addressLimit : found.length);
    if (delivery.loadSessions)
      for (const server of servers.filter(({ preference }) => preference === best)) {
        if (!(await this.#tryKept(destination, server, label))) continue;
        if (delivery.done || this.#sessionsUsedUp()) return;
        servers = servers.filter((other) => other !== server);
      }
    for (const [index, server] of servers.entries()) {
      if (delivery.done || this.#sessionsUsedUp()) return;
      delivery.finalServer = lastDestination && index === servers.length - 1;
      if (
        delivery.loadSessions &&
        server.preference !== best &&
        (await this.#tryKept(destination, server, label))
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

  async #tryKept(destination: Destination, server: Server, label: string): Promise<boolean> {
    const { sessions } = this.delivery.agent;
    const endpoint = endpointLabel(labelContext(this.delivery), server);
    const kept = await revive(this.delivery, () => sessions.takeByEndpoint(endpoint));
    if (kept === undefined) return false;
    await this.#useKept(destination, kept, server, label);
    return true;
  }

  async #useKept(
    destination: Destination,
    session: SmtpSession,
    server: { readonly address: string; readonly port: number | undefined },
    label: string,
  ): Promise<void> {
    const { delivery } = this;
    this.#sessions++;
    delivery.finalServer = false;
    delivery.tls = undefined;
    const notes = new SessionNotes();
    const endpoint = endpointLabel(labelContext(delivery), {
      address: server.address,
      port: server.port ?? 0,
    });
    const use: SessionUse = {
      nexthop: destination.host,
      bestServer: true,
      detectLoops: false,
      labels: { destination: label, endpoint },
    };
    await useSession(delivery, session, notes, use, NO_WORKAROUNDS);
    await reportSession(delivery, session, notes);
  }

  async #tryServer(
    destination: Destination,
    server: Server,
    place: { readonly best: boolean; readonly lastDestination: boolean; readonly label: string },
  ): Promise<void> {
    const { delivery } = this;
    const { agent, request } = delivery;
    const { settings } = agent;
    delivery.tls = `${settings.tlsLevel}?`;
    if ((request.sendopts & SENDOPT.requireTls) !== 0 && parameter("requiretls_enable")) {
      const problem = await requireTlsProblem(settings, destination.host, server.host);
      if (problem !== undefined) {
        await delivery.fail("site", softUnlessFinal(delivery, problem));
        return;
      }
    }
    const connection: Connection = await connectServer(agent, server);
    if (connection.kind === "failure") {
      delivery.lastReason = connection.status;
      this.#softFailure = true;
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
    } else if (destination !== undefined && equalFold(destination.text, parameter("relayhost"))) {
      warning("relayhost configuration problem");
      await delivery.finishSite({ ...status, status: "4.3.5" });
    } else if (this.#loop && delivery.agent.settings.mode === "smtp" && parameter("best_mx_transport") !== "")
      await handOver(delivery, parameter("best_mx_transport"));
    else await delivery.finishSite(status);
  }
}
