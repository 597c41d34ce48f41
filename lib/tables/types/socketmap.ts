/** `socketmap:inet:host:port:name`, `socketmap:unix:path:name`: Sendmail's table server protocol in netstrings (socketmap_table(5)). */
import { parameter } from "../../config/configuration.ts";
import { warning } from "../../log/log.ts";
import { type Channel, ChannelTimeout } from "../../sys/channel.ts";
import { errorText } from "../../sys/errno.ts";
import { connectLogged, type Endpoint, parseEndpoint } from "../servers/endpoint.ts";
import { NetstringProblem, readNetstring, writeNetstring } from "../servers/netstring.ts";
import { ConnectionPool, POOL_LIMIT } from "../servers/pool.ts";
import {
  ABSENT,
  CONFIG,
  found,
  type LookupResult,
  type OpenType,
  RETRY,
  type Table,
  TableFlag,
  TableOpenError,
  UNKNOWN_OWNER,
} from "../table.ts";

/** Seconds for connecting, and for each read and write. */
const TIME_LIMIT = 100;
/** Connections are closed after so many idle seconds, and not used any more when they are so many seconds old. */
const IDLE_SECONDS = 10;
const AGE_SECONDS = 100;
const ATTEMPTS = 2;

/** The connections of this process, by server: tables of one server share them. */
const pools = new Map<string, ConnectionPool<Channel>>();

function poolOf(server: string, endpoint: Endpoint): ConnectionPool<Channel> {
  let pool = pools.get(server);
  if (pool === undefined) {
    pool = new ConnectionPool({
      open: () => connectLogged(endpoint, server, TIME_LIMIT),
      close: (channel) => channel.destroy(),
      broken: (channel) => channel.readable,
      limit: POOL_LIMIT,
      idleSeconds: IDLE_SECONDS,
      ageSeconds: AGE_SECONDS,
    });
    pools.set(server, pool);
  }
  return pool;
}

class SocketmapTable implements Table {
  readonly fixed = false;
  readonly owner = UNKNOWN_OWNER;
  constructor(
    readonly name: string,
    private readonly map: string,
    private readonly pool: ConnectionPool<Channel>,
    public flags: number,
  ) {}

  async lookup(key: string): Promise<LookupResult> {
    if (key.length > parameter("socketmap_max_query_size")) {
      warning(`table ${this.name} query too large: '${key.slice(0, 100)}...', returning 'not found'`);
      return ABSENT;
    }
    for (let attempt = 1; ; attempt++) {
      try {
        return this.result(await this.pool.run((channel) => this.ask(channel, key), attempt > 1));
      } catch (failure) {
        if (failure instanceof TypeError || failure instanceof RangeError) throw failure;
        // a server may close a kept connection at any time
        const again = failure instanceof NetstringProblem && failure.problem === "unexpected disconnect";
        if (again && attempt < ATTEMPTS) continue;
        const text = failure instanceof NetstringProblem ? failure.problem : errorText(failure);
        warning(`table ${this.name} lookup error: ${text}`);
        return RETRY;
      }
    }
  }

  private async ask(channel: Channel, key: string): Promise<string> {
    try {
      writeNetstring(channel, `${this.map} ${key}`);
      await channel.flush();
    } catch (failure) {
      if (failure instanceof ChannelTimeout) throw new NetstringProblem("time limit exceeded");
      throw new NetstringProblem("unexpected disconnect");
    }
    return await readNetstring(channel, parameter("socketmap_max_reply_size"));
  }

  private result(reply: string): LookupResult {
    const blank = reply.indexOf(" ");
    const status = blank < 0 ? reply : reply.slice(0, blank);
    const text = blank < 0 ? "" : reply.slice(blank + 1);
    switch (status) {
      case "OK":
        return found(text);
      case "NOTFOUND":
        return ABSENT;
      case "TEMP":
        return this.failed("temporary", text);
      case "TIMEOUT":
        return this.failed("timeout", text);
      case "PERM":
        this.failed("permanent", text);
        return CONFIG;
      default:
        return this.failed("unknown", text);
    }
  }
  private failed(kind: string, reason: string): LookupResult {
    warning(`${this.name} socketmap server ${kind} error${reason === "" ? "" : `: ${reason}`}`);
    return RETRY;
  }
  changed(): boolean {
    return false;
  }
  close(): void {
    this.pool.closeIdle();
  }
}

export const openSocketmap: OpenType = (name, options) => {
  const colon = name.lastIndexOf(":");
  const map = name.slice(colon + 1);
  if (colon <= 0 || map === "") throw new TableOpenError("socketmap requires server:socketmap argument");
  const server = name.slice(0, colon);
  const pool = poolOf(server, parseEndpoint(server));
  return Promise.resolve(
    new SocketmapTable(`socketmap:${name}`, map, pool, options.flags | TableFlag.pattern),
  );
};
