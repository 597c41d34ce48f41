/** What a table's value means for the address that was looked up: a list of addresses (tables.md 13.2). */
import { warning } from "../log/log.ts";
import { type AddressTables, type KeyForms, type LookupRules, lookupAddress } from "./lookup.ts";
import { addressNodes, parseAddresses, singleAddress } from "./parser.ts";
import { internalToExternal } from "./quote.ts";
import { insertExtension, splitAddress } from "./split.ts";
import { addressAsWritten, addressInternal } from "./unparser.ts";

/** Rewrites an external-form address in the local context (trivial-rewrite). */
export type RewriteLocal = (external: string) => Promise<string>;

export interface MappingRules extends LookupRules {
  readonly rewrite: RewriteLocal;
  /** Tokens of one result that are looked at. */
  readonly tokenLimit?: number;
}

export type AddressMapping =
  /** Internal form, at least one. */
  | { readonly kind: "found"; readonly addresses: ReadonlyArray<string> }
  | { readonly kind: "absent" }
  | { readonly kind: "error" };

/** Maps one internal-form address; `title` is the name of the parameter, `propagate` says whether an unmatched extension goes into the results. */
export async function mapAddress(
  tables: AddressTables,
  title: string,
  address: string,
  propagate: boolean,
  rules: MappingRules,
  forms: KeyForms = "external",
): Promise<AddressMapping> {
  if (tables.empty) return { kind: "absent" };
  const hit = await lookupAddress(tables, address, rules, forms);
  if (hit.kind === "absent") return { kind: "absent" };
  if (hit.kind === "error") return { kind: "error" };
  const addresses = await expandResult(
    hit.value,
    address,
    propagate ? hit.extension : "",
    hit.extension,
    rules,
  );
  if (addresses.length === 0) {
    warning(`${title} lookup of ${internalToExternal(address)} returns non-address result "${hit.value}"`);
    return { kind: "error" };
  }
  return { kind: "found", addresses };
}

async function expandResult(
  value: string,
  address: string,
  extension: string,
  unmatched: string,
  rules: MappingRules,
): Promise<string[]> {
  let text = value;
  if (value.startsWith("@")) {
    const { local } = splitAddress(address);
    const bare = unmatched !== "" && local.endsWith(unmatched) ? local.slice(0, -unmatched.length) : local;
    text = internalToExternal(bare + value);
  }
  if (text === "" || text === "<>") text = '""';
  const results: string[] = [];
  for (const node of addressNodes(parseAddresses(text, rules.tokenLimit))) {
    const internal = addressInternal(singleAddress(await rules.rewrite(addressAsWritten(node))));
    results.push(extension === "" ? internal : insertExtension(internal, extension));
  }
  return results;
}
