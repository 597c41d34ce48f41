/** What a table's value means for the address that was looked up: a list of addresses (tables.md 13.2). */
import { warning } from "../log/log.ts";
import { type Soon, when } from "../sys/when.ts";
import { type AddressTables, type KeyForms, type LookupRules, lookupAddress } from "./lookup.ts";
import { addressNodes, parseAddresses, plainAddresses, singleAddress } from "./parser.ts";
import { internalToExternal, isPlain } from "./quote.ts";
import { insertExtension, splitAddress } from "./split.ts";
import { addressAsWritten, addressInternal } from "./unparser.ts";

/** Rewrites an external-form address in the local context (trivial-rewrite). */
export type RewriteLocal = (external: string) => Soon<string>;

export interface MappingRules extends LookupRules {
  readonly rewrite: RewriteLocal;
}

export type AddressMapping =
  /** Internal form, at least one. */
  | { readonly kind: "found"; readonly addresses: ReadonlyArray<string> }
  | { readonly kind: "absent" }
  | { readonly kind: "error" };

/** Maps one internal-form address; `title` is the name of the parameter, `propagate` says whether an unmatched extension goes into the results. */
export function mapAddress(
  tables: AddressTables,
  title: string,
  address: string,
  propagate: boolean,
  rules: MappingRules,
  forms: KeyForms = "external",
): Soon<AddressMapping> {
  return when(lookupAddress(tables, address, rules, forms), (hit) => {
    if (hit.kind === "absent") return hit;
    if (hit.kind === "error") return { kind: "error" };
    const text = resultText(hit.value, address, hit.extension);
    return when(rewriteAll(text, propagate ? hit.extension : "", rules), (addresses) => {
      if (addresses.length > 0) return { kind: "found", addresses };
      warning(`${title} lookup of ${internalToExternal(address)} returns non-address result "${hit.value}"`);
      return { kind: "error" };
    });
  });
}

/** `@domain` puts the local part of what was looked up, without what did not match, before itself. */
function resultText(value: string, address: string, unmatched: string): string {
  if (value === "" || value === "<>") return '""';
  if (!value.startsWith("@")) return value;
  const { local } = splitAddress(address);
  const bare = unmatched !== "" && local.endsWith(unmatched) ? local.slice(0, -unmatched.length) : local;
  return internalToExternal(bare + value);
}

/** The addresses of a result in internal form, rewritten. */
function rewriteAll(text: string, extension: string, rules: MappingRules): Soon<string[]> {
  const written = plainAddresses(text) ?? addressNodes(parseAddresses(text)).map(addressAsWritten);
  const results: string[] = [];
  const add = (external: string): void => {
    const internal = isPlain(external) ? external : addressInternal(singleAddress(external));
    results.push(extension === "" ? internal : insertExtension(internal, extension));
  };
  const from = (first: number): Soon<string[]> => {
    for (let index = first; index < written.length; index++) {
      const rewritten = rules.rewrite(written[index] ?? "");
      if (rewritten instanceof Promise)
        return rewritten.then((external) => {
          add(external);
          return from(index + 1);
        });
      add(rewritten);
    }
    return results;
  };
  return from(0);
}
