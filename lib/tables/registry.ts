/** The table types of this build: what each one can do, and its code, loaded when a table of the type is opened. */
import type { OpenType } from "./table.ts";

export interface TableType {
  /** Loads the code; undefined: known to Postfix but not part of this build. */
  readonly load?: () => Promise<OpenType>;
  /** Has an index that postmap and postalias build; the suffix of its file. */
  readonly indexSuffix?: string;
  /** Only reads: opening for changes is refused. */
  readonly readOnly?: boolean;
  /** Refused for security-sensitive data (flag no_unauth). */
  readonly refuseUnauthenticated?: string;
}

const SENSITIVE = "map is not allowed for security-sensitive data";

const TYPES: ReadonlyMap<string, TableType> = new Map<string, TableType>([
  ["btree", { load: async () => (await import("./types/btree.ts")).openBtree, indexSuffix: ".db" }],
  ["cdb", { load: async () => (await import("./types/cdb.ts")).openCdb, indexSuffix: ".cdb" }],
  ["cidr", { load: async () => (await import("./types/cidr.ts")).openCidr, readOnly: true }],
  ["dbm", { load: async () => (await import("./types/two_files.ts")).openDbm, indexSuffix: ".dir" }],
  ["debug", { load: async () => (await import("./types/debug.ts")).openDebug }],
  ["environ", { load: async () => (await import("./types/environ.ts")).openEnviron }],
  ["fail", { load: async () => (await import("./types/static.ts")).openFail, readOnly: true }],
  ["hash", { load: async () => (await import("./types/hash.ts")).openHash, indexSuffix: ".db" }],
  ["inline", { load: async () => (await import("./types/inline.ts")).openInline, readOnly: true }],
  ["internal", { load: async () => (await import("./types/internal.ts")).openInternal }],
  ["ldap", { load: async () => (await import("./types/ldap.ts")).openLdap, readOnly: true }],
  ["lmdb", { load: async () => (await import("./types/lmdb.ts")).openLmdb, indexSuffix: ".lmdb" }],
  [
    "memcache",
    {
      load: async () => (await import("./types/memcache.ts")).openMemcache,
      refuseUnauthenticated: SENSITIVE,
    },
  ],
  ["mongodb", { load: async () => (await import("./types/mongodb.ts")).openMongodb, readOnly: true }],
  ["mysql", { load: async () => (await import("./types/mysql.ts")).openMysql, readOnly: true }],
  ["netinfo", {}],
  ["nis", { load: async () => (await import("./types/nis.ts")).openNis, readOnly: true }],
  ["nisplus", {}],
  ["pcre", { load: async () => (await import("./types/pcre.ts")).openPcre, readOnly: true }],
  ["pgsql", { load: async () => (await import("./types/pgsql.ts")).openPgsql, readOnly: true }],
  ["pipemap", { load: async () => (await import("./types/combined.ts")).openPipemap, readOnly: true }],
  ["proxy", { load: async () => (await import("./types/proxy.ts")).openProxy }],
  ["randmap", { load: async () => (await import("./types/randmap.ts")).openRandmap, readOnly: true }],
  ["regexp", { load: async () => (await import("./types/regexp.ts")).openRegexp, readOnly: true }],
  ["sdbm", { load: async () => (await import("./types/two_files.ts")).openSdbm, indexSuffix: ".dir" }],
  [
    "socketmap",
    {
      load: async () => (await import("./types/socketmap.ts")).openSocketmap,
      refuseUnauthenticated: SENSITIVE,
      readOnly: true,
    },
  ],
  ["sqlite", { load: async () => (await import("./types/sqlite.ts")).openSqlite, readOnly: true }],
  ["static", { load: async () => (await import("./types/static.ts")).openStatic }],
  [
    "tcp",
    {
      load: async () => (await import("./types/tcp.ts")).openTcp,
      refuseUnauthenticated: "map is not allowed for security sensitive data",
      readOnly: true,
    },
  ],
  ["texthash", { load: async () => (await import("./types/texthash.ts")).openTexthash, readOnly: true }],
  ["unionmap", { load: async () => (await import("./types/combined.ts")).openUnionmap, readOnly: true }],
  ["unix", { load: async () => (await import("./types/unix.ts")).openUnix, readOnly: true }],
]);

export const tableType = (type: string): TableType | undefined => TYPES.get(type);

/** The types of this build, sorted, as `postconf -m` prints them. */
export const tableTypes = (): string[] =>
  [...TYPES].filter(([, entry]) => entry.load !== undefined).map(([name]) => name);
