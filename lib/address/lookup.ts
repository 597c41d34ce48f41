/** Looking an address up in tables: the order of the keys (tables.md 13.2). */
import { equalFold } from "../sys/bytes.ts";
import { internalToExternal, quoteLocalPart } from "./quote.ts";
import { type ExtensionRules, splitAddress, splitExtension } from "./split.ts";

export type AddressLookupResult =
  | { readonly kind: "found"; readonly value: string }
  | { readonly kind: "absent" }
  | { readonly kind: "error"; readonly error: "retry" | "config"; readonly reason?: string };

/** A list of tables, as lib/tables/list.ts has it. */
export interface AddressTables {
  readonly empty: boolean;
  lookup(key: string, options?: { fixedOnly?: boolean }): AddressLookupResult | Promise<AddressLookupResult>;
}

export interface LookupRules extends ExtensionRules {
  readonly myorigin: string;
  /** mydestination, or an own or proxy interface address literal. */
  isLocalDomain(domain: string): Promise<boolean | "error">;
}

/** `external`: canonical, virtual alias and generic maps; `both`: everything else tries the internal form of each key as well. */
export type KeyForms = "external" | "both";

export type AddressLookup =
  | {
      readonly kind: "found";
      readonly value: string;
      /** What the matching key left out, with its delimiter; empty when nothing. */
      readonly extension: string;
    }
  | { readonly kind: "absent" }
  | { readonly kind: "error"; readonly error: "retry" | "config"; readonly reason?: string };

const ABSENT: AddressLookup = { kind: "absent" };

/** Finds an internal-form address; stops at the first hit or error. */
export async function lookupAddress(
  tables: AddressTables,
  address: string,
  rules: LookupRules,
  forms: KeyForms,
): Promise<AddressLookup> {
  if (tables.empty) return ABSENT;
  const query = async (
    internal: string,
    external: string,
    fixedOnly: boolean,
    extension: string,
  ): Promise<AddressLookup | undefined> => {
    const keys = forms === "both" && internal !== external ? [external, internal] : [external];
    for (const key of keys) {
      const result = await tables.lookup(key, fixedOnly ? { fixedOnly } : {});
      if (result.kind === "found") return { kind: "found", value: result.value, extension };
      if (result.kind === "error") return result;
    }
    return undefined;
  };

  const full = await query(address, internalToExternal(address), false, "");
  if (full !== undefined) return full;

  const { local, domain } = splitAddress(address);
  const split = splitExtension(local, rules);
  if (split !== undefined && domain !== undefined) {
    const stripped = `${split.user}@${domain}`;
    const hit = await query(stripped, internalToExternal(stripped), true, split.extension);
    if (hit !== undefined) return hit;
  }
  if (domain === undefined) return ABSENT;
  const isLocal = equalFold(domain, rules.myorigin) || (await rules.isLocalDomain(domain));
  if (isLocal === "error") return { kind: "error", error: "retry" };
  if (isLocal) {
    const whole = await query(local, quoteLocalPart(local), true, "");
    if (whole !== undefined) return whole;
    if (split !== undefined) {
      const bare = await query(split.user, quoteLocalPart(split.user), true, split.extension);
      if (bare !== undefined) return bare;
    }
  }
  return (await query(`@${domain}`, `@${domain}`, true, "")) ?? ABSENT;
}
