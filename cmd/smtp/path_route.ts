/** LMTP over a unix-domain socket: one server, no destinations to choose from (delivery.md 8.7). */
import { warning } from "../../lib/log/log.ts";
import { connectPath } from "./connect.ts";
import type { Delivery } from "./delivery.ts";
import { endpointLabel } from "./labels.ts";
import { SessionNotes } from "./notice.ts";
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

/** LMTP over a unix-domain socket. */
export async function deliverToPath(delivery: Delivery, path: string): Promise<void> {
  const { agent } = delivery;
  const { settings } = agent;
  const fallback = settings.get("fallback_relay");
  if (fallback !== "")
    warning(`ignoring "${settings.name("fallback_relay")} = ${fallback}" setting for non-TCP connections`);
  if (settings.tlsLevel !== "none")
    warning(`opportunistic TLS encryption is not appropriate for unix-domain destinations.`);
  delivery.finalServer = true;
  delivery.tls = "none?";
  await cachePolicy(delivery, path);
  const context = labelContext(delivery);
  const endpoint = endpointLabel({ ...context, tlsLevel: "none" }, { address: path, port: 0 });
  const use: SessionUse = {
    nexthop: delivery.request.nexthop,
    bestServer: false,
    detectLoops: false,
    labels: { destination: undefined, endpoint },
  };
  const peer = { host: settings.myhostname, address: path, port: undefined };
  const take = () => agent.sessions.takeByEndpoint(endpoint, peer);
  if (delivery.loadSessions && (await useKept(delivery, take, use, () => true)) !== undefined) {
    if (delivery.done) return;
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
