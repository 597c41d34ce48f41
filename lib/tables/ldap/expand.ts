/** What an LDAP answer means: which values of its entries are results, and which lead to more entries (ldap_table(5)). */
import { warning } from "../../log/log.ts";
import { lowerAscii } from "../../sys/bytes.ts";
import type { LdapConnection, LdapEntry } from "./connection.ts";
import { LDAP_CODE, LdapError } from "./errors.ts";
import { isLdapUrl, parseLdapUrl } from "./url.ts";

export interface LdapAttributes {
  readonly result: ReadonlyArray<string>;
  readonly leaf: ReadonlyArray<string>;
  readonly terminal: ReadonlyArray<string>;
  /** Their values are DNs or LDAP URLs to be looked up in turn. */
  readonly special: ReadonlyArray<string>;
}

export interface ExpansionLimits {
  /** How deep special attributes are followed. */
  readonly recursion: number;
  /** More values than this are an error; 0 = no limit. */
  readonly values: number;
}

/** A result that cannot be had; the text was logged. */
export class ExpansionProblem extends Error {}

/** An attribute is wanted under its name or with options behind it (`mail;lang-en`). */
const isNamed = (names: ReadonlyArray<string>, attribute: string): boolean =>
  names.some((name) => {
    const [wanted, given] = [lowerAscii(name), lowerAscii(attribute)];
    return given === wanted || given.startsWith(`${wanted};`);
  });

/** What to ask for when the table wants one and a URL names the other: options that only one of them has count (ldap_table(5)). */
function inBoth(wanted: string, named: string): string | undefined {
  if (lowerAscii(wanted) === lowerAscii(named)) return wanted;
  if (!named.includes(";") && isNamed([named], wanted)) return wanted;
  return !wanted.includes(";") && isNamed([wanted], named) ? named : undefined;
}

export class LdapExpansion {
  readonly values: string[] = [];
  /** A DN that a special attribute names does not exist. */
  missing = false;

  constructor(
    /** Settings file, for messages. */
    private readonly title: string,
    private readonly key: string,
    private readonly connection: LdapConnection,
    private readonly attributes: LdapAttributes,
    private readonly limits: ExpansionLimits,
  ) {}

  /** Names to ask the server for. */
  static wanted({ terminal, leaf, result, special }: LdapAttributes): string[] {
    return [...terminal, ...leaf, ...result, ...special];
  }

  /** Adds the values of these entries, `depth` 1 for those of the lookup itself. Throws LdapError or ExpansionProblem. */
  async add(entries: ReadonlyArray<LdapEntry>, depth: number): Promise<void> {
    for (const entry of entries) await this.addEntry(entry, depth);
  }

  private async addEntry(entry: LdapEntry, depth: number): Promise<void> {
    const { terminal, special, leaf, result } = this.attributes;
    const has = (names: ReadonlyArray<string>): boolean =>
      entry.attributes.some(({ name, values }) => values.length > 0 && isNamed(names, name));
    const isTerminal = has(terminal);
    const isLeaf = !has(special);
    for (const { name, values } of entry.attributes) {
      if (isNamed(terminal, name)) this.addValues(values, depth);
      else if (isTerminal) continue;
      else if (isNamed(leaf, name)) {
        if (isLeaf) this.addValues(values, depth);
      } else if (isNamed(result, name)) this.addValues(values, depth);
      else if (isNamed(special, name)) for (const value of values) await this.follow(name, value, depth);
    }
  }

  private addValues(values: ReadonlyArray<string>, depth: number): void {
    this.values.push(...values);
    if (this.limits.values > 0 && this.values.length > this.limits.values)
      this.fail(depth, `Expansion limit exceeded for key: '${this.key}'`);
  }

  private fail(depth: number, text: string): never {
    warning(`dict_ldap_get_values[${depth}]: ${this.title}: ${text}`);
    throw new ExpansionProblem(text);
  }

  private async follow(attribute: string, value: string, depth: number): Promise<void> {
    if (depth >= this.limits.recursion)
      this.fail(depth, `Recursion limit exceeded for special attribute ${attribute}=${value}`);
    const all = LdapExpansion.wanted(this.attributes);
    if (!isLdapUrl(value)) return await this.followName(value, all, depth);
    const url = parseLdapUrl(value);
    if (url === undefined) {
      warning(`dict_ldap_get_values[${depth}]: malformed URL ${value}`);
      throw new ExpansionProblem("malformed URL");
    }
    const { attributes: offered } = url;
    const wanted =
      offered === undefined
        ? all
        : all.flatMap((name) => offered.flatMap((attribute) => inBoth(name, attribute) ?? []));
    if (wanted.length === 0) return;
    const { base, scope } = url;
    const filter = url.filter ?? "(objectClass=*)";
    await this.add(await this.connection.search({ base, scope, filter, attributes: wanted }), depth + 1);
  }

  private async followName(dn: string, attributes: ReadonlyArray<string>, depth: number): Promise<void> {
    try {
      const entries = await this.connection.search({
        base: dn,
        scope: "base",
        filter: "(objectclass=*)",
        attributes,
      });
      await this.add(entries, depth + 1);
    } catch (failure) {
      if (!(failure instanceof LdapError) || failure.ldapCode !== LDAP_CODE.noSuchObject) throw failure;
      this.missing = true;
      warning(`dict_ldap_get_values[${depth}]: DN ${dn} not found, skipping `);
    }
  }
}
