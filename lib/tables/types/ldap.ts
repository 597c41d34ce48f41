/** `ldap:/path/file.cf` (ldap_table(5)). */
import { warning } from "../../log/log.ts";
import { TableSettings } from "../cf.ts";
import { type LdapConnection, type LdapEntry, ldapPool, Unbound } from "../ldap/connection.ts";
import { LDAP_CODE, LdapError } from "../ldap/errors.ts";
import { ExpansionProblem, LdapExpansion } from "../ldap/expand.ts";
import { type LdapSettings, readLdapSettings } from "../ldap/settings.ts";
import { QueryGuard } from "../query_guard.ts";
import type { ConnectionPool } from "../servers/pool.ts";
import {
  ABSENT,
  found,
  type LookupResult,
  type OpenType,
  RETRY,
  type Table,
  TableFlag,
  type TableOwner,
} from "../table.ts";
import { joinResults, Template } from "../template.ts";

const hex = (char: string): string => `\\${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
/** RFC 4515 section 3. */
const quoteFilter = (text: string): string => text.replace(/[*()\\\0]/g, hex);
/** RFC 4514 section 2.4, blanks included. */
const quoteName = (text: string): string => text.replace(/[ \t"#+,;<>\\]/g, hex);

interface LdapParts {
  readonly settings: LdapSettings;
  readonly guard: QueryGuard;
  readonly pool: ConnectionPool<LdapConnection>;
  readonly filter: Template;
  readonly base: Template;
  readonly result: Template;
  /** Settings file, for messages. */
  readonly title: string;
}

/** A connection that failed is tried once more. */
const ATTEMPTS = 2;

class LdapTable implements Table {
  readonly fixed = true;
  constructor(
    readonly name: string,
    public flags: number,
    readonly owner: TableOwner,
    private readonly parts: LdapParts,
  ) {}

  async lookup(name: string): Promise<LookupResult> {
    const { guard, filter, base } = this.parts;
    const guarded = await guard.check(name, this.flags);
    if (guarded.kind === "error") return guarded;
    if (guarded.kind === "skip") return ABSENT;
    const { key } = guarded;
    const place = { base: base.expand(key, key, quoteName), filter: filter.expand(key, key, quoteFilter) };
    if (place.base === undefined || place.filter === undefined) return ABSENT;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.ask(key, place.base, place.filter, attempt > 1);
      } catch (failure) {
        if (failure instanceof ExpansionProblem) return RETRY;
        if (!(failure instanceof LdapError)) throw failure;
        if (failure instanceof Unbound) return RETRY;
        if (failure.ldapCode === LDAP_CODE.serverDown && attempt < ATTEMPTS) continue;
        warning(`dict_ldap_lookup: Search error ${failure.ldapCode}: ${failure.message} `);
        return RETRY;
      }
    }
  }

  private async ask(key: string, base: string, filter: string, fresh: boolean): Promise<LookupResult> {
    const { pool, settings, title, result } = this.parts;
    const { attributes, scope, limits } = settings;
    return await pool.run(async (connection) => {
      const wanted = LdapExpansion.wanted(attributes);
      let entries: LdapEntry[];
      try {
        entries = await connection.search({ base, scope, filter, attributes: wanted });
      } catch (failure) {
        if (!(failure instanceof LdapError) || failure.ldapCode !== LDAP_CODE.noSuchObject) throw failure;
        return this.noBase(base, failure);
      }
      const expansion = new LdapExpansion(title, key, connection, attributes, limits);
      await expansion.add(entries, 1);
      if (expansion.missing)
        warning("dict_ldap_lookup: Had some trouble with entries returned by search: No such object");
      const joined = joinResults(this.name, result, key, expansion.values, 0);
      return joined.kind === "limit" || joined.value === undefined ? ABSENT : found(joined.value);
    }, fresh);
  }

  /** A base that depends on the key need not exist. */
  private noBase(base: string, failure: LdapError): LookupResult {
    if (this.parts.base.has("sudSUD123456789")) return ABSENT;
    const { title } = this.parts;
    warning(
      `dict_ldap_lookup: ${title}: Search base '${base}' not found: ${failure.ldapCode}: ${failure.message}`,
    );
    return RETRY;
  }
  changed(): boolean {
    return false;
  }
  close(): void {
    this.parts.guard.close();
    this.parts.pool.closeIdle();
  }
}

export const openLdap: OpenType = async (name, options) => {
  const source = TableSettings.open(name);
  const { title } = source;
  const settings = readLdapSettings(source);
  const filter = Template.parse(title, settings.queryFilter, "query");
  const base = Template.parse(title, settings.searchBase, "query");
  const result = Template.parse(title, settings.resultFormat, "result");
  const guard = await QueryGuard.open(`ldap:${name}`, source, result);
  const pool = ldapPool(JSON.stringify(settings.server), settings.server);
  const parts = { settings, guard, pool, filter, base, result, title };
  return new LdapTable(`ldap:${name}`, options.flags | TableFlag.fixed, source.owner, parts);
};
