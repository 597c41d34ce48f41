/** Local time as the C library computes it, from the system's time zone files (RFC 8536), so that it is known in a jail as well. */

import { pathOf } from "../sys/bytes.ts";
import { environmentVariable } from "../sys/environment.ts";
import { readFileSync } from "../sys/fs.ts";

export interface LocalOffset {
  /** Seconds east of UTC. */
  readonly offset: number;
  /** `CET`. */
  readonly abbreviation: string;
}

/** Gives the offset at a time (seconds since 1970). */
export type Zone = (seconds: number) => LocalOffset;

const UTC: LocalOffset = { offset: 0, abbreviation: "UTC" };
const DIRECTORY = "/usr/share/zoneinfo";
const FILE_LIMIT = 1 << 20;

let current: Zone | undefined;

/** Reads the time zone of this process once. Daemons call it before they enter their jail. */
export function localZone(): Zone {
  current ??= loadZone(environmentVariable("TZ"));
  return current;
}

/** The zone that TZ names: a file of the zone database, a POSIX rule, or /etc/localtime when it is not set. */
export function loadZone(name: string | undefined): Zone {
  if (name === undefined) return zoneFile("/etc/localtime") ?? (() => UTC);
  const text = name.startsWith(":") ? name.slice(1) : name;
  if (text === "") return () => UTC;
  const path = text.startsWith("/") ? text : `${DIRECTORY}/${text}`;
  const file = text.split("/").includes("..") ? undefined : zoneFile(path);
  return file ?? posixZone(text) ?? (() => UTC);
}

function zoneFile(path: string): Zone | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(pathOf(path));
  } catch {
    return undefined;
  }
  return bytes.length > FILE_LIMIT ? undefined : parseZone(bytes);
}

interface Block {
  readonly times: number[];
  readonly indices: number[];
  readonly types: LocalOffset[];
  readonly end: number;
}

/** A compiled zone file, versions 1 to 4. */
export function parseZone(bytes: Buffer): Zone | undefined {
  try {
    const version = bytes[4] ?? 0;
    const first = readBlock(bytes, 0, 4);
    if (first === undefined) return undefined;
    if (version < 0x32) return lookup(first, undefined);
    const second = readBlock(bytes, first.end, 8);
    if (second === undefined) return undefined;
    const footer = bytes.toString("latin1", second.end + 1, bytes.indexOf(0x0a, second.end + 1));
    return lookup(second, posixZone(footer));
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function readBlock(bytes: Buffer, start: number, width: 4 | 8): Block | undefined {
  if (bytes.toString("latin1", start, start + 4) !== "TZif") return undefined;
  const count = (index: number): number => bytes.readUInt32BE(start + 20 + 4 * index);
  const [isUt, isStd, leap, timeCount, typeCount, charCount] = [0, 1, 2, 3, 4, 5].map(count) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const timesAt = start + 44;
  const indicesAt = timesAt + timeCount * width;
  const typesAt = indicesAt + timeCount;
  const charsAt = typesAt + typeCount * 6;
  const end = charsAt + charCount + leap * (width + 4) + isStd + isUt;
  if (end > bytes.length) return undefined;
  const times: number[] = [];
  const indices: number[] = [];
  for (let i = 0; i < timeCount; i++) {
    const at = timesAt + i * width;
    times.push(width === 8 ? Number(bytes.readBigInt64BE(at)) : bytes.readInt32BE(at));
    indices.push(bytes.readUInt8(indicesAt + i));
  }
  const types: LocalOffset[] = [];
  for (let i = 0; i < typeCount; i++) {
    const at = typesAt + i * 6;
    const name = charsAt + bytes.readUInt8(at + 5);
    types.push({
      offset: bytes.readInt32BE(at),
      abbreviation: bytes.toString("latin1", name, bytes.indexOf(0, name)),
    });
  }
  return { times, indices, types, end };
}

function lookup(block: Block, after: Zone | undefined): Zone {
  const { times, indices, types } = block;
  return (seconds) => {
    const last = times.at(-1);
    if (last === undefined || seconds >= last) {
      if (after !== undefined) return after(seconds);
      return types[indices.at(-1) ?? 0] ?? UTC;
    }
    let low = 0;
    let high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((times[middle] ?? 0) <= seconds) low = middle + 1;
      else high = middle;
    }
    return types[low === 0 ? 0 : (indices[low - 1] ?? 0)] ?? UTC;
  };
}

const NAME = "(?:([A-Za-z]{3,16})|<([A-Za-z0-9+-]{3,16})>)";
const TIME = "([+-]?[0-9]{1,3}(?::[0-9]{1,2}(?::[0-9]{1,2})?)?)";
const DATE = "(J?[0-9]{1,3}|M[0-9]{1,2}\\.[0-9]\\.[0-9])";

/** A POSIX rule such as `CET-1CEST,M3.5.0,M10.5.0/3`. */
export function posixZone(rule: string): Zone | undefined {
  const pattern = new RegExp(
    `^${NAME}${TIME}(?:${NAME}${TIME}?(?:,${DATE}(?:/${TIME})?,${DATE}(?:/${TIME})?)?)?$`,
  );
  const match = pattern.exec(rule);
  if (match === null) return undefined;
  const [
    ,
    name1,
    name2,
    offset1 = "0",
    dst1,
    dst2,
    offset2,
    start = "M3.2.0",
    startTime = "2",
    end = "M11.1.0",
    endTime = "2",
  ] = match;
  const standard: LocalOffset = { offset: -clock(offset1), abbreviation: name1 ?? name2 ?? "UTC" };
  const summerName = dst1 ?? dst2;
  if (summerName === undefined) return () => standard;
  const summer: LocalOffset = {
    offset: offset2 === undefined ? standard.offset + 3600 : -clock(offset2),
    abbreviation: summerName,
  };
  return (seconds) => {
    const year = new Date((seconds + standard.offset) * 1000).getUTCFullYear();
    const begins = ruleTime(start, startTime, year) - standard.offset;
    const ends = ruleTime(end, endTime, year) - summer.offset;
    const inSummer =
      begins < ends ? seconds >= begins && seconds < ends : seconds >= begins || seconds < ends;
    return inSummer ? summer : standard;
  };
}

/** Seconds of `[+-]h[:m[:s]]`. */
function clock(text: string): number {
  const [hours = 0, minutes = 0, seconds = 0] = text.replace(/^[+-]/, "").split(":").map(Number);
  const value = hours * 3600 + minutes * 60 + seconds;
  return text.startsWith("-") ? -value : value;
}

const DAY = 86_400;

/** Local time of a rule in a year, as if that local time were UTC. */
function ruleTime(date: string, time: string, year: number): number {
  const january = Date.UTC(year, 0, 1) / 1000;
  const leap = new Date(Date.UTC(year, 1, 29)).getUTCMonth() === 1;
  if (date.startsWith("M")) {
    const [month = 1, week = 1, weekday = 0] = date.slice(1).split(".").map(Number);
    const first = new Date(Date.UTC(year, month - 1, 1));
    const days = new Date(Date.UTC(year, month, 0)).getUTCDate();
    let day = 1 + ((weekday - first.getUTCDay() + 7) % 7) + (week - 1) * 7;
    while (day > days) day -= 7;
    return Date.UTC(year, month - 1, day) / 1000 + clock(time);
  }
  const julian = date.startsWith("J");
  const number = Number(julian ? date.slice(1) : date);
  const day = julian ? number - 1 + (leap && number >= 60 ? 1 : 0) : number;
  return january + day * DAY + clock(time);
}
