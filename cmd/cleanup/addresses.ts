/** What happens to one address: rewriting, canonical mapping, masquerading, virtual alias expansion (ADDRESS_REWRITING_README). */
import type { AddressTables } from "../../lib/address/lookup.ts";
import { type MappingRules, mapAddress } from "../../lib/address/mapping.ts";
import { externalToInternal, internalToExternal } from "../../lib/address/quote.ts";
import { splitAddress } from "../../lib/address/split.ts";
import { needsNoRewriting, type RewriteRule } from "../../lib/ipc/clients/rewrite.ts";
import { type Soon, when } from "../../lib/sys/when.ts";
import { foldCase } from "../../lib/tables/casefold.ts";
import { AliasExpansion } from "./alias_expansion.ts";
import type { Message } from "./message.ts";
import type { AddressPlace, CleanupSettings } from "./settings.ts";

/** Rewrites an external-form address by trivial-rewrite. */
export type Rewrite = (rule: RewriteRule, external: string) => Soon<string>;

const MAPPING_LIMIT = 10;
const PROBLEM = "-- message not accepted, try again later";

export class Addresses {
  readonly #mapsAddresses: boolean;
  readonly #mappingRules: MappingRules;

  constructor(
    readonly settings: CleanupSettings,
    private readonly rewriteExternal: Rewrite,
  ) {
    this.#mappingRules = { ...settings.rules, rewrite: (external) => rewriteExternal("local", external) };
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
      : when(this.rewriteExternal("local", internalToExternal(address)), externalToInternal);
  }

  /** Rewrites an external-form address of a header. */
  rewriteHeader(rule: RewriteRule, external: string): Soon<string> {
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
      const mapping = await mapAddress(tables, title, current, propagate, this.#mappingRules);
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
  expand(message: Message, address: string): Soon<ReadonlyArray<string>> | undefined {
    return message.has("map") && !this.settings.tables.virtualAlias.empty
      ? new AliasExpansion(this.settings, this.#mappingRules, message, address).run()
      : undefined;
  }
}
