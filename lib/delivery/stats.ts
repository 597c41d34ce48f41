/** Time stamps of a message on its way (MSG_STATS), and how the delivery log prints them. */
import { type MessageStats, type Moment, NO_MOMENT } from "../ipc/protocols/delivery.ts";
import { timeOfDay } from "../sys/process.ts";

export type { MessageStats, Moment };

export const NO_STATS: MessageStats = {
  incomingArrival: NO_MOMENT,
  activeArrival: NO_MOMENT,
  agentHandoff: NO_MOMENT,
  connectionSetupDone: NO_MOMENT,
  deliverDone: NO_MOMENT,
  reuseCount: 0,
};

/** Stamps of a message that arrived at `arrival` and has gone nowhere since (cleanup's own bounces). */
export const arrivedAt = (arrival: Moment): MessageStats => ({ ...NO_STATS, incomingArrival: arrival });

/** Now, as a stamp. */
export const moment = (): Moment => timeOfDay();

const microseconds = (stamp: Moment): number => stamp.seconds * 1e6 + stamp.microseconds;

/** An interval in microseconds as seconds with at most `digits` decimals and two significant digits (logging.md 8.3); negative intervals are 0. */
export function formatDelay(interval: number, digits = 2): string {
  const value = Math.max(0, interval);
  let resolution = 10 ** (6 - digits);
  if (value >= 10e6) resolution = Math.max(resolution, 1e6);
  else if (value >= 1e6) resolution = Math.max(resolution, 1e5);
  else while (value >= 100 * resolution) resolution *= 10;
  const rounded = Math.round(value / resolution) * resolution;
  const seconds = Math.floor(rounded / 1e6);
  const fraction = Math.round(rounded - seconds * 1e6);
  if (fraction < resolution) return `${seconds}`;
  let [decimals, length] = [fraction, 6];
  for (; decimals % 10 === 0; decimals /= 10) length--;
  return `${seconds}.${String(decimals).padStart(length, "0")}`;
}

export interface Delays {
  readonly delay: string;
  /** `a/b/c/d`. */
  readonly delays: string;
}

/** `delay=` and `delays=` of the log line. A missing stamp gives its time to the last known stage. */
export function formatDelays(stats: MessageStats, digits = 2, now: Moment = timeOfDay()): Delays {
  const done = microseconds(stats.deliverDone.seconds > 0 ? stats.deliverDone : now);
  const incoming = microseconds(stats.incomingArrival);
  const active = microseconds(stats.activeArrival);
  const handoff = microseconds(stats.agentHandoff);
  const connected = microseconds(stats.connectionSetupDone);
  const beforeManager = (active > 0 ? active : done) - incoming;
  const inManager = active > 0 ? (handoff > 0 ? handoff : done) - active : 0;
  const connecting = active > 0 && handoff > 0 && connected > 0 ? connected - handoff : 0;
  const transmitting = active > 0 && handoff > 0 ? done - (connected > 0 ? connected : handoff) : 0;
  const format = (value: number): string => formatDelay(value, digits);
  return {
    delay: format(done - incoming),
    delays: [beforeManager, inManager, connecting, transmitting].map(format).join("/"),
  };
}
