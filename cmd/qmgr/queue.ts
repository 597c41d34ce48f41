/** A queue: the destination (nexthop) of a transport, with its concurrency window (queue.md 26). */
import type { Timer } from "../../lib/sys/timers.ts";
import type { Entry } from "./entry.ts";
import { applyFailure, applySuccess, logFeedback } from "./feedback.ts";
import { List } from "./list.ts";
import type { SiteStatus, Transport } from "./transport.ts";

export type QueueState =
  | { readonly kind: "ready" }
  | { readonly kind: "suspended"; readonly timer: Timer }
  | { readonly kind: "dead"; readonly cause: SiteStatus; readonly timer: Timer };

const READY: QueueState = { kind: "ready" };

export class Queue {
  readonly transport: Transport;
  readonly name: string;
  /** As resolved, for warnings and requests. */
  readonly nexthop: string;
  state: QueueState = READY;
  /** Deliveries at once; 0 while dead, -1 while suspended. */
  window: number;
  success = 0;
  failure = 0;
  failCohorts = 0;
  readonly todo = new List<Entry>();
  readonly busy = new List<Entry>();
  blockerTag = 0;
  /** Time at which the last delivery ended. */
  lastDone = 0;
  loadConnections = false;
  storeConnections = false;
  clogWarnTime: number;
  #deliverable = 0;

  constructor(transport: Transport, name: string, nexthop: string) {
    this.transport = transport;
    this.name = name;
    this.nexthop = nexthop;
    this.window = transport.settings.initialConcurrency;
    this.clogWarnTime = 0;
  }

  static findOrCreate(transport: Transport, name: string, nexthop: string): Queue {
    const known = transport.queues.get(name);
    if (known !== undefined) return known;
    const queue = new Queue(transport, name, nexthop);
    transport.queues.set(name, queue);
    transport.manager.queueCount++;
    return queue;
  }

  get dead(): SiteStatus | undefined {
    return this.state.kind === "dead" ? this.state.cause : undefined;
  }

  /** Must follow every change of the window and the lists: keeps the transport's count of deliverable entries. */
  recount(): void {
    const deliverable =
      this.state.kind === "ready"
        ? Math.max(0, Math.min(this.window - this.busy.length, this.todo.length))
        : 0;
    this.transport.deliverable += deliverable - this.#deliverable;
    this.#deliverable = deliverable;
  }

  /** A delivery to this destination did not show trouble with the destination itself. */
  unthrottle(): void {
    if (this.state.kind === "dead") this.revive();
    else if (this.state.kind === "ready") applySuccess(this);
    this.recount();
  }

  /** Makes a dead destination usable again. */
  revive(): void {
    if (this.state.kind !== "dead") return;
    this.state.timer.cancel();
    this.state = READY;
    this.window = this.busy.length > 0 ? this.busy.length : this.transport.settings.initialConcurrency;
    this.success = 0;
    this.failure = 0;
    this.recount();
    logFeedback(this, "unthrottle");
  }

  /** The destination as a whole was in trouble: the window shrinks, or the destination is dead for a while. */
  throttle(cause: SiteStatus): void {
    if (this.state.kind !== "ready") return;
    if (applyFailure(this)) {
      this.window = 0;
      const { manager } = this.transport;
      const timer = manager.timers.after(manager.settings.minimalBackoff, () => {
        this.revive();
        this.discardIfIdle();
        manager.wake();
      });
      this.state = { kind: "dead", cause, timer };
      this.loadConnections = false;
      this.storeConnections = false;
    }
    this.recount();
    logFeedback(this, "throttle");
  }

  /** destination_rate_delay: nothing is delivered here for that long. */
  suspend(seconds: number, resumed: () => void): void {
    if (this.state.kind !== "ready") return;
    const timer = this.transport.manager.timers.after(seconds, () => {
      this.state = READY;
      this.window = 1;
      this.recount();
      if (!this.discardIfIdle()) resumed();
      this.transport.manager.wake();
    });
    this.state = { kind: "suspended", timer };
    this.window = -1;
    this.recount();
  }

  /** Forgets a destination without entries; a dead one is kept until its timer, unless there are too many. */
  discardIfIdle(): boolean {
    if (this.todo.length > 0 || this.busy.length > 0) return false;
    const { manager } = this.transport;
    if (this.state.kind === "suspended") return false;
    if (this.state.kind === "dead") {
      if (manager.queueCount <= 2 * manager.settings.recipientLimit) return false;
      this.state.timer.cancel();
    }
    if (this.transport.queues.get(this.name) === this) {
      this.transport.queues.delete(this.name);
      manager.queueCount--;
    }
    return true;
  }
}
