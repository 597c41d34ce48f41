/** The text protocol of memcached, as far as a table needs it (https://github.com/memcached/memcached, doc/protocol.txt). */

import type { Channel } from "../../sys/channel.ts";
import { errnoNumber, SysError } from "../../sys/errno.ts";
import { readDecimal } from "../../sys/numbers.ts";

export interface MemcacheLimits {
  /** Longest line of a reply in bytes. */
  readonly line: number;
  /** Longest value in bytes. */
  readonly data: number;
}

export type MemcacheReply =
  | { readonly kind: "value"; readonly value: string }
  | { readonly kind: "done" }
  | { readonly kind: "absent" }
  /** A reply that makes no sense: the connection is of no more use. */
  | { readonly kind: "bad"; readonly text: string }
  /** A value that is not as long as announced, or not complete. */
  | { readonly kind: "cut" };

const CR = 0x0d;
/** What follows a value: the end of its line, and the end of the reply. */
const VALUE_END = "\r\nEND\r\n";

/** One line without its end. Throws SysError when the peer is done or the line is too long. */
async function readLine(channel: Channel, limit: number): Promise<string> {
  const line = await channel.readUntil(0x0a, limit);
  if (line === "end") throw new SysError("read", errnoNumber("ECONNRESET"), channel.name);
  if (line === "long") throw new SysError("read", errnoNumber("EMSGSIZE"), channel.name);
  return line.toString("latin1", 0, line.at(-1) === CR ? line.length - 1 : line.length);
}

/** Asks for the value of a key. The key holds neither blanks nor controls. Throws what the channel throws. */
export async function memcacheGet(
  channel: Channel,
  key: string,
  limits: MemcacheLimits,
): Promise<MemcacheReply> {
  channel.write(`get ${key}\r\n`);
  await channel.flush();
  const line = await readLine(channel, limits.line);
  if (line === "END") return { kind: "absent" };
  const words = line.split(" ");
  const size =
    words[0] === "VALUE" && words.length >= 4 ? readDecimal(words[3] ?? "", limits.data) : undefined;
  if (size === undefined) return { kind: "bad", text: line };
  const value = await channel.readExactly(size);
  if (value === undefined) return { kind: "cut" };
  const text = value.toString("latin1");
  const rest = await channel.readExactly(VALUE_END.length);
  if (rest === undefined || rest.toString("latin1") !== VALUE_END) return { kind: "cut" };
  return { kind: "value", value: text };
}

export async function memcacheSet(
  channel: Channel,
  item: { readonly key: string; readonly value: string; readonly flags: number; readonly ttl: number },
  limits: MemcacheLimits,
): Promise<MemcacheReply> {
  channel.write(`set ${item.key} ${item.flags} ${item.ttl} ${item.value.length}\r\n${item.value}\r\n`);
  await channel.flush();
  const line = await readLine(channel, limits.line);
  return line === "STORED" ? { kind: "done" } : { kind: "bad", text: line };
}

export async function memcacheDelete(
  channel: Channel,
  key: string,
  limits: MemcacheLimits,
): Promise<MemcacheReply> {
  channel.write(`delete ${key}\r\n`);
  await channel.flush();
  const line = await readLine(channel, limits.line);
  if (line === "DELETED") return { kind: "done" };
  return line === "NOT_FOUND" ? { kind: "absent" } : { kind: "bad", text: line };
}
