/** The main loop: agents for what is ready, then messages for what room there is, fairly from both queues (queue.md 18). */
import type { QueueId } from "../../lib/queue/queue_id.ts";
import type { Deliverer } from "./deliver.ts";
import type { Manager } from "./manager.ts";
import type { Scan } from "./scan.ts";

/** The pipe with which cleanup is slowed down when mail comes in faster than it can go out (queue.md 18.5). */
export interface FlowPipe {
  tokens(): number;
  add(count: number): void;
  remove(count: number): void;
}

export interface Loop {
  readonly deliverer: Deliverer;
  readonly incoming: Scan;
  readonly deferred: Scan;
  readonly flow: FlowPipe | undefined;
  /** True when the message was taken into the active queue. */
  readonly feed: (scan: Scan, id: QueueId) => boolean;
  /** Messages that are being read and resolved. */
  readonly assigning: () => number;
  /** Calls a function at the next turn of the event loop, after input and output. */
  readonly soon: (action: () => void) => void;
  readonly milliseconds: () => number;
}

/** Work of one turn before input and output are looked at again. */
const TURN_MILLISECONDS = 4;
const TURN_MESSAGES = 50;
/** Messages that may wait for the resolver at once. */
const ASSIGNING_LIMIT = 200;

export class MainLoop {
  readonly #loop: Loop;
  #scheduled = false;
  #preferred: Scan;
  #last: Scan;

  constructor(loop: Loop) {
    this.#loop = loop;
    this.#preferred = loop.incoming;
    this.#last = loop.incoming;
  }

  get #manager(): Manager {
    return this.#loop.deliverer.manager;
  }

  /** Asks for a turn. */
  wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#loop.soon(() => {
      this.#scheduled = false;
      this.#turn();
    });
  }

  #turn(): void {
    const end = this.#loop.milliseconds() + TURN_MILLISECONDS;
    let fedIncoming = 0;
    let found = true;
    for (let messages = 0; messages < TURN_MESSAGES && found; messages++) {
      this.#loop.deliverer.connectAgents();
      const step = this.#feedOne();
      found = step.found;
      if (step.fed && this.#last === this.#loop.incoming) fedIncoming++;
      if (this.#loop.milliseconds() >= end) break;
    }
    this.#loop.deliverer.connectAgents();
    this.#controlFlow(fedIncoming);
    if (found) this.wake();
  }

  /** No message may be taken now. */
  get #full(): boolean {
    const { settings, messageCount, recipientCount, unassignedCount } = this.#manager;
    return (
      messageCount >= settings.activeLimit ||
      (!settings.preemptive && recipientCount + unassignedCount >= settings.recipientLimit)
    );
  }

  /** At most one message, and at most one name of each scan. */
  #feedOne(): { readonly found: boolean; readonly fed: boolean } {
    const { incoming, deferred } = this.#loop;
    let found = false;
    let fed = false;
    // A message that ends its assignment wakes the loop.
    if (this.#loop.assigning() >= ASSIGNING_LIMIT) return { found, fed };
    for (const scan of this.#preferred === incoming ? [incoming, deferred] : [deferred, incoming]) {
      if (this.#full) break;
      const id = scan.next();
      this.#last = scan;
      if (id === undefined) continue;
      found = true;
      if (this.#loop.feed(scan, id)) {
        fed = true;
        break;
      }
    }
    this.#preferred = !this.#full && this.#last === incoming ? deferred : incoming;
    return { found, fed };
  }

  #controlFlow(fedIncoming: number): void {
    const { flow, incoming } = this.#loop;
    const { inFlowDelay, processLimit } = this.#manager.settings;
    if (flow === undefined || inFlowDelay <= 0) return;
    const tokens = flow.tokens();
    if (tokens < processLimit) {
      if (fedIncoming > 0) flow.add(Math.min(fedIncoming, processLimit - tokens));
      else if (!incoming.inProgress) flow.add(processLimit - tokens);
    } else if (tokens > processLimit) flow.remove(tokens - processLimit);
  }
}
