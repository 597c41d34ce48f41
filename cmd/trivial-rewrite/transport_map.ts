/** transport_maps: the order of its keys, with the `*` entry remembered (transport(5)). */
import type { AddressLookupResult, AddressTables } from "../../lib/address/lookup.ts";
import { internalToExternal } from "../../lib/address/quote.ts";

const WILDCARD_SECONDS = 30;

export class TransportMap {
  #wildcard: AddressLookupResult | Promise<AddressLookupResult> | undefined;
  #wildcardTime = 0;

  constructor(
    private readonly tables: AddressTables,
    /** parent_domain_matches_subdomains names transport_maps: `example.com` stands for its subdomains. */
    private readonly parentMode: boolean,
    private readonly now: () => number = () => performance.now() / 1000,
  ) {}

  get empty(): boolean {
    return this.tables.empty;
  }

  /** Looks up an internal-form recipient, the same without its extension, and its domain. */
  async lookup(
    recipient: string,
    withoutExtension: string | undefined,
    domain: string,
  ): Promise<AddressLookupResult> {
    for (const [index, address] of [recipient, withoutExtension].entries()) {
      if (address === undefined) continue;
      const external = internalToExternal(address);
      for (const key of external === address ? [external] : [external, address]) {
        const result = await this.tables.lookup(key, index === 0 ? {} : { fixedOnly: true });
        if (result.kind !== "absent") return result;
      }
    }
    for (const key of domainKeys(domain, this.parentMode)) {
      const result = await this.tables.lookup(key, { fixedOnly: true });
      if (result.kind !== "absent") return result;
    }
    return this.wildcard();
  }

  /** The `*` entry, at most 30 seconds old. */
  wildcard(): AddressLookupResult | Promise<AddressLookupResult> {
    const now = this.now();
    if (this.#wildcard === undefined || now > this.#wildcardTime + WILDCARD_SECONDS) {
      this.#wildcard = this.tables.lookup("*");
      this.#wildcardTime = now;
    }
    return this.#wildcard;
  }
}

/** The domain, then its parents: `.example.com` or, in parent mode, `example.com`. */
function domainKeys(domain: string, parentMode: boolean): string[] {
  if (domain === "" || domain.startsWith("[")) return domain === "" ? [] : [domain];
  const keys = [domain];
  for (let dot = domain.indexOf(".", 1); dot >= 0; dot = domain.indexOf(".", dot + 1))
    if (dot < domain.length - 1) keys.push(parentMode ? domain.slice(dot + 1) : domain.slice(dot));
  return keys;
}
