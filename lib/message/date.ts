/** Dates in headers (RFC 5322 3.3), with the zone's abbreviation as a comment. */
import { localZone, type Zone } from "./zone.ts";

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const two = (value: number): string => String(value).padStart(2, "0");

/** The text of the last second: under load the next message has the same. */
let latest: { readonly second: number; readonly zone: Zone; readonly text: string } | undefined;

/** `Tue, 14 Nov 2023 22:13:20 +0000 (UTC)`: local time of a time in seconds since 1970. */
export function mailDate(seconds: number, zone: Zone = localZone()): string {
  const second = Math.floor(seconds);
  if (latest === undefined || latest.second !== second || latest.zone !== zone)
    latest = { second, zone, text: renderDate(second, zone) };
  return latest.text;
}

function renderDate(seconds: number, zone: Zone): string {
  const { offset, abbreviation } = zone(seconds);
  const local = new Date((seconds + offset) * 1000);
  const minutes = Math.floor(Math.abs(offset) / 60);
  const sign = offset < 0 ? "-" : "+";
  return (
    `${DAYS[local.getUTCDay()]}, ${two(local.getUTCDate())} ${MONTHS[local.getUTCMonth()]} ${local.getUTCFullYear()}` +
    ` ${two(local.getUTCHours())}:${two(local.getUTCMinutes())}:${two(local.getUTCSeconds())}` +
    ` ${sign}${two(Math.floor(minutes / 60))}${two(minutes % 60)} (${abbreviation})`
  );
}

/** `20231114221320`: UTC, as in generated message ids. */
export function compactUtc(seconds: number): string {
  const utc = new Date(Math.floor(seconds) * 1000);
  return (
    `${utc.getUTCFullYear()}${two(utc.getUTCMonth() + 1)}${two(utc.getUTCDate())}` +
    `${two(utc.getUTCHours())}${two(utc.getUTCMinutes())}${two(utc.getUTCSeconds())}`
  );
}

/** The local calendar fields of a time, for `From ` lines, syslog time stamps and the like. */
export interface LocalTime {
  readonly year: number;
  /** 0 to 11. */
  readonly month: number;
  readonly day: number;
  /** 0 is Sunday. */
  readonly weekday: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
}

export function localTime(seconds: number, zone: Zone = localZone()): LocalTime {
  const local = new Date((Math.floor(seconds) + zone(seconds).offset) * 1000);
  return {
    year: local.getUTCFullYear(),
    month: local.getUTCMonth(),
    day: local.getUTCDate(),
    weekday: local.getUTCDay(),
    hour: local.getUTCHours(),
    minute: local.getUTCMinutes(),
    second: local.getUTCSeconds(),
  };
}

/** `Tue Nov 14 22:13:20 2023`: asctime(), as in mbox `From ` lines (without the newline). */
export function ascTime(seconds: number, zone: Zone = localZone()): string {
  const time = localTime(seconds, zone);
  return (
    `${DAYS[time.weekday]} ${MONTHS[time.month]} ${String(time.day).padStart(2, " ")}` +
    ` ${two(time.hour)}:${two(time.minute)}:${two(time.second)} ${time.year}`
  );
}
