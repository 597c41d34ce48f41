/** The statistics lines of anvil(8), in the order of the manual; values of zero are left out. */
import { localTime } from "../../lib/message/date.ts";
import type { Counters, EventName, Peak } from "./counters.ts";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `Jun  1 12:34:56` */
function when(milliseconds: number): string {
  const time = localTime(Math.floor(milliseconds / 1000));
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${MONTHS[time.month]} ${String(time.day).padStart(2)} ${two(time.hour)}:${two(time.minute)}:${two(time.second)}`;
}

/** `unit` in seconds. */
export function statistics(counters: Counters, unit: number): string[] {
  const { rates, count, cacheSize } = counters.takePeaks();
  const lines: string[] = [];
  const add = (name: string, peak: Peak, suffix: string): void => {
    if (peak.value > 0)
      lines.push(`statistics: max ${name} ${peak.value}${suffix} for (${peak.ident}) at ${when(peak.at)}`);
  };
  const rate = (name: EventName): void => add(`${name} rate`, rates[name], `/${unit}s`);
  rate("connection");
  add("connection count", count, "");
  for (const name of ["message", "recipient", "newtls", "auth", "tlstrace"] as const) rate(name);
  if (cacheSize.value > 0)
    lines.push(`statistics: max cache size ${cacheSize.value} at ${when(cacheSize.at)}`);
  return lines;
}
