/** Match lists: domains, host names and addresses, with negation, files and tables (mydestination, mynetworks, relay_domains, ...). */
import { parameter } from "../config/configuration.ts";
import { fatal, warning } from "../log/log.ts";
import { type Soon, when } from "../sys/when.ts";
import { foldCase } from "./casefold.ts";
import { matchAddressPattern } from "./match_address.ts";
import { type MatchPattern, parsePatterns } from "./match_patterns.ts";
import type { LookupResult } from "./table.ts";

/** string: exact; domain: host name and its parents; address: IP address; namadr: host name, then address, for each pattern. */
export type MatchKind = "string" | "domain" | "address" | "namadr";

export interface MatchOptions {
  /** The list as a whole is a parent_domain_matches_subdomains feature of this name; absent: `.example.com` matches subdomains. */
  readonly parentFeature?: string;
  /** Overrides the above. */
  readonly parentMode?: boolean;
}

export type MatchResult =
  | { readonly kind: "match" }
  | { readonly kind: "none" }
  | { readonly kind: "error"; readonly error: "retry" };

const MATCH: MatchResult = { kind: "match" };
const NONE: MatchResult = { kind: "none" };
const FAILED: MatchResult = { kind: "error", error: "retry" };

const isMatch = (result: MatchResult): boolean => result.kind === "match";

type Outcome = boolean | "error";
type TablePattern = MatchPattern & { readonly kind: "table" };

/** Clients whose results are remembered: under load most are the same few. */
const RECENT_LIMIT = 1000;

export class MatchList {
  /** Without tables, what a host name and address gave stays true. By address. */
  private readonly recent: Map<string, { readonly name: string; readonly result: MatchResult }> | undefined;

  private constructor(
    readonly title: string,
    readonly kind: MatchKind,
    private readonly patterns: ReadonlyArray<MatchPattern>,
    private readonly parentMode: boolean,
    private readonly utf8: boolean,
  ) {
    if (patterns.every(({ kind: source }) => source === "text")) this.recent = new Map();
  }

  get empty(): boolean {
    return this.patterns.length === 0;
  }

  /** Parses a list and opens its tables and files. */
  static async open(
    title: string,
    value: string,
    kind: MatchKind,
    options: MatchOptions = {},
  ): Promise<MatchList> {
    const utf8 = parameter("smtputf8_enable") === true;
    const patterns = await parsePatterns(title, value, utf8);
    return new MatchList(
      title,
      kind,
      patterns,
      options.parentMode ?? parentMode(options.parentFeature),
      utf8,
    );
  }

  /**
   * `subject` is the string, host name or address; for a namadr list the host name, with its address as second argument. Tables' trouble is an error.
   * The answer is there at once where no table has to be waited for.
   */
  matches(subject: string, address?: string): Soon<MatchResult> {
    if (this.patterns.length === 0) return NONE;
    if (address === undefined) return this.matchFrom(0, foldCase(subject, this.utf8), undefined);
    const known = this.recent?.get(address);
    if (known !== undefined && known.name === subject) return known.result;
    const result = this.matchFrom(0, foldCase(subject, this.utf8), foldCase(address, this.utf8));
    if (this.recent !== undefined && !(result instanceof Promise) && result.kind !== "error") {
      if (this.recent.size >= RECENT_LIMIT) this.recent.clear();
      this.recent.set(address, { name: subject, result });
    }
    return result;
  }

  private matchFrom(
    first: number,
    subject: string,
    address: string | undefined,
  ): MatchResult | Promise<MatchResult> {
    for (let index = first; index < this.patterns.length; index++) {
      const pattern = this.patterns[index] as MatchPattern;
      const outcome = this.matchOne(pattern, subject, address);
      if (outcome instanceof Promise)
        return outcome.then(
          (settled) => verdict(settled, pattern) ?? this.matchFrom(index + 1, subject, address),
        );
      const result = verdict(outcome, pattern);
      if (result !== undefined) return result;
    }
    return NONE;
  }

  /** For lists that cannot report an error: trouble ends the program. */
  matchesOrFatal(subject: string, address?: string): Soon<boolean> {
    return when(this.matches(subject, address), (result) => {
      if (result.kind === "error") fatal(`${this.title}: table lookup problem`);
      return isMatch(result);
    });
  }

