/** Opening tables: one handle for each name and flags in a process, stand-ins for those that cannot be opened. */
import { parameter } from "../config/configuration.ts";
import { error, fatal, warning } from "../log/log.ts";
import type { Soon } from "../sys/when.ts";
import { surrogatesAllowed } from "./policy.ts";
import { tableType } from "./registry.ts";
import {
  ACCESS_BITS,
  flagNames,
  type LookupResult,
  RETRY,
  type SequenceResult,
  type StoreResult,
  type Table,
  type TableAccess,
  type TableFailure,
  TableFlag,
  TableOpenError,
  type TableOwner,
  TRUSTED,
  unsupported,
} from "./table.ts";
import { Utf8Table } from "./utf8.ts";

export interface OpenOptions {
  /** TableFlag bits. */
  readonly flags: number;
  /** Default: `read`. */
  readonly access?: TableAccess;
}

interface Registration {
  readonly handle: Promise<RegisteredTable>;
}

const registered = new Map<string, Registration>();
const opened = new Set<RegisteredTable>();

/** Opens `type:name`. A table that cannot be opened ends the program, or becomes a stand-in (allowSurrogates). */
export function openTable(spec: string, options: OpenOptions): Promise<Table> {
  const access = options.access ?? "read";
  const key = `${spec}(${ACCESS_BITS[access].toString(8)},${flagNames(options.flags)})`;
  const existing = registered.get(key);
  if (existing !== undefined) return existing.handle.then((table) => table.retain());
  const handle = openAny(spec, access, options.flags).then((table) => {
    const result = new RegisteredTable(table, key, () => openDirect(spec, access, options.flags));
    opened.add(result);
    return result;
  });
  registered.set(key, { handle });
  handle.catch(() => registered.delete(key));
  return handle;
}

/** Types whose tables are on servers, also as parts of other types' names. */
const ON_SERVERS = /(?:^|[^a-z])(?:ldap|memcache|mongodb|mysql|nis|nisplus|pgsql|socketmap|tcp):/;

/** Whether a table of this process is on a server. */
export const usesNetwork = (): boolean => [...registered.keys()].some(isOnServer);

/** A table, or a part of it, is on a server. */
export const isOnServer = (name: string): boolean => ON_SERVERS.test(name);

/** The registered name of a table whose file has changed since it was opened, for `table NAME has changed -- restarting`. */
export function changedTable(): string | undefined {
  for (const table of opened) if (table.changed()) return table.registeredName;
  return undefined;
}

/**
 * Opens the changed tables again, in place of the old ones. Undefined when all of them could be; else the name of one that could not (in a
 * jail, or without the rights that the process began with): a fresh process must take over.
 */
export async function refreshTables(): Promise<string | undefined> {
  for (const table of opened) if (table.changed() && !(await table.refresh())) return table.registeredName;
  return undefined;
}

/** The stand-in for something that is not a table of its own, such as an unreadable file in a list. */
export function unavailable(name: string, reason: string, flags: number): Table {
  if (!surrogatesAllowed()) fatal(reason);
  error(reason);
  return new SurrogateTable(name, reason, flags);
}

async function openAny(spec: string, access: TableAccess, flags: number): Promise<Table> {
  try {
    return await openDirect(spec, access, flags);
  } catch (failure) {
    if (!(failure instanceof TableOpenError)) throw failure;
    const direct = (flags & TableFlag.no_proxy) !== 0 && spec.startsWith("proxy:");
    return unavailable(direct ? spec.slice("proxy:".length) : spec, failure.message, flags);
  }
}

/** Opens without sharing and without stand-ins. Throws TableOpenError. */
export async function openDirect(spec: string, access: TableAccess, flags: number): Promise<Table> {
  const { type, name } = splitSpec(spec);
  const redirected = await redirectLegacy(type, name, access);
  const utf8 = (flags & TableFlag.utf8_request) !== 0 && parameter("smtputf8_enable") === true;
  const opened = await openType(redirected, name, access, flags, utf8);
  const fromSource = (flags & TableFlag.src_rhs_is_file) !== 0 && ONE_LINE_TYPES.has(redirected);
  const table = fromSource ? await (await import("./file_value.ts")).withFileValues(opened) : opened;
  return utf8 && (table.flags & TableFlag.utf8_active) === 0 ? new Utf8Table(table) : table;
}

/** Types whose name holds their values: with src_rhs_is_file these name files (types with source files see to that rule by rule). */
const ONE_LINE_TYPES: ReadonlySet<string> = new Set(["inline", "static"]);

