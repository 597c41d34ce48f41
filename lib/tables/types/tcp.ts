/** `tcp:host:port`: asks a server with a protocol of one line each way (tcp_table(5)). */

import { warning } from "../../log/log.ts";
import { isPrintCode } from "../../sys/bytes.ts";
import { type Channel, ChannelTimeout } from "../../sys/channel.ts";
import { errorText } from "../../sys/errno.ts";
import { connectEndpoint, type Endpoint, parseHostPort } from "../servers/endpoint.ts";
import { ConnectionPool, POOL_LIMIT } from "../servers/pool.ts";
import {
  ABSENT,
  found,
  type LookupResult,
  type OpenType,
  RETRY,
  type Table,
  TableFlag,
  UNKNOWN_OWNER,
} from "../table.ts";

/** Longest reply line in bytes, its end included. */
const LINE_LIMIT = 4096;
/** Seconds for connecting, and for each read and write. */
const TIME_LIMIT = 100;
const ATTEMPTS = 10;
const PAUSE_MS = 1000;
/** How much of a bad reply is shown. */
const SHOWN = 100;

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** `%XX` for what is not printable, for blanks and for `%`. */
export const quoteTcp = (text: string): string =>
  Array.from(text, (char) => {
    const code = char.charCodeAt(0);
    return isPrintCode(code) && char !== " " && char !== "%"
      ? char
      : `%${code.toString(16).toUpperCase().padStart(2, "0")}`;
  }).join("");

/** Undefined when a `%` is not followed by two hexadecimal digits. */
export function unquoteTcp(text: string): string | undefined {
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) return undefined;
  return text.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** No usable answer: what to log after `read TCP map reply from NAME: `. */
class NoReply extends Error {}
/** The connection could not be made: what to log after `connect to TCP map NAME: `. */
class NoConnection extends Error {}

export type TcpReply =
  | { readonly kind: "value" | "none" | "later" }
  | { readonly kind: "bad"; readonly problem: string };

/** What a reply line says; its text is in `text`. */
export function parseTcpReply(line: string): TcpReply & { readonly text: string } {
  const match = /^([0-9]{3})[ \t\r\v\f]+(.*)$/s.exec(line);
  const text = match === null ? undefined : unquoteTcp(match[2] ?? "");
  if (match === null || text === undefined)
    return { kind: "bad", problem: `malformed reply: ${line.slice(0, SHOWN)}`, text: "" };
  switch (line.charAt(0)) {
    case "2":
      return { kind: "value", text };
    case "4":
      return { kind: "later", text };
    case "5":
      return { kind: "none", text };
    default:
      return { kind: "bad", problem: `bad status code: ${line.slice(0, SHOWN)}`, text };
  }
}

class TcpTable implements Table {
  readonly fixed = false;
  readonly owner = UNKNOWN_OWNER;
  readonly name: string;
  private readonly pool: ConnectionPool<Channel>;

  constructor(
    private readonly server: string,
    endpoint: Endpoint,
    public flags: number,
  ) {
    this.name = `tcp:${server}`;
    this.pool = new ConnectionPool({
      open: async () => {
        try {
          return await connectEndpoint(endpoint, server, TIME_LIMIT);
        } catch (failure) {
          throw new NoConnection(errorText(failure));
        }
      },
      close: (channel) => channel.destroy(),
      broken: (channel) => channel.readable,
      limit: POOL_LIMIT,
      idleSeconds: 0,
      ageSeconds: 0,
    });
  }

  async lookup(key: string): Promise<LookupResult> {
    for (let attempt = 1; ; attempt++) {
      let failed: LookupResult = RETRY;
      try {
        return await this.pool.run((channel) => this.ask(channel, key), attempt > 1);
      } catch (failure) {
        if (failure instanceof Refused) return RETRY;
        if (failure instanceof NoConnection) {
          warning(`connect to TCP map ${this.server}: ${failure.message}`);
          failed = { ...RETRY, reason: failure.message };
        } else if (failure instanceof NoReply)
          warning(`read TCP map reply from ${this.server}: ${failure.message}`);
        else throw failure;
      }
      if (attempt >= ATTEMPTS) return failed;
      await pause(PAUSE_MS);
    }
  }

  private async ask(channel: Channel, key: string): Promise<LookupResult> {
    const line = await this.exchange(channel, `get ${quoteTcp(key)}\n`);
    const reply = parseTcpReply(line);
    switch (reply.kind) {
      case "value":
        return found(reply.text);
      case "none":
        return ABSENT;
      case "later":
        throw new Refused();
      case "bad":
        warning(`read TCP map reply from ${this.server}: ${reply.problem}`);
        throw new Refused();
    }
  }

  private async exchange(channel: Channel, request: string): Promise<string> {
    try {
      channel.write(request);
      await channel.flush();
      const line = await channel.readUntil(0x0a, LINE_LIMIT - 1);
      if (line === "long") throw new NoReply(`text longer than ${LINE_LIMIT}`);
      if (line === "end") throw new NoReply("unexpected EOF (Success)");
      return line.toString("latin1");
    } catch (failure) {
      if (failure instanceof NoReply) throw failure;
      if (failure instanceof TypeError || failure instanceof RangeError) throw failure;
      const reason = failure instanceof ChannelTimeout ? "Connection timed out" : errorText(failure);
      throw new NoReply(`unexpected EOF (${reason})`);
    }
  }
  changed(): boolean {
    return false;
  }
  close(): void {
    this.pool.close();
  }
}

/** The server has no answer now; its connection is not used again. */
class Refused extends Error {}

export const openTcp: OpenType = (name, options) =>
  Promise.resolve(new TcpTable(name, parseHostPort(name), options.flags | TableFlag.pattern));
