/** What is done with a connection: introducing ourselves, the transaction, keeping it or closing it (delivery.md 9, 12). */
import { parameter } from "../../lib/config/configuration.ts";
import { moment } from "../../lib/delivery/stats.ts";
import { dsn } from "../../lib/delivery/status.ts";
import { DELIVERY_FLAG as RequestFlag } from "../../lib/ipc/protocols/delivery.ts";
import { breakdown, type Peer, type SmtpSession } from "../../lib/smtp/client_session.ts";
import type { Delivery } from "./delivery.ts";
import { NO_WORKAROUNDS, type PixWorkarounds, sayHello } from "./hello.ts";
import { endpointLabel, type LabelContext } from "./labels.ts";
import { notifyPostmaster, SessionNotes } from "./notice.ts";
import { brokenStatus, DOING, isPositive, sayQuit } from "./steps.ts";
import { transact } from "./transaction.ts";

/** For recipients that are left without any reason. */
export const UNAVAILABLE = dsn("4.3.0", "server unavailable or unable to receive mail");

/** How one session is used. */
export interface SessionUse {
  readonly nexthop: string;
  readonly bestServer: boolean;
  readonly detectLoops: boolean;
  /** Where the connection is kept afterwards; undefined: not at all. An endpoint that is not given is that of the session. */
  readonly labels:
    | { readonly destination: string | undefined; readonly endpoint: string | undefined }
    | undefined;
}

/** Introduces us over a new connection; false when the session cannot be used. */
export async function openSession(
  delivery: Delivery,
  session: SmtpSession,
  notes: SessionNotes,
  use: SessionUse,
): Promise<PixWorkarounds | undefined> {
  const { settings } = delivery.agent;
  session.queueId = delivery.queueId;
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
    if (kind !== "data") return undefined;
    notes.mark("data");
    await sayQuit(session, settings.limits.quit, settings.skipQuitResponse);
  }
  return undefined;
}

/** Transfers the message, then keeps or closes the connection. One that is unproven afterwards was of no use, and nothing was done. */
export async function useSession(
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
    if (keep && use.labels !== undefined) {
      const { address, port = 0 } = session.peer;
      const endpoint = use.labels.endpoint ?? endpointLabel(labelContext(delivery), { address, port });
      const { destination } = use.labels;
      // scache(8) keeps nothing longer than its own limit, and neither do we
      const seconds = Math.min(
        settings.get("connection_cache_time_limit"),
        parameter("connection_cache_ttl_limit"),
      );
      await agent.sessions.save(
        { session, endpoint, destination, nexthop: delivery.request.nexthop },
        seconds,
      );
    } else session.close();
  }
}

export async function reportSession(
  delivery: Delivery,
  session: SmtpSession,
  notes: SessionNotes,
): Promise<void> {
  const { request, agent } = delivery;
  if (notes.wanted(agent.settings))
    await notifyPostmaster(session, request.sender, request.flags & TRACE_BITS, agent.settings);
}
const TRACE_BITS = RequestFlag.mtaVerify | RequestFlag.userVerify | RequestFlag.record;

export const labelContext = (delivery: Delivery): LabelContext => ({
  service: delivery.agent.service,
  nexthop: delivery.request.nexthop,
  tlsLevel: delivery.agent.settings.tlsLevel,
  sendopts: delivery.request.sendopts,
});

/** Decides whether kept connections are used and made for this request. */
export async function cachePolicy(delivery: Delivery, host: string): Promise<void> {
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

/** A cache could hand out useless connections for ever; a new one is soon made. */
const KEPT_TRIES = 3;

/** Uses a kept connection, if there is one that still answers. Gives the server that it led to. */
export async function useKept(
  delivery: Delivery,
  take: () => SmtpSession | undefined | Promise<SmtpSession | undefined>,
  use: SessionUse,
  /** Whether no other server will be tried after this one. */
  isFinal: (peer: Peer) => boolean,
): Promise<Peer | undefined> {
  for (let tries = 0; tries < KEPT_TRIES; tries++) {
    const session = await take();
    if (session === undefined) return undefined;
    session.quitting = false;
    session.queueId = delivery.queueId;
    session.transcript.length = 0;
    // With PIPELINING the RSET travels in front of the transaction's own commands.
    session.unproven = session.features.keywords.has("PIPELINING");
    if (!session.unproven && !(await answersReset(delivery, session))) {
      session.close();
      continue;
    }
    session.reuseCount++;
    delivery.connected = moment();
    delivery.finalServer = isFinal(session.peer);
    const notes = new SessionNotes();
    await useSession(delivery, session, notes, use, NO_WORKAROUNDS);
    if (session.unproven && !delivery.done) continue;
    await reportSession(delivery, session, notes);
    return session.peer;
  }
  return undefined;
}

async function answersReset(delivery: Delivery, session: SmtpSession): Promise<boolean> {
  session.state = DOING.probe;
  try {
    return isPositive(await session.ask("RSET", delivery.agent.settings.limits.rset));
  } catch (error) {
    if (breakdown(error) === undefined) throw error;
    return false;
  }
}
