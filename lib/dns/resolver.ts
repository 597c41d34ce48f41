/** Lookups by name and type: search rules, CNAME chains, bounds, reply filters (postconf(5): smtp_dns_resolver_options, smtp_dns_reply_filter). */
import { isAddress, isValidHostname } from "../address/hostname.ts";
import { warning } from "../log/log.ts";
import { printable } from "../sys/bytes.ts";
import { noteValidation } from "./dnssec_probe.ts";
import { type Exchange, exchange, isNameError } from "./exchange.ts";
import { type DnsMessage, sameName, stripDot } from "./message.ts";
import { parseResolvConf, type ResolverConfiguration, WatchedFile } from "./resolv_conf.ts";
import { type DnsFailure, type DnsRecord, type DnsResult, dnsFailure, type QueryType } from "./types.ts";

/** Records of one answer that are used (dns_rr_list_limit). */
export const RECORD_LIMIT = 100;
const CNAME_LIMIT = 10;

/** Decides about each record of a reply; `drop` removes it, `error` fails the lookup. */
export type ReplyFilter = (record: DnsRecord) => Promise<"keep" | "drop" | "error">;

export interface LookupOptions {
  /** Append the local domain to a name without dots (res_defnames), with searchList any of the list. */
  readonly defaultNames?: boolean;
  /** Append the domains of the search list to names with dots too (res_dnsrch). */
  readonly searchList?: boolean;
  readonly dnssec?: boolean;
  /** For getaddrinfo() and its like, which say nothing of what is wrong with an answer. */
  readonly quiet?: boolean;
  readonly replyFilter?: ReplyFilter | undefined;
}

export interface ResolverSettings {
  readonly resolvConf?: string;
  /** Replaces what resolv.conf says (tests). */
  readonly configuration?: Partial<ResolverConfiguration>;
}

interface Chain {
  readonly records: ReadonlyArray<DnsRecord>;
  readonly final: string;
  /** The aliases on the way. */
  readonly aliases: ReadonlyArray<DnsRecord>;
  readonly loop: boolean;
}

/** Follows the CNAMEs of one answer; records of other names are not used (RFC 2181 5.4.1). */
function followChain(message: DnsMessage, name: string, type: QueryType): Chain {
  let final = name;
  const aliases: DnsRecord[] = [];
  for (let step = 0; ; step++) {
    const records = message.answers.filter((record) => record.type === type && sameName(record.name, final));
    if (records.length > 0) return { records, final, aliases, loop: false };
    const next = message.answers.find((record) => record.type === "CNAME" && sameName(record.name, final));
    if (next?.type !== "CNAME" || type === "CNAME") return { records: [], final, aliases, loop: false };
    // a chain longer than the answer has come back to one of its names
    if (step > message.answers.length) return { records: [], final, aliases, loop: true };
    aliases.push(next);
    final = next.host;
  }
}

/** Host names in the data of a record that mail software acts upon; what a PTR record says is judged by who asked. */
function hostOfRecord(record: DnsRecord): string | undefined {
  switch (record.type) {
    case "MX":
    case "SRV":
      return record.host === "" ? undefined : record.host;
    case "NS":
    case "CNAME":
      return record.host;
    default:
      return undefined;
  }
}

/** Judges the host name in a record; a bad one is logged. Mail exchangers that are addresses are common enough to be let through. */
function isUsable(record: DnsRecord, asked: string, { quiet }: LookupOptions): boolean {
  const host = hostOfRecord(record);
  if (host === undefined || isValidHostname(host.startsWith("*.") ? host.slice(2) : host)) return true;
  const where = `domain name in resource data of ${record.type} record for ${asked}: ${printable(host.slice(0, 100))}`;
  const warn = (text: string): void => {
    if (quiet !== true) warning(text);
  };
  if (isAddress(host)) {
    warn(`numeric ${where}`);
    return record.type === "MX";
  }
  warn(`valid_hostname: ${hostProblem(host)}: ${printable(host.slice(0, 100))}`);
  warn(`malformed ${where}`);
  return false;
}

export class Resolver {
  private readonly file: WatchedFile<ResolverConfiguration>;
  constructor(private readonly settings: ResolverSettings = {}) {
    this.file = new WatchedFile(settings.resolvConf ?? "/etc/resolv.conf", parseResolvConf);
  }

  private configuration(): ResolverConfiguration {
    return { ...this.file.get(), ...this.settings.configuration };
  }

  /** Looks up records of one type. */
  async lookup(name: string, type: QueryType, options: LookupOptions = {}): Promise<DnsResult> {
    const bare = stripDot(name);
    if (!isQueryName(bare, type)) return dnsFailure("invalid-name", name, type);
    const configuration = this.configuration();
    const ask = (candidate: string): Promise<DnsResult> =>
      this.lookupExact(candidate, name, type, options, configuration);
    const dots = bare.split(".").length - 1;
    const domains = name.endsWith(".") ? [] : searchDomains(dots, configuration, options);
    if (domains.length === 0) return ask(bare);
    const first = dots >= configuration.ndots ? await ask(bare) : undefined;
    if (first?.status === "found") return first;
    const failures: DnsFailure[] = [];
    for (const candidate of domains.map((domain) => `${bare}.${domain}`)) {
      if (!isQueryName(candidate, type)) continue;
      const result = await ask(candidate);
      if (result.status === "found") return result;
      failures.push(result);
      if (result.status !== "not-found" && result.status !== "no-data") break;
    }
    if (first !== undefined) return first;
    const last = await ask(bare);
    if (last.status === "found") return last;
    // a name that exists says more than one that does not
    for (const status of ["no-data", "retry"] as const) {
      const failure = failures.find((each) => each.status === status);
      if (failure !== undefined) return failure;
    }
    return last;
  }

