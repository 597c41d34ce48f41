/** `memcache:/path/file.cf`: a cache shared through memcached, perhaps in front of another table (memcache_table(5)). */

import { createHash, getHashes } from "node:crypto";
import { verbose, warning } from "../../log/log.ts";
import { equalFold, isValidUtf8, toBytes } from "../../sys/bytes.ts";
import { type Channel, ChannelTimeout } from "../../sys/channel.ts";
import { errorText } from "../../sys/errno.ts";
import { sleep } from "../../sys/timers.ts";
import type { Soon } from "../../sys/when.ts";
import { TableSettings } from "../cf.ts";
import { MatchList } from "../match.ts";
import { openTable } from "../open.ts";
import { connectLogged, parseEndpoint } from "../servers/endpoint.ts";
import {
  type MemcacheLimits,
  type MemcacheReply,
  memcacheDelete,
  memcacheGet,
  memcacheSet,
} from "../servers/memcache.ts";
import { ConnectionPool, POOL_LIMIT } from "../servers/pool.ts";
import {
  ABSENT,
  DONE,
  found,
  type LookupResult,
  type OpenType,
  RETRY,
  type SequenceResult,
  type StoreResult,
  type Table,
  type TableFailure,
  TableFlag,
  TableOpenError,
  UNCHANGED,
  UNKNOWN_OWNER,
} from "../table.ts";
import { Template } from "../template.ts";
import { foldFixedKey } from "./memory.ts";

interface MemcacheParts {
  readonly pool: ConnectionPool<Channel>;
  readonly backup: Table | undefined;
  readonly domains: MatchList | undefined;
  readonly keyFormat: Template;
  /** Name of a hash function; "" = the key as it is. */
  readonly digest: string;
  readonly limits: MemcacheLimits;
  readonly itemFlags: number;
  readonly ttl: number;
  readonly maxTry: number;
  readonly pauseSeconds: number;
}

type CacheKey = { readonly kind: "key"; readonly key: string } | { readonly kind: "skip" } | TableFailure;
type Operation = "lookup" | "update" | "delete";

/** No connection: there is no point in another try. */
class NoConnection extends Error {}

class MemcacheTable implements Table {
  readonly fixed = true;
  readonly owner = UNKNOWN_OWNER;
  readonly name: string;
  constructor(
    private readonly title: string,
    public flags: number,
    private readonly parts: MemcacheParts,
  ) {
    this.name = `memcache:${title}`;
  }

  async lookup(name: string): Promise<LookupResult> {
    const prepared = await this.prepare(name, "lookup");
    if (prepared.kind === "error") return prepared;
    if (prepared.kind === "skip") return ABSENT;
    const { key } = prepared;
    const cached = await this.ask("lookup", (channel) => memcacheGet(channel, key, this.parts.limits));
    if (cached.kind === "value") return found(cached.value);
    const { backup } = this.parts;
    if (backup === undefined) return cached.kind === "error" ? cached : ABSENT;
    const result = await backup.lookup(name);
    // a cache that takes nothing now does no harm
    if (result.kind === "found") await this.store(key, result.value);
    return result;
  }

  async update(name: string, value: string): Promise<StoreResult> {
    const prepared = await this.prepare(name, "update");
    if (prepared.kind === "error") return prepared;
    if (prepared.kind === "skip") return UNCHANGED;
    const { backup } = this.parts;
    const saved = await backup?.update?.(name, value);
    const cached = await this.store(prepared.key, value);
    return saved ?? cached;
  }

  async remove(name: string): Promise<StoreResult> {
    const prepared = await this.prepare(name, "delete");
    if (prepared.kind === "error") return prepared;
    if (prepared.kind === "skip") return UNCHANGED;
    const { backup, limits } = this.parts;
    const saved = await backup?.remove?.(name);
    const cached = await this.ask("delete", (channel) => memcacheDelete(channel, prepared.key, limits));
    if (saved !== undefined) return saved;
    return cached.kind === "error" ? cached : cached.kind === "done" ? DONE : UNCHANGED;
  }

  sequence(position: "first" | "next"): Soon<SequenceResult> {
    const sequence = this.parts.backup?.sequence?.(position);
    if (sequence !== undefined) return sequence;
    warning(`database ${this.name}: first/next support requires backup database`);
    return ABSENT;
  }

  private async store(key: string, value: string): Promise<StoreResult> {
    const { limits, itemFlags: flags, ttl } = this.parts;
    if (value.length > limits.data) {
      warning(
        `database ${this.name}: data for key ${key} is too long (data_size_limit=${limits.data}) -- not stored`,
      );
      return UNCHANGED;
    }
    const reply = await this.ask("update", (channel) =>
      memcacheSet(channel, { key, value, flags, ttl }, limits),
    );
    return reply.kind === "error" ? reply : DONE;
  }

