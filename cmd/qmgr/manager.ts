/** The state of the queue manager and the ways out of its scheduler: everything else reaches the outside through `Services`. */
import type { Clock, Timers } from "./clock.ts";
import { List } from "./list.ts";
import type { Message } from "./message.ts";
import type { Recipient } from "./recipient.ts";
import type { Settings, TransportSettings } from "./settings.ts";
import { type SiteStatus, Transport } from "./transport.ts";

export interface Services {
  readonly transportSettings: (transport: string) => TransportSettings;
  /** Reads and assigns more recipients of a message, now or later (`message.assigning` in the meantime). */
  readonly refill: (message: Message) => void;
  /** The last entry of a message is gone. */
  readonly finish: (message: Message) => void;
  /** Records the recipients as deferred without a delivery agent. */
  readonly deferDirectly: (message: Message, recipients: ReadonlyArray<Recipient>, cause: SiteStatus) => void;
  /** Something may be possible now that was not: look at the transports and scans soon. */
  readonly wake: () => void;
}

/** Its agent is error(8) too; the name is fixed. */
export const RETRY_TRANSPORT = "retry";

export class Manager {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly services: Services;
  readonly transports = new List<Transport>();
  readonly transportByName = new Map<string, Transport>();
  /** Messages in the active queue. */
  messageCount = 0;
  /** Recipients in entries. */
  recipientCount = 0;
  /** Recipients that are being resolved, and the messages that they belong to. */
  unassignedCount = 0;
  assigningCount = 0;
  queueCount = 0;
  /** Address probes in the active queue. */
  probeCount = 0;

  constructor(settings: Settings, clock: Clock, timers: Timers, services: Services) {
    this.settings = settings;
    this.clock = clock;
    this.timers = timers;
    this.services = services;
  }

  /** New transports come first, with oqmgr(8) last. */
  transport(name: string): Transport {
    const known = this.transportByName.get(name);
    if (known !== undefined) return known;
    const transport = new Transport(this, name, this.services.transportSettings(name));
    this.transportByName.set(name, transport);
    transport.link = this.settings.preemptive
      ? this.transports.prepend(transport)
      : this.transports.append(transport);
    return transport;
  }

  wake(): void {
    this.services.wake();
  }

  refill(message: Message): void {
    this.services.refill(message);
  }

  /** An entry or assignment of the message is done. */
  release(message: Message): void {
    if (--message.references === 0) this.services.finish(message);
  }

  /** Forgets what is known of dead transports and destinations (trigger F). */
  unthrottleAll(): void {
    for (const transport of this.transports) {
      transport.unthrottle();
      for (const queue of [...transport.queues.values()]) {
        queue.revive();
        queue.discardIfIdle();
      }
    }
    this.wake();
  }
}
