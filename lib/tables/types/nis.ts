/** `nis:map`: the maps of the machine's NIS domain, through ypbind to ypserv. */

import { warning } from "../../log/log.ts";
import { fromBytes, trimSpace } from "../../sys/bytes.ts";
import { ChannelTimeout } from "../../sys/channel.ts";
import { errorCode, SysError } from "../../sys/errno.ts";
import { readFileSync } from "../../sys/fs.ts";
import { ConnectionPool, POOL_LIMIT } from "../servers/pool.ts";
import { connectRpc, type RpcClient, RpcProblem, type RpcProgram, xdrText } from "../servers/rpc.ts";
import {
  ABSENT,
  found,
  type LookupResult,
  type OpenType,
  RETRY,
  type Table,
  TableFlag,
  TRUSTED,
} from "../table.ts";
import { KEY_FORMS, storedText, WITH_NUL } from "./indexed.ts";
import { foldFixedKey } from "./memory.ts";

const YPBIND = { program: 100007, version: 2 } as const;
const YPSERV = { program: 100004, version: 2 } as const;
const BIND_DOMAIN = 1;
const MATCH = 3;
const BOUND = 1;
const FOUND = 1;
const NO_KEY = -3;
/** Seconds for connecting and for each answer. */
const TIME_LIMIT = 10;
const ATTEMPTS = 2;

const PROBLEMS: ReadonlyMap<number, string> = new Map([
  [-1, "no such map in server's domain"],
  [-2, "can't bind to server on this domain"],
  [-4, "args to function are bad"],
  [-5, "yp map data base is bad"],
  [-6, "internal yp server or client error"],
  [-7, "args to function are bad"],
  [-8, "yp client/server version mismatch"],
]);

/** What to log after `lookup KEY, NIS domain D, map M: `. */
class NisProblem extends Error {}

/** Connects to a program; `problem` names it in messages. */
async function connect(address: string, program: RpcProgram, problem: string): Promise<RpcClient> {
  try {
    return await connectRpc(address, program, TIME_LIMIT);
  } catch (failure) {
    if (!isTrouble(failure)) throw failure;
    throw new NisProblem(problem);
  }
}

const isTrouble = (failure: unknown): boolean =>
  failure instanceof RpcProblem || failure instanceof SysError || failure instanceof ChannelTimeout;

/** The address of the server to which ypbind on this machine has bound the domain. */
async function boundServer(domain: string): Promise<string> {
  const binder = await connect("127.0.0.1", YPBIND, "can't communicate with ypbind");
  try {
    const reply = await binder.call(BIND_DOMAIN, xdrText(domain));
    if (reply.number() !== BOUND) throw new NisProblem("can't bind to server on this domain");
    return reply.take(4).join(".");
  } catch (failure) {
    if (!isTrouble(failure)) throw failure;
    throw new NisProblem("can't communicate with ypbind");
  } finally {
    binder.channel.destroy();
  }
}

const pools = new Map<string, ConnectionPool<RpcClient>>();

function poolOf(domain: string): ConnectionPool<RpcClient> {
  let pool = pools.get(domain);
  if (pool === undefined) {
    pool = new ConnectionPool({
      open: async () => connect(await boundServer(domain), YPSERV, "can't communicate with ypserv"),
      close: (client) => client.channel.destroy(),
      broken: (client) => client.channel.readable,
      limit: POOL_LIMIT,
      // a server that is kept busy by nothing is asked for again: the binding may have changed
      idleSeconds: 60,
      ageSeconds: 600,
    });
    pools.set(domain, pool);
  }
  return pool;
}

class NisTable implements Table {
  readonly fixed = true;
  readonly owner = TRUSTED;
  constructor(
    private readonly map: string,
    public flags: number,
    /** Undefined: NIS is not in use on this machine. */
    private readonly domain: string | undefined,
  ) {}
  get name(): string {
    return `nis:${this.map}`;
  }

  async lookup(key: string): Promise<LookupResult> {
    if (this.domain === undefined) return ABSENT;
    for (let attempt = 1; ; attempt++) {
      try {
        return await poolOf(this.domain).run(
          (client) => this.ask(client, this.domain ?? "", key),
          attempt > 1,
        );
      } catch (failure) {
        if (isTrouble(failure) && attempt < ATTEMPTS) continue;
        if (!isTrouble(failure) && !(failure instanceof NisProblem)) throw failure;
        const text = failure instanceof NisProblem ? failure.message : "RPC failure on NIS operation";
        warning(`lookup ${key}, NIS domain ${this.domain}, map ${this.map}: ${text}`);
        return RETRY;
      }
    }
  }

  private async ask(client: RpcClient, domain: string, key: string): Promise<LookupResult> {
    const { flags } = this;
    const folded = foldFixedKey(flags, key);
    for (const { withNul, flag, other } of KEY_FORMS) {
      if ((flags & flag) === 0) continue;
      const text = xdrText(withNul ? `${folded}\0` : folded);
      const reply = await client.call(MATCH, Buffer.concat([xdrText(domain), xdrText(this.map), text]));
      const status = reply.signed();
      if (status === FOUND) {
        this.flags = flags & ~other;
        return found(storedText(Buffer.from(reply.text(), "latin1")));
      }
      if (status !== NO_KEY) throw new NisProblem(PROBLEMS.get(status) ?? `unknown NIS error ${status}`);
    }
    return ABSENT;
  }
  changed(): boolean {
    return false;
  }
  close(): void {
    if (this.domain !== undefined) pools.get(this.domain)?.closeIdle();
  }
}

/** The machine's NIS domain; undefined when it has none. */
function nisDomain(): string | undefined {
  try {
    const domain = trimSpace(fromBytes(readFileSync("/proc/sys/kernel/domainname")));
    return domain === "" || domain === "(none)" ? undefined : domain;
  } catch (failure) {
    if (errorCode(failure) === undefined) throw failure;
    return undefined;
  }
}

/** It is said once in a process. */
let told = false;

export const openNis: OpenType = (name, options) => {
  const domain = nisDomain();
  if (domain === undefined && !told) {
    told = true;
    warning("dict_nis_init: NIS domain name not set - NIS lookups disabled");
  }
  return Promise.resolve(new NisTable(name, WITH_NUL.initial(options.flags | TableFlag.fixed), domain));
};
