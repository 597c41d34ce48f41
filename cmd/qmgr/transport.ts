/** A transport: a way of delivery, with its destinations and its list of jobs (queue.md 22). */
import type { Timer } from "../../lib/sys/timers.ts";
import type { Job } from "./job.ts";
import { type Link, List } from "./list.ts";
import type { Manager } from "./manager.ts";
import type { Queue } from "./queue.ts";
import type { TransportSettings } from "./settings.ts";

/** Why a destination or transport is not used: the status code and the reason that its recipients are told. */
export interface SiteStatus {
  readonly status: string;
  readonly reason: string;
}

export type TransportState =
  | { readonly kind: "alive" }
  | { readonly kind: "dead"; readonly cause: SiteStatus; readonly timer: Timer };

const ALIVE: TransportState = { kind: "alive" };

export interface CandidateCache {
  readonly current: Job;
  readonly time: number;
  readonly candidate: Job | undefined;
}

export class Transport {
  readonly manager: Manager;
  readonly name: string;
  readonly settings: TransportSettings;
  readonly queues = new Map<string, Queue>();
  /** Entries that could be handed to an agent now: the sum over ready destinations. */
  deliverable = 0;
  pendingConnections = 0;
  /** Between the start of a connection and the answer, when transport_rate_delay spaces deliveries. */
  rateLocked = false;
  state: TransportState = ALIVE;
  link: Link<Transport> | undefined;

  /** In scheduling order: a job that preempts stands directly before the job that it preempts. */
  readonly jobs = new List<Job>();
  readonly jobsByTime = new List<Job>();
  currentJob: Job | undefined;
  /** The oldest job whose queue file has recipients left to read: spare recipient slots go there. */
  nextUnread: Job | undefined;
  candidateCache: CandidateCache | undefined;
  /** Always odd; a job or destination that carries it is blocked. */
  blockerTag = 1;
  unusedSlots: number;

  constructor(manager: Manager, name: string, settings: TransportSettings) {
    this.manager = manager;
    this.name = name;
    this.settings = settings;
    this.unusedSlots = settings.memoryLimit;
  }

  get dead(): SiteStatus | undefined {
    return this.state.kind === "dead" ? this.state.cause : undefined;
  }

  throttle(cause: SiteStatus): void {
    if (this.state.kind === "dead") return;
    const timer = this.manager.timers.after(this.manager.settings.transportRetry, () => {
      this.unthrottle();
      this.manager.wake();
    });
    this.state = { kind: "dead", cause, timer };
  }

  unthrottle(): void {
    if (this.state.kind === "dead") this.state.timer.cancel();
    this.state = ALIVE;
  }
}

/** The next transport that deserves a connection, round robin; undefined when no entry waits for one (queue.md 23.1). */
export function selectTransport(transports: List<Transport>): Transport | undefined {
  for (let link = transports.head; link !== undefined; link = link.next) {
    const transport = link.value;
    if (transport.state.kind === "dead" || transport.rateLocked || transport.pendingConnections >= 2)
      continue;
    if (transport.deliverable <= transport.pendingConnections) continue;
    transports.remove(link);
    transport.link = transports.append(transport);
    return transport;
  }
  return undefined;
}
