/** How well the cache serves, as scache(8) logs it now and then. */
import { localTime } from "../../lib/message/date.ts";
import type { Sizes } from "./store.ts";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `Jun  1 12:34:56` */
function when(seconds: number): string {
  const time = localTime(Math.floor(seconds));
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${MONTHS[time.month]} ${String(time.day).padStart(2)} ${two(time.hour)}:${two(time.minute)}:${two(time.second)}`;
}

class Lookups {
  #hits = 0;
  #misses = 0;
  count(hit: boolean): void {
    if (hit) this.#hits++;
    else this.#misses++;
  }
  line(what: string): string[] {
    const total = this.#hits + this.#misses;
    return total === 0
      ? []
      : [
          `statistics: ${what} lookup hits=${this.#hits} miss=${this.#misses} success=${Math.floor((this.#hits * 100) / total)}%`,
        ];
  }
}

export class Statistics {
  domains = new Lookups();
  addresses = new Lookups();
  #peak = { destinations: 0, endpoints: 0, connections: 0 };
  #start: number;

  constructor(private readonly now: () => number = () => Date.now() / 1000) {
    this.#start = now();
  }

  saw(sizes: Sizes): void {
    const peak = this.#peak;
    peak.destinations = Math.max(peak.destinations, sizes.destinations);
    peak.endpoints = Math.max(peak.endpoints, sizes.endpoints);
    peak.connections = Math.max(peak.connections, sizes.connections);
  }

  /** The lines since the last time; none when nothing happened. */
  take(): string[] {
    const { destinations, endpoints, connections } = this.#peak;
    const lines = [
      ...this.domains.line("domain"),
      ...this.addresses.line("address"),
      ...(destinations + endpoints + connections > 0
        ? [
            `statistics: max simultaneous domains=${destinations} addresses=${endpoints} connection=${connections}`,
          ]
        : []),
    ];
    if (lines.length > 0) lines.unshift(`statistics: start interval ${when(this.#start)}`);
    this.domains = new Lookups();
    this.addresses = new Lookups();
    this.#peak = { destinations: 0, endpoints: 0, connections: 0 };
    this.#start = this.now();
    return lines;
  }
}
