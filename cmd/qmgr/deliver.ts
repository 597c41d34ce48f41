/** Work for delivery agents: connections opened ahead, an entry for each agent that greets, consequences of its reply (queue.md 23, 26.4). */
import type { DeliveryReply } from "../../lib/ipc/protocols/delivery.ts";
import { fatal } from "../../lib/log/log.ts";
import { isStatus } from "../../lib/smtp/dsn.ts";
import { toBytes } from "../../lib/sys/bytes.ts";
import { Agent } from "./agent.ts";
import { deferQueue, throttleTransport } from "./defer.ts";
import type { Entry } from "./entry.ts";
import type { Manager } from "./manager.ts";
import type { Queue } from "./queue.ts";
import { encodeRequest } from "./request.ts";
import { finishEntry, selectEntry, unselectEntry } from "./scheduler.ts";
import { type SiteStatus, selectTransport, type Transport } from "./transport.ts";

const UNAVAILABLE: SiteStatus = { status: "4.3.0", reason: "mail transport unavailable" };

export class Deliverer {
  readonly manager: Manager;
  readonly #connect: (agent: Agent) => void;
  /** Agents that owe us something. */
  readonly #agents = new Map<Agent, Entry | undefined>();

  /** `connect` makes the connection and tells the agent object what happens to it. */
  constructor(manager: Manager, connect: (agent: Agent) => void) {
    this.manager = manager;
    this.#connect = connect;
  }

  /** Opens connections for all transports that have work for them. */
  connectAgents(): void {
    for (;;) {
      const transport = selectTransport(this.manager.transports);
      if (transport === undefined) return;
      transport.pendingConnections++;
      if (transport.settings.transportRateDelay > 0) transport.rateLocked = true;
      this.#open(transport);
    }
  }

  #open(transport: Transport): void {
    let entry: Entry | undefined;
    const agent = new Agent(transport.name, this.manager.clock.now(), {
      ready: () =>
        this.#afterDelay(transport, () => {
          entry = this.#handOver(transport, agent);
        }),
      unusable: () =>
        this.#afterDelay(transport, () => {
          this.#agents.delete(agent);
          this.#unavailable(transport);
        }),
      replied: (reply) => {
        this.#agents.delete(agent);
        if (entry !== undefined) this.#finish(transport, entry, reply);
      },
    });
    this.#agents.set(agent, undefined);
    this.#connect(agent);
  }

  /** The connection no longer counts as pending; transport_rate_delay passes before it is used. */
  #afterDelay(transport: Transport, proceed: () => void): void {
    transport.pendingConnections--;
    const delay = transport.settings.transportRateDelay;
    if (delay > 0) this.manager.timers.after(delay, proceed);
    else proceed();
  }

  #handOver(transport: Transport, agent: Agent): Entry | undefined {
    const { manager } = this;
    const entry = selectEntry(manager, transport);
    if (entry === undefined) {
      transport.rateLocked = false;
      this.#agents.delete(agent);
      agent.close();
      return undefined;
    }
    const now = manager.clock.now();
    useConnectionCache(entry.queue, now);
    if (!agent.request(toBytes(encodeRequest(entry)), now)) {
      this.#agents.delete(agent);
      unselectEntry(entry);
      this.#unavailable(transport);
      return undefined;
    }
    this.#agents.set(agent, entry);
    // The next connection need not wait for this delivery.
    manager.wake();
    return entry;
  }

  #unavailable(transport: Transport): void {
    transport.rateLocked = false;
    throttleTransport(this.manager, transport, UNAVAILABLE);
    this.manager.wake();
  }

  #finish(transport: Transport, entry: Entry, reply: DeliveryReply | undefined): void {
    transport.rateLocked = false;
    if (reply === undefined) entry.message.hasProblems = true;
    else processReply(this.manager, transport, entry, reply);
    finishEntry(this.manager, entry);
    this.manager.wake();
  }

  /** An agent that is silent for daemon_timeout hangs: the restart of the queue manager frees what waits for it. */
  checkAgents(): void {
    const limit = this.manager.clock.now() - this.manager.settings.daemonTimeout;
    for (const [agent, entry] of this.#agents) {
      if (agent.since > limit) continue;
      if (entry === undefined) fatal(`timeout connecting to transport: ${agent.transport}`);
      fatal(`${entry.message.id}: timeout receiving delivery status from transport: ${agent.transport}`);
    }
  }
}

/** Agents may keep their connections to a destination that gets mail after mail (queue.md 23.3). */
function useConnectionCache(queue: Queue, now: number): void {
  const recent = queue.lastDone + 1 >= now;
  if (!queue.storeConnections) {
    if (recent) {
      queue.loadConnections = true;
      queue.storeConnections = true;
    }
  } else if (queue.busy.length === 1 && !recent) queue.storeConnections = false;
}

function processReply(manager: Manager, transport: Transport, entry: Entry, reply: DeliveryReply): void {
  const { message, queue } = entry;
  if (reply.status !== 0) {
    message.hasProblems = true;
    if (reply.dsnStatus !== "") {
      const reason = `delivery temporarily suspended: ${reply.reason === "" ? "unknown error" : reply.reason}`;
      const cause = { status: isStatus(reply.dsnStatus) ? reply.dsnStatus : "4.0.0", reason };
      queue.throttle(cause);
      if (queue.dead !== undefined) deferQueue(manager, queue, cause);
      transport.unthrottle();
      return;
    }
  }
  transport.unthrottle();
  if (reply.reason === "") queue.unthrottle();
}