/** The type and the name of `type:name`. Throws TableOpenError. */
export function splitSpec(spec: string): { type: string; name: string } {
  const colon = spec.indexOf(":");
  if (colon <= 0 || colon === spec.length - 1)
    throw new TableOpenError(`open dictionary: expecting "type:name" form instead of "${spec}"`);
  return { type: spec.slice(0, colon), name: spec.slice(colon + 1) };
}

async function openType(
  type: string,
  name: string,
  access: TableAccess,
  flags: number,
  utf8: boolean,
): Promise<Table> {
  const entry = tableType(type);
  if (entry === undefined) throw new TableOpenError(`unsupported dictionary type: ${type}`);
  if (entry.refuseUnauthenticated !== undefined && (flags & TableFlag.no_unauth) !== 0)
    throw new TableOpenError(`${type}:${name} ${entry.refuseUnauthenticated}`);
  if (entry.load === undefined)
    throw new TableOpenError(`unsupported dictionary type: ${type} (not part of this build)`);
  if (entry.readOnly === true && access !== "read")
    throw new TableOpenError(`${type}:${name} map requires O_RDONLY access mode`);
  if (type === "proxy" && (flags & TableFlag.no_proxy) !== 0) return await openDirect(name, access, flags);
  const open = await entry.load();
  return await open(name, { access, flags, utf8 });
}

/** hash and btree become another type under non_bdb_migration_level. */
async function redirectLegacy(type: string, name: string, access: TableAccess): Promise<string> {
  if (type !== "hash" && type !== "btree") return type;
  if (parameter("non_bdb_migration_level") === "disable") return type;
  const { redirect } = await import("./migration.ts");
  return await redirect(type, name, access);
}

/** Libc's text for a file that cannot be opened. */
const OPENING = /^open .*: ([^:]+)$/;

/** Stands in for a table that cannot be opened: each access fails with "try again". */
export class SurrogateTable implements Table {
  readonly fixed = false;
  readonly owner: TableOwner = TRUSTED;
  flags: number;
  readonly name: string;
  constructor(
    spec: string,
    private readonly reason: string,
    flags: number,
  ) {
    this.name = spec;
    this.flags = flags | TableFlag.surrogate | TableFlag.pattern;
  }
  lookup(): LookupResult {
    return this.fail();
  }
  update(): StoreResult {
    return this.fail();
  }
  remove(): StoreResult {
    return this.fail();
  }
  sequence(): SequenceResult {
    return this.fail();
  }
  changed(): boolean {
    return false;
  }
  close(): void {}
  private fail(): TableFailure {
    warning(`${this.name} is unavailable. ${this.reason}`);
    const [, cause] = OPENING.exec(this.reason) ?? [];
    return cause === undefined ? RETRY : { ...RETRY, reason: cause };
  }
}

/** Time for lookups in a table that was opened anew meanwhile. */
const LOOKUP_GRACE_MILLISECONDS = 5000;

/** The shared handle: counts its users, closes with the last one, and ends the program for operations the type does not have. */
class RegisteredTable implements Table {
  readonly name: string;
  private references = 1;

  constructor(
    private table: Table,
    readonly registeredName: string,
    private readonly reopen: () => Promise<Table>,
  ) {
    this.name = table.name;
  }
  get fixed(): boolean {
    return this.table.fixed;
  }
  get owner(): TableOwner {
    return this.table.owner;
  }
  get flags(): number {
    return this.table.flags;
  }
  set flags(flags: number) {
    this.table.flags = flags;
  }
  retain(): this {
    this.references++;
    return this;
  }
  lookup(key: string): Soon<LookupResult> {
    return this.table.lookup(key);
  }
  update(key: string, value: string): Soon<StoreResult> {
    return this.table.update?.(key, value) ?? fatal(unsupported(this.name, "update"));
  }
  remove(key: string): Soon<StoreResult> {
    return this.table.remove?.(key) ?? fatal(unsupported(this.name, "delete"));
  }
  sequence(position: "first" | "next"): Soon<SequenceResult> {
    return this.table.sequence?.(position) ?? fatal(unsupported(this.name, "sequence"));
  }
  changed(): boolean {
    return this.table.changed();
  }
  /** Opens the table anew and lets go of the old one when lookups that are under way are done. False when it cannot be opened now. */
  async refresh(): Promise<boolean> {
    let fresh: Table;
    try {
      fresh = await this.reopen();
    } catch (failure) {
      if (!(failure instanceof TableOpenError)) throw failure;
      return false;
    }
    const old = this.table;
    this.table = fresh;
    setTimeout(() => old.close(), LOOKUP_GRACE_MILLISECONDS).unref();
    return true;
  }
  close(): void {
    if (--this.references > 0) return;
    registered.delete(this.registeredName);
    opened.delete(this);
    this.table.close();
  }
}