  /** Runs one exchange; again on a fresh connection when it fails. Tells of trouble from the second time on. */
  private async ask(
    operation: Operation,
    exchange: (channel: Channel) => Promise<MemcacheReply>,
  ): Promise<Exclude<MemcacheReply, { kind: "bad" | "cut" }> | TableFailure> {
    const { pool, maxTry, pauseSeconds } = this.parts;
    for (let attempt = 1; attempt <= maxTry; attempt++) {
      if (attempt > 1) await sleep(pauseSeconds);
      const telling = attempt > 1 || maxTry === 1;
      try {
        return await pool.run(async (channel) => {
          const reply = await exchange(channel);
          if (reply.kind === "bad") throw new BadReply(reply.text);
          if (reply.kind === "cut") throw new BadReply(undefined);
          return reply;
        }, attempt > 1);
      } catch (failure) {
        if (failure instanceof NoConnection) return RETRY;
        if (failure instanceof TypeError || failure instanceof RangeError) throw failure;
        if (telling) this.complain(operation, failure);
      }
    }
    return RETRY;
  }

  private complain(operation: Operation, failure: unknown): void {
    if (failure instanceof BadReply && failure.reply !== undefined)
      warning(
        operation === "lookup"
          ? `${this.title}: unexpected memcache server reply: ${failure.reply}`
          : `database ${this.name}: ${operation} failed: ${failure.reply}`,
      );
    else if (failure instanceof BadReply) warning(`${this.title}: EOF receiving memcache server reply`);
    else
      warning(
        `database ${this.name}: I/O error: ${failure instanceof ChannelTimeout ? "Connection timed out" : errorText(failure)}`,
      );
  }

  /** The key in memcached for a name, or that the name is none of this table's. */
  private async prepare(name: string, operation: Operation): Promise<CacheKey> {
    const skip = (reason: string): CacheKey => {
      const text = `${this.title}: skipping ${operation} for name "${name}": ${reason}`;
      if (operation === "update") warning(text);
      else verbose(() => text);
      return { kind: "skip" };
    };
    if (name === "") return skip("empty lookup key");
    if ((this.flags & TableFlag.utf8_active) === 0 && !isValidUtf8(name)) return skip("non-UTF-8 lookup key");
    const folded = foldFixedKey(this.flags, name);
    const { domains, keyFormat, digest } = this.parts;
    if (domains !== undefined) {
      const at = folded.lastIndexOf("@");
      const match =
        at <= 0 || at === folded.length - 1 ? undefined : await domains.matches(folded.slice(at + 1));
      if (match?.kind === "error") return RETRY;
      if (match === undefined || match.kind === "none") return skip("domain mismatch");
    }
    const key = keyFormat.expand(folded, folded);
    if (key === undefined || key === "") return skip("empty lookup key expansion");
    if (digest !== "") return { kind: "key", key: createHash(digest).update(toBytes(key)).digest("hex") };
    // what ends a word or a line of the protocol must not come from outside
    if (/[\0-\x20\x7f]/.test(key)) return skip("name contains space or controls");
    return { kind: "key", key };
  }

  changed(): boolean {
    return false;
  }
  close(): void {
    const { pool, backup, domains } = this.parts;
    pool.close();
    backup?.close();
    domains?.close();
  }
}

/** A reply that is none. `reply` is its line, undefined when a value is cut off. */
class BadReply extends Error {
  constructor(readonly reply: string | undefined) {
    super("bad reply");
  }
}

export const openMemcache: OpenType = async (name, options) => {
  const settings = TableSettings.open(name);
  const server = settings.text("memcache", "inet:localhost:11211");
  const backupName = settings.text("backup", "");
  const keyFormat = Template.parse(settings.title, settings.text("key_format", "%s"), "query");
  const digest = settings.text("key_digest", "");
  if (digest !== "" && !isHash(digest))
    throw new TableOpenError(`open ${name}: key digest ${digest} is not available`);
  const domain = settings.text("domain", "");
  const timeout = settings.number("timeout", 2, 1);
  const numbers = {
    itemFlags: settings.number("flags", 0, 0),
    ttl: settings.number("ttl", 3600, 0),
    maxTry: settings.number("max_try", 2, 1),
    pauseSeconds: settings.number("retry_pause", 1, 1),
  };
  const limits = {
    line: settings.number("line_size_limit", 1024, 1),
    data: settings.number("data_size_limit", 10240, 1),
  };
  const endpoint = parseEndpoint(server);
  const { access, flags } = options;
  const backup = backupName === "" ? undefined : await openTable(backupName, { access, flags });
  const domains =
    domain === "" ? undefined : await MatchList.open(`domain of ${settings.title}`, domain, "string");
  const pool = new ConnectionPool<Channel>({
    open: async () => {
      try {
        return await connectLogged(endpoint, server, timeout);
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
  const parts = { pool, backup, domains, keyFormat, digest, limits, ...numbers };
  return new MemcacheTable(name, flags | TableFlag.fixed | TableFlag.multi_writer, parts);
};

/** OpenSSL knows a hash function of this name. */
const isHash = (name: string): boolean => getHashes().some((known) => equalFold(known, name));
