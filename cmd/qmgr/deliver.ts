/** Connections to delivery agents: opened ahead, given an entry when the agent has greeted, closed with its reply (queue.md 23, 26.4). */
import { receive } from "../../lib/ipc/attributes.ts";
import {
  DeliveryGreeting,
  type DeliveryReply,
  DeliveryReply as ReplyMessage,
} from "../../lib/ipc/protocols/delivery.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { isStatus } from "../../lib/smtp/dsn.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { deferQueue, throttleTransport } from "./defer.ts";
import type { Entry } from "./entry.ts";
import type { Manager } from "./manager.ts";
import type { Queue } from "./queue.ts";
import { encodeRequest } from "./request.ts";
import { finishEntry, selectEntry, unselectEntry } from "./scheduler.ts";
import { type SiteStatus, selectTransport, type Transport } from "./transport.ts";

export interface Deliverer {
  readonly manager: Manager;
  /** Connects to `private/NAME`; throws when that fails. */
  readonly connect: (transport: string) => Promise<Channel>;
}

const UNAVAILABLE: SiteStatus = { status: "4.3.0", reason: "mail transport unavailable" };

/** Opens connections for all transports that have work for them. */
export function connectAgents(deliverer: Deliverer): void {
  for (;;) {
    const transport = selectTransport(deliverer.manager.transports);
    if (transport === undefined) return;
    transport.pendingConnections++;
    if (transport.settings.transportRateDelay > 0) transport.rateLocked = true;
    void runAgent(deliverer, transport);
  }
}

async function runAgent(deliverer: Deliverer, transport: Transport): Promise<void> {
  const { manager } = deliverer;
  const channel = await greetedAgent(deliverer, transport);
  transport.pendingConnections--;
  const delay = transport.settings.transportRateDelay;
  if (delay > 0) await new Promise<void>((resolve) => void manager.timers.after(delay, resolve));
  if (channel === undefined) {
    transport.rateLocked = false;
    throttleTransport(manager, transport, UNAVAILABLE);
    manager.wake();
    return;
  }
  const entry = selectEntry(manager, transport);
  if (entry === undefined) {
    transport.rateLocked = false;
    channel.destroy();
    return;
  }
  useConnectionCache(entry.queue, manager.clock.now());
  // The next connection need not wait for this delivery.
  manager.wake();
  await deliver(manager, transport, entry, channel);
  manager.wake();
}

/** A connection on which the agent has greeted; undefined when its service is of no use. */
async function greetedAgent(deliverer: Deliverer, transport: Transport): Promise<Channel | undefined> {
  const { manager } = deliverer;
  const { name } = transport;
  const watchdog = manager.timers.after(manager.settings.daemonTimeout, () =>
    fatal(`timeout connecting to transport: ${name}`),
  );
  try {
    const channel = await deliverer.connect(name);
    const greeting = await receive(channel, DeliveryGreeting);
    if (greeting.kind === "value") return channel;
    warning(`${channel.name}: malformed response`);
    channel.destroy();
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw error;
    warning(`connect to transport private/${name}: ${errorText(error)}`);
  } finally {
    watchdog.cancel();
  }
  return undefined;
}

/** Agents may keep their connections to a destination that gets mail after mail (queue.md 23.3). */
function useConnectionCache(queue: Queue, now: number): void {
  const busySite = queue.lastDone + 1 >= now;
  if (!queue.storeConnections) {
    if (busySite) {
      queue.loadConnections = true;
      queue.storeConnections = true;
    }
  } else if (queue.busy.length === 1 && !busySite) queue.storeConnections = false;
}

async function deliver(
  manager: Manager,
  transport: Transport,
  entry: Entry,
  channel: Channel,
): Promise<void> {
  try {
    channel.write(encodeRequest(entry));
    await channel.flush();
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw error;
    channel.destroy();
    unselectEntry(entry);
    transport.rateLocked = false;
    throttleTransport(manager, transport, UNAVAILABLE);
    return;
  }
  const watchdog = manager.timers.after(manager.settings.daemonTimeout, () =>
    fatal(`${entry.message.id}: timeout receiving delivery status from transport: ${transport.name}`),
  );
  const answer = await receive(channel, ReplyMessage);
  watchdog.cancel();
  channel.destroy();
  transport.rateLocked = false;
  if (answer.kind === "value") processReply(manager, transport, entry, answer.value);
  else {
    warning(`${channel.name}: malformed response`);
    entry.message.hasProblems = true;
  }
  finishEntry(manager, entry);
}

function processReply(manager: Manager, transport: Transport, entry: Entry, reply: DeliveryReply): void {
  const { message, queue } = entry;
  let reason = "";
  if (reply.status !== 0) {
    message.hasProblems = true;
    if (reply.dsnStatus !== "") {
      reason = `delivery temporarily suspended: ${reply.reason === "" ? "unknown error" : reply.reason}`;
      const cause = { status: isStatus(reply.dsnStatus) ? reply.dsnStatus : "4.0.0", reason };
      queue.throttle(cause);
      if (queue.dead !== undefined) deferQueue(manager, queue, cause);
    }
  }
  transport.unthrottle();
  if (reason === "" && reply.reason === "") queue.unthrottle();
}
