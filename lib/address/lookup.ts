/** Looking an address up in tables: the order of the keys (tables.md 13.2). */
import { equalFold } from "../sys/bytes.ts";
import { type Soon, when } from "../sys/when.ts";
import { internalToExternal, quoteLocalPart } from "./quote.ts";
import { type ExtensionRules, splitAddress, splitExtension } from "./split.ts";

export type AddressLookupResult =
  | { readonly kind: "found"; readonly value: string }
  | { readonly kind: "absent" }
  | { readonly kind: "error"; readonly error: "retry" | "config"; readonly reason?: string };

/** A list of tables, as lib/tables/list.ts has it. */
export interface AddressTables {
  readonly empty: boolean;
  lookup(key: string, options?: LookupOptions): Soon<AddressLookupResult>;
}

/** `fixedOnly`: tables with fixed keys alone, for a key that was derived from the full one. */
interface LookupOptions {
  readonly fixedOnly?: boolean;
}
const ANY_TABLE: LookupOptions = {};
const FIXED_ONLY: LookupOptions = { fixedOnly: true };

export interface LookupRules extends ExtensionRules {
  readonly myorigin: string;
  /** mydestination, or an own or proxy interface address literal. */
  isLocalDomain(domain: string): Soon<boolean | "error">;
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

/** What one key gave; undefined: the next one is asked. */
type Hit = AddressLookup | undefined;

const orElse = (hit: Soon<Hit>, next: () => Soon<Hit>): Soon<Hit> => when(hit, (known) => known ?? next());

/** Finds an internal-form address; stops at the first hit or error. At once where no table has to be waited for. */
export function lookupAddress(
  tables: AddressTables,
  address: string,
  rules: LookupRules,
  forms: KeyForms,
): Soon<AddressLookup> {
  if (tables.empty) return ABSENT;
  const ask = (key: string, options: LookupOptions, extension: string): Soon<Hit> =>
    when(tables.lookup(key, options), (result) => {
      if (result.kind === "found") return { kind: "found", value: result.value, extension };
      return result.kind === "error" ? result : undefined;
    });
  const query = (internal: string, external: string, options: LookupOptions, extension = ""): Soon<Hit> => {
    const hit = ask(external, options, extension);
    return forms === "both" && internal !== external
      ? orElse(hit, () => ask(internal, options, extension))
      : hit;
  };

  const full = query(address, internalToExternal(address), ANY_TABLE);
  const { local, domain } = splitAddress(address);
  if (domain === undefined) return when(full, (hit) => hit ?? ABSENT);
  const split = splitExtension(local, rules);
  const stripped = orElse(full, () => {
    if (split === undefined) return undefined;
    const bare = `${split.user}@${domain}`;
    return query(bare, internalToExternal(bare), FIXED_ONLY, split.extension);
  });
  const localOnly = orElse(stripped, () =>
    when(equalFold(domain, rules.myorigin) || rules.isLocalDomain(domain), (isLocal) => {
      if (isLocal === "error") return { kind: "error", error: "retry" };
      if (!isLocal) return undefined;
      const whole = query(local, quoteLocalPart(local), FIXED_ONLY);
      return split === undefined
        ? whole
        : orElse(whole, () => query(split.user, quoteLocalPart(split.user), FIXED_ONLY, split.extension));
    }),
  );
  const byDomain = orElse(localOnly, () => query(`@${domain}`, `@${domain}`, FIXED_ONLY));
  return when(byDomain, (hit) => hit ?? ABSENT);
}
