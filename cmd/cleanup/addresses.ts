/** What happens to one address: rewriting, canonical mapping, masquerading, virtual alias expansion (ADDRESS_REWRITING_README). */
import type { AddressTables } from "../../lib/address/lookup.ts";
import { mapAddress } from "../../lib/address/mapping.ts";
import { externalToInternal, internalToExternal } from "../../lib/address/quote.ts";
import { splitAddress } from "../../lib/address/split.ts";
import { needsNoRewriting, type RewriteRule } from "../../lib/ipc/clients/rewrite.ts";
import type { Soon } from "../../lib/sys/when.ts";
import { foldCase } from "../../lib/tables/casefold.ts";
import type { Message } from "./message.ts";
import type { AddressPlace, CleanupSettings } from "./settings.ts";

/** Rewrites an external-form address by trivial-rewrite. */
export type Rewrite = (rule: RewriteRule, external: string) => Promise<string>;

const MAPPING_LIMIT = 10;
const PROBLEM = "-- message not accepted, try again later";

export class Addresses {
  readonly #mapsAddresses: boolean;

  constructor(
    readonly settings: CleanupSettings,
    private readonly rewriteExternal: Rewrite,
  ) {
    const { canonical, senderCanonical, recipientCanonical } = settings.tables;
    this.#mapsAddresses =
      settings.masqueradeDomains.length > 0 ||
      !(canonical.empty && senderCanonical.empty && recipientCanonical.empty);
  }

  fold(text: string): string {
    return foldCase(text, this.settings.smtputf8);
  }

  /** Rewrites an internal-form address in the local context. */
  rewrite(address: string): Soon<string> {
    return needsNoRewriting(address)
      ? address
      : this.rewriteExternal("local", internalToExternal(address)).then(externalToInternal);
  }

  /** Rewrites an external-form address of a header. */
  rewriteHeader(rule: RewriteRule, external: string): Promise<string> {
    return this.rewriteExternal(rule, external);
  }

  /** Canonical mapping and masquerading of an internal-form address, as far as its place and the client's flags allow. */
  canonical(message: Message, address: string, place: AddressPlace): Soon<string> {
    return message.has("map") && this.#mapsAddresses ? this.mapped(message, address, place) : address;
  }

  private async mapped(message: Message, address: string, place: AddressPlace): Promise<string> {
    const { settings } = this;
    const { tables } = settings;
    const isSender = place === "envelope_sender" || place === "header_sender";
    let result = address;
    if (isSender) {
      if (!tables.senderCanonical.empty && settings.senderCanonicalPlaces.has(place))
        result = await this.mapOne(message, tables.senderCanonical, "sender_canonical_maps", result);
    } else if (!tables.recipientCanonical.empty && settings.recipientCanonicalPlaces.has(place))
      result = await this.mapOne(message, tables.recipientCanonical, "recipient_canonical_maps", result);
    if (!tables.canonical.empty && settings.canonicalPlaces.has(place))
      result = await this.mapOne(message, tables.canonical, "canonical_maps", result);
    if (settings.masqueradeDomains.length > 0 && settings.masqueradePlaces.has(place))
      result = await this.masquerade(message, result);
    return result;
  }

  /** One-to-one mapping, repeated on its own result. */
  async mapOne(message: Message, tables: AddressTables, title: string, address: string): Promise<string> {
    const propagate = this.settings.propagate.has("canonical");
    let current = address;
    for (let round = 0; round < MAPPING_LIMIT; round++) {
      const mapping = await mapAddress(tables, title, current, propagate, this.mappingRules());
      if (mapping.kind === "absent") return current;
      if (mapping.kind === "error") {
        message.warn(`${title} map lookup problem for ${address} ${PROBLEM}`);
        message.fail("WRITE");
        return current;
      }
      const [first = current, second] = mapping.addresses;
      if (second !== undefined) message.warn(`multi-valued ${title} entry for ${current}`);
      const same = this.fold(first) === this.fold(current);
      current = first;
      if (same) return current;
    }
    // in spite of the text the message is accepted
    message.warn(`unreasonable ${title} map nesting for ${address} ${PROBLEM}`);
    return current;
  }

  /** Hides host names below the domains of masquerade_domains. */
  async masquerade(message: Message, address: string): Promise<string> {
    const { masqueradeDomains, tables } = this.settings;
    const { local, domain } = splitAddress(address);
    if (domain === undefined) return address;
    if (!tables.masqueradeExceptions.empty) {
      const excepted = await tables.masqueradeExceptions.matches(local);
      if (excepted.kind === "error") {
        message.warn(`masquerade_exceptions map lookup problem ${PROBLEM}`);
        message.fail("WRITE");
      }
      if (excepted.kind !== "none") return address;
    }
    const folded = this.fold(domain);
    for (const entry of masqueradeDomains) {
      if (folded === entry.domain) return address;
      if (folded.endsWith(`.${entry.domain}`)) return entry.negated ? address : `${local}@${entry.domain}`;
    }
    return address;
  }

  /** Virtual alias expansion of a recipient: itself when it has no alias, or when something is wrong. Undefined where there are no aliases at all. */
  expand(message: Message, address: string): Promise<ReadonlyArray<string>> | undefined {
    return message.has("map") && !this.settings.tables.virtualAlias.empty
      ? this.expandAliases(message, address)
      : undefined;
  }

  private async expandAliases(message: Message, address: string): Promise<ReadonlyArray<string>> {
    const { settings } = this;
    const { virtualAlias } = settings.tables;
    const refuse = (status: "DEFER" | "WRITE", text: string): ReadonlyArray<string> => {
      message.warn(`${text} ${PROBLEM}`);
      message.fail(status, "4.6.0 Alias expansion error");
      return [address];
    };
    const title = "virtual_alias_maps";
    const propagate = settings.propagate.has("virtual");
    const found = [address];
    const final = new Set<string>();
    for (let index = 0; index < found.length; index++) {
      if (found.length > settings.virtualExpansionLimit)
        return refuse("DEFER", `unreasonable ${title} map expansion size for ${address}`);
      for (let depth = 0; ; depth++) {
        const current = found[index] ?? "";
        const key = this.fold(current);
        if (final.has(key)) break;
        if (depth >= settings.virtualRecursionLimit)
          return refuse("DEFER", `unreasonable ${title} map nesting for ${address}`);
        const mapping = await mapAddress(virtualAlias, title, current, propagate, this.mappingRules());
        if (mapping.kind === "absent") break;
        if (mapping.kind === "error") return refuse("WRITE", `${title} map lookup problem for ${address}`);
        for (const [position, result] of mapping.addresses.entries()) {
          if (result.length > settings.virtualAddressLengthLimit)
            return refuse("DEFER", `unreasonable ${title} result ${result.slice(0, 300)}...`);
          if (position === 0) found[index] = result;
          else found.push(result);
          if (this.fold(result) === key) final.add(key);
        }
      }
    }
    return found;
  }

  private mappingRules() {
    return { ...this.settings.rules, rewrite: (external: string) => this.rewriteExternal("local", external) };
  }
}
