/** Connections to directory servers with ldapts, shared by the tables of one server with the same bind settings. */
import type { Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
import { error as logError, warning } from "../../log/log.ts";
import { decodeUtf8, fromBytes } from "../../sys/bytes.ts";
import { errorCode } from "../../sys/errno.ts";
import { addressesOf } from "../servers/endpoint.ts";
import { ConnectionPool, POOL_LIMIT } from "../servers/pool.ts";
import { LDAP_CODE, LdapError, ldapError } from "./errors.ts";
import type { LdapScope, LdapUrl } from "./url.ts";

type Client = import("ldapts").Client;

export interface LdapEntry {
  readonly dn: string;
  /** In the order of the server's answer. */
  readonly attributes: ReadonlyArray<{ readonly name: string; readonly values: ReadonlyArray<string> }>;
}

export interface LdapSearch {
  readonly base: string;
  readonly scope: LdapScope;
  readonly filter: string;
  readonly attributes: ReadonlyArray<string>;
}

export type LdapBind =
  | { readonly kind: "none" }
  | { readonly kind: "simple"; readonly dn: string; readonly password: string }
  | { readonly kind: "sasl"; readonly mechanism: "EXTERNAL" }
  | {
      readonly kind: "sasl";
      readonly mechanism: "PLAIN";
      readonly user: string;
      readonly password: string;
      readonly authorizationId: string;
    };

export interface LdapServer {
  readonly urls: ReadonlyArray<LdapUrl>;
  /** All of them, for messages and as the key under which connections are shared. */
  readonly title: string;
  readonly bind: LdapBind;
  readonly startTls: boolean;
  readonly tls: ConnectionOptions;
  /** Seconds for connecting and for each answer. */
  readonly timeout: number;
  readonly sizeLimit: number;
  readonly dereference: "never" | "search" | "find" | "always";
  readonly chaseReferrals: boolean;
}

const DEFAULT_PORT = { ldap: 389, ldaps: 636, ldapi: 0 } as const;
const DEFAULT_SOCKET = "/run/slapd/ldapi";
/** Referrals may lead to referrals; further than this it is a loop. */
const REFERRAL_HOPS = 5;

const unicode = (text: string): string => decodeUtf8(text) ?? text;

/** Values are wanted as bytes, whatever the attribute is called: ldapts asks this list for each name. */
class EveryAttribute extends Array<string> {
  override includes(): boolean {
    return true;
  }
}

export class LdapConnection {
  private constructor(
    private readonly client: Client,
    private readonly server: LdapServer,
  ) {}

  /** Connects to the first server that can be reached, and binds. What fails is logged. Throws LdapError. */
  static async open(server: LdapServer): Promise<LdapConnection> {
    let failure = new LdapError(LDAP_CODE.serverDown);
    for (const url of server.urls)
      for (const address of await targets(url)) {
        const client = await newClient(server, url, address);
        try {
          await prepare(client, server, url);
          return new LdapConnection(client, server);
        } catch (problem) {
          failure = ldapError(problem);
          client.unbind().catch(() => undefined);
          // another server is no help against a wrong password
          if (failure.ldapCode > 0) throw complain(server, failure);
        }
      }
    throw complain(server, failure);
  }

  /** Throws LdapError. */
  async search(search: LdapSearch, hops = 0): Promise<LdapEntry[]> {
    const { FilterParser } = await import("ldapts");
    let filter: ReturnType<typeof FilterParser.parseString>;
    try {
      filter = FilterParser.parseString(unicode(search.filter));
    } catch {
      throw new LdapError(LDAP_CODE.badFilter);
    }
    const { sizeLimit, timeout, dereference } = this.server;
    let result: Awaited<ReturnType<Client["search"]>>;
    try {
      result = await this.client.search(unicode(search.base), {
        scope: search.scope,
        filter,
        attributes: search.attributes.map(unicode),
        // ldapts takes "size limit exceeded" for success: one more than allowed shows it
        sizeLimit: sizeLimit === 0 ? 0 : sizeLimit + 1,
        timeLimit: timeout,
        derefAliases: dereference,
        explicitBufferAttributes: new EveryAttribute(),
      });
    } catch (failure) {
      throw ldapError(failure);
    }
    if (sizeLimit > 0 && result.searchEntries.length > sizeLimit)
      throw new LdapError(LDAP_CODE.sizeLimitExceeded);
    const entries = result.searchEntries.map(entryOf);
    if (this.server.chaseReferrals && hops < REFERRAL_HOPS)
      for (const reference of result.searchReferences)
        entries.push(...(await this.follow(reference, search, hops + 1)));
    return entries;
  }

  /** Searches where a referral points, without a name: a password is for its own server only. */
  private async follow(reference: string, search: LdapSearch, hops: number): Promise<LdapEntry[]> {
    const { parseLdapUrl } = await import("./url.ts");
    const url = parseLdapUrl(reference);
    if (url === undefined) throw new LdapError(LDAP_CODE.unwilling);
    const other = await LdapConnection.open({
      ...this.server,
      urls: [url],
      title: reference,
      bind: { kind: "none" },
    });
    try {
      const base = url.base === "" ? search.base : url.base;
      return await other.search({ ...search, base, filter: url.filter ?? search.filter }, hops);
    } finally {
      other.close();
    }
  }

  get connected(): boolean {
    return this.client.isConnected;
  }
  close(): void {
    // nothing waits for the server's part of the farewell
    this.client.unbind().catch(() => undefined);
  }
}

/** There is no connection; why was logged. */
export class Unbound extends LdapError {}

function complain(server: LdapServer, failure: LdapError): Unbound {
  if (failure.ldapCode === LDAP_CODE.connectError) {
    logError(`dict_ldap_connect: Unable to set STARTTLS: ${failure.ldapCode}: ${failure.message}`);
    return new Unbound(failure.ldapCode);
  }
  const dn = server.bind.kind === "simple" && server.bind.dn !== "" ? server.bind.dn : "empty or implicit";
  warning(
    `dict_ldap_connect: Unable to bind to server ${server.title} with dn ${dn}: ${failure.ldapCode} (${failure.message})`,
  );
  return new Unbound(failure.ldapCode);
}

/** The addresses of a server; a socket's path for ldapi. */
async function targets(url: LdapUrl): Promise<ReadonlyArray<string>> {
  if (url.scheme === "ldapi") return [url.host || DEFAULT_SOCKET];
  const found = await addressesOf(url.host || "localhost");
  if ("addresses" in found) return found.addresses;
  warning(`host ${url.host} not found: ${found.problem}`);
  return [];
}

async function newClient(server: LdapServer, url: LdapUrl, address: string): Promise<Client> {
  const [{ Client }, net, tls] = await Promise.all([
    import("ldapts"),
    import("node:net"),
    import("node:tls"),
  ]);
  const port = url.port ?? DEFAULT_PORT[url.scheme];
  const milliseconds = server.timeout * 1000;
  return new Client({
    // the real address is in the functions below: this one only tells ldap from ldaps
    url: url.scheme === "ldaps" ? "ldaps://server" : "ldap://server",
    timeout: milliseconds,
    connectTimeout: milliseconds,
    strictDN: false,
    createConnection: ((): Socket =>
      url.scheme === "ldapi"
        ? net.connect({ path: address })
        : net.connect({ host: address, port })) as typeof net.connect,
    createSecureConnection: ((options: ConnectionOptions): Socket =>
      tls.connect(
        url.scheme === "ldaps"
          ? { ...tlsOf(server, url), host: address, port }
          : { ...options, ...tlsOf(server, url) },
      )) as typeof tls.connect,
  });
}

const tlsOf = (server: LdapServer, url: LdapUrl): ConnectionOptions =>
  /^[0-9.]+$|:/.test(url.host) ? server.tls : { ...server.tls, servername: unicode(url.host) };

async function prepare(client: Client, server: LdapServer, url: LdapUrl): Promise<void> {
  if (server.startTls && url.scheme === "ldap") {
    try {
      await client.startTLS({});
    } catch (failure) {
      // trouble with certificates has names of its own, not those of system calls
      const named = failure instanceof Error && "code" in failure && typeof failure.code === "string";
      if (named && errorCode(failure) === undefined) throw new LdapError(LDAP_CODE.connectError);
      throw failure;
    }
  }
  const { bind } = server;
  if (bind.kind === "simple") await client.bind(unicode(bind.dn), unicode(bind.password));
  else if (bind.kind === "sasl")
    await client.bindSASL(
      bind.mechanism,
      bind.mechanism === "PLAIN"
        ? `${unicode(bind.authorizationId)}\0${unicode(bind.user)}\0${unicode(bind.password)}`
        : undefined,
    );
}

function entryOf(entry: Readonly<Record<string, unknown>>): LdapEntry {
  const attributes: Array<{ name: string; values: string[] }> = [];
  for (const [name, value] of Object.entries(entry)) {
    if (name === "dn") continue;
    const values = (Array.isArray(value) ? value : [value]).flatMap((one: unknown) =>
      one instanceof Uint8Array ? [fromBytes(one)] : [],
    );
    attributes.push({ name, values });
  }
  return { dn: Buffer.from(String(entry.dn)).toString("latin1"), attributes };
}

/** The connections of this process, by server and bind settings. */
const pools = new Map<string, ConnectionPool<LdapConnection>>();

export function ldapPool(key: string, server: LdapServer): ConnectionPool<LdapConnection> {
  let pool = pools.get(key);
  if (pool === undefined) {
    pool = new ConnectionPool({
      open: () => LdapConnection.open(server),
      close: (connection) => connection.close(),
      broken: (connection) => !connection.connected,
      limit: POOL_LIMIT,
      idleSeconds: 0,
      ageSeconds: 0,
    });
    pools.set(key, pool);
  }
  return pool;
}
