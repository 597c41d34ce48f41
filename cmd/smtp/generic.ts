/** smtp_generic_maps: local addresses become valid ones on their way out (generic(5)). */
import { mapAddress } from "../../lib/address/mapping.ts";
import { type AddressNode, type Item, parseAddresses } from "../../lib/address/parser.ts";
import { internalToExternal } from "../../lib/address/quote.ts";
import { tokenize } from "../../lib/address/tokenizer.ts";
import { addressInternal, unparseList } from "../../lib/address/unparser.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { rewriteAddress } from "../../lib/ipc/clients/rewrite.ts";
import { ClientAbort, warning } from "../../lib/log/log.ts";
import { foldHeader, headerName, headerValue } from "../../lib/message/header.ts";
import type { Soon } from "../../lib/sys/when.ts";
import type { AgentTables } from "./tables.ts";

type GenericTables = Pick<AgentTables, "generic" | "addressRules" | "genericExtensions">;

/** Maps one internal-form address; the same address when nothing is found. Table trouble ends the delivery. */
export const mapGeneric = (address: string, tables: GenericTables): Soon<string> =>
  tables.generic.empty || address === "" ? address : lookUpGeneric(address, tables);

async function lookUpGeneric(address: string, tables: GenericTables): Promise<string> {
  const { generic, addressRules, genericExtensions } = tables;
  if (addressRules === undefined) return address;
  const rules = { ...addressRules, rewrite: (external: string) => rewriteAddress("local", external) };
  const mapped = await mapAddress(generic, generic.title, address, genericExtensions, rules);
  if (mapped.kind === "error") throw new ClientAbort(`${generic.title} map lookup problem for ${address}`);
  if (mapped.kind === "absent") return address;
  const [first = address, ...others] = mapped.addresses;
  if (others.length > 0) warning(`multi-valued ${generic.title} result for ${address}`);
  return first;
}

const isNode = (item: Item): item is AddressNode => item.kind === "address";

/** Maps the addresses of a header; a header that changes is printed anew, one address a line, and folded. */
export async function mapHeader(text: string, tables: GenericTables): Promise<string> {
  const items = parseAddresses(headerValue(text), parameter("header_address_token_limit"));
  let changed = false;
  const mapped: Item[] = [];
  for (const item of items) {
    const address = isNode(item) ? addressInternal(item) : "";
    const result = address === "" ? address : await mapGeneric(address, tables);
    if (!isNode(item) || result === address) {
      mapped.push(item);
      continue;
    }
    changed = true;
    mapped.push({ ...item, tokens: tokenize(internalToExternal(result)) });
  }
  if (!changed) return text;
  return foldHeader(`${headerName(text)}: ${unparseList(mapped, "header")}`);
}