  /** For lists of exceptions and permissions: trouble (logged) is no match. */
  matchesSurely(subject: string, address?: string): Soon<boolean> {
    return when(this.matches(subject, address), isMatch);
  }

  close(): void {
    for (const pattern of this.patterns) if (pattern.kind === "table") pattern.table.close();
  }

  private matchOne(
    pattern: MatchPattern,
    subject: string,
    address: string | undefined,
  ): Outcome | Promise<Outcome> {
    switch (this.kind) {
      case "string":
        return pattern.kind === "table" ? this.inTable(pattern, subject) : pattern.text === subject;
      case "domain":
        return this.matchHostname(pattern, subject);
      case "address":
        return this.matchAddress(pattern, subject);
      case "namadr": {
        const byName = this.matchHostname(pattern, subject);
        if (address === undefined) return byName;
        const otherwise = (outcome: Outcome): Outcome | Promise<Outcome> =>
          outcome === false ? this.matchAddress(pattern, address) : outcome;
        return byName instanceof Promise ? byName.then(otherwise) : otherwise(byName);
      }
    }
  }

  private matchHostname(pattern: MatchPattern, name: string): Outcome | Promise<Outcome> {
    if (pattern.kind === "table")
      return this.anyInTable(pattern, hostnameKeys(name, pattern.table.fixed, this.parentMode));
    const { text } = pattern;
    if (text === name) return true;
    if (this.parentMode)
      return (
        text.charAt(0) !== "." && name.endsWith(text) && name.charAt(name.length - text.length - 1) === "."
      );
    return text.charAt(0) === "." && name.length > text.length && name.endsWith(text);
  }

  private anyInTable(
    pattern: TablePattern,
    keys: ReadonlyArray<string>,
    first = 0,
  ): Outcome | Promise<Outcome> {
    for (let index = first; index < keys.length; index++) {
      const outcome = this.inTable(pattern, keys[index] as string);
      if (outcome instanceof Promise)
        return outcome.then((settled) =>
          settled === false ? this.anyInTable(pattern, keys, index + 1) : settled,
        );
      if (outcome !== false) return outcome;
    }
    return false;
  }

  private matchAddress(pattern: MatchPattern, address: string): Outcome | Promise<Outcome> {
    if (!ADDRESS_CHARACTERS.test(address)) return false;
    if (pattern.kind === "table") return this.inTable(pattern, address);
    const outcome = matchAddressPattern(pattern, address);
    if (typeof outcome === "boolean") return outcome;
    warning(`${this.title}: ${outcome.problem}`);
    return "error";
  }

  private inTable(pattern: TablePattern, key: string): Outcome | Promise<Outcome> {
    const answer = pattern.table.lookup(key);
    return answer instanceof Promise
      ? answer.then((result) => this.outcomeOf(pattern, result))
      : this.outcomeOf(pattern, answer);
  }

  private outcomeOf(pattern: TablePattern, result: LookupResult): Outcome {
    if (result.kind !== "error") return result.kind === "found";
    warning(`${this.title}: ${pattern.table.name}: table lookup problem`);
    return "error";
  }
}

/** What a pattern decides; undefined: ask the next one. */
function verdict(outcome: Outcome, pattern: MatchPattern): MatchResult | undefined {
  if (outcome === "error") return FAILED;
  if (!outcome) return undefined;
  return pattern.negated ? NONE : MATCH;
}

const ADDRESS_CHARACTERS = /^[0-9a-fA-F.:]+$/;

/** The full name, and for tables with fixed keys its parents. */
function hostnameKeys(name: string, fixed: boolean, parentMode: boolean): string[] {
  const keys = [name];
  if (!fixed) return keys;
  for (let dot = name.indexOf(".", 1); dot >= 0 && dot < name.length - 1; dot = name.indexOf(".", dot + 1))
    keys.push(name.slice(parentMode ? dot + 1 : dot));
  return keys;
}

/** Whether `feature` is named in parent_domain_matches_subdomains. */
export function parentMode(feature: string | undefined): boolean {
  if (feature === undefined) return false;
  const words = String(parameter("parent_domain_matches_subdomains")).split(/[, \t\r\n]/);
  return words.includes(feature);
}