  private async lookupExact(
    candidate: string,
    asked: string,
    type: QueryType,
    options: LookupOptions,
    configuration: ResolverConfiguration,
  ): Promise<DnsResult> {
    let current = candidate;
    let secure = options.dnssec === true;
    for (let hop = 0; hop <= CNAME_LIMIT; hop++) {
      const reply: Exchange = await exchange(current, type, options.dnssec === true, configuration);
      // a question of its own about the target of an alias fails in the target's name
      const name = hop === 0 ? asked : current;
      if (reply.kind !== "answer") return dnsFailure(reply.kind, name, type);
      const { message } = reply;
      if (options.dnssec === true) await noteValidation(message.authentic, configuration);
      secure &&= message.authentic;
      const chain = followChain(message, current, type);
      if (chain.loop) return nameLoop(asked, type, options);
      // the names of classless reverse zones have slashes (RFC 2317)
      if (type !== "PTR" && !chain.aliases.every((alias) => isUsable(alias, name, options)))
        return dnsFailure("malformed", name, type);
      if (chain.records.length > 0)
        return this.select(chain.records, chain.final, name, type, secure, options);
      if (!message.wellFormed) return dnsFailure("malformed", name, type);
      if (isNameError(message)) return dnsFailure("not-found", name, type, message.negativeTtl);
      if (chain.aliases.length === 0) return dnsFailure("no-data", name, type, message.negativeTtl);
      current = chain.final;
    }
    return nameLoop(asked, type, options);
  }

  /** Bounds, checks and filters the records of a good answer. */
  private async select(
    all: ReadonlyArray<DnsRecord>,
    canonicalName: string,
    asked: string,
    type: QueryType,
    secure: boolean,
    options: LookupOptions,
  ): Promise<DnsResult> {
    if (all.length > RECORD_LIMIT) tooManyRecords(asked, type);
    const records: DnsRecord[] = [];
    for (const record of all.slice(0, RECORD_LIMIT))
      if (isUsable(record, asked, options)) records.push(record);
    if (records.length === 0) return dnsFailure("malformed", asked, type);
    // RFC 7505 3 wants a null MX to stand alone with preference 0: one that does not counts as well.
    for (const record of records) {
      if (record.type === "MX" && record.host === "") return dnsFailure("null-mx", asked, type);
      if (record.type === "SRV" && record.host === "") return dnsFailure("null-srv", asked, type);
    }
    if (options.replyFilter === undefined) return { status: "found", records, canonicalName, secure };
    const kept: DnsRecord[] = [];
    for (const record of records) {
      const decision = await options.replyFilter(record);
      if (decision === "error") return dnsFailure("filter-error", asked, type);
      if (decision === "keep") kept.push(record);
    }
    if (kept.length === 0) return dnsFailure("filtered", asked, type);
    return { status: "found", records: kept, canonicalName, secure };
  }
}

/** Records of an answer, or addresses of a destination, are left out. */
export function tooManyRecords(name: string, type: QueryType): void {
  warning(
    `DNS record count limit (${RECORD_LIMIT}) exceeded -- dropping excess record(s) after qname=${name} qtype=${type}`,
  );
}

function nameLoop(name: string, type: QueryType, { quiet }: LookupOptions): DnsFailure {
  if (quiet !== true) warning(`dns_lookup: Name server loop for ${name}`);
  return dnsFailure("cname-loop", name, type);
}

const LABEL = /^[!-~]{1,63}$/;
/** Names that fit into a query; SRV and TLSA names have labels that no host name has. */
function isQueryName(name: string, type: QueryType): boolean {
  if (type === "A" || type === "AAAA" || type === "MX") return isValidHostname(name);
  return (
    name.length > 0 &&
    name.length <= 253 &&
    !name.includes("\\") &&
    name.split(".").every((label) => LABEL.test(label))
  );
}

/** What isValidHostname() has against a name, in Postfix's words. */
export function hostProblem(host: string): string {
  if (host === "") return "empty hostname";
  if (host === ".") return "misplaced delimiter";
  if (/^[0-9.]+$/.test(host)) return "numeric hostname";
  const bad = /[^A-Za-z0-9_.-]/.exec(host);
  if (bad !== null) return `invalid character ${bad[0].charCodeAt(0)}(decimal)`;
  if (host.startsWith(".") || host.endsWith(".") || host.includes("..")) return "misplaced delimiter";
  if (host.length > 255) return `bad length ${host.length}`;
  return "misplaced hyphen";
}

/** The domains that are tried behind a name, in order (resolver(3): RES_DEFNAMES, RES_DNSRCH). */
function searchDomains(
  dots: number,
  { search }: ResolverConfiguration,
  { defaultNames, searchList }: LookupOptions,
): ReadonlyArray<string> {
  if (dots > 0) return searchList === true ? search : [];
  if (defaultNames !== true) return [];
  return searchList === true ? search : search.slice(0, 1);
}

let shared: Resolver | undefined;
/** The resolver of this process. */
export function resolver(): Resolver {
  shared ??= new Resolver();
  return shared;
}
/** Replaces the resolver of this process (tests); returns the previous one. */
export function setResolver(replacement: Resolver | undefined): Resolver | undefined {
  const previous = shared;
  shared = replacement;
  return previous;
}
