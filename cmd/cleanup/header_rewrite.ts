/** Rewriting the addresses of a header. The text changes only when an address does. */
import { type AddressNode, type Item, parseAddresses, singleAddress } from "../../lib/address/parser.ts";
import { internalToExternal } from "../../lib/address/quote.ts";
import { atom } from "../../lib/address/tokenizer.ts";
import {
  addressAsWritten,
  addressExternal,
  addressInternal,
  unparseList,
} from "../../lib/address/unparser.ts";
import { needsNoRewriting } from "../../lib/ipc/clients/rewrite.ts";
import { warning } from "../../lib/log/log.ts";
import { type AddressClass, foldHeader } from "../../lib/message/header.ts";
import { printable } from "../../lib/sys/bytes.ts";
import { type Soon, when } from "../../lib/sys/when.ts";
import type { Addresses } from "./addresses.ts";
import type { Message } from "./message.ts";

/** Bytes of comments and phrases around one address. */
const REMARK_LIMIT = 250;
const SAMPLE_LIMIT = 100;

/** The header with its addresses rewritten; the same text when none changes. */
export function rewriteHeader(
  message: Message,
  addresses: Addresses,
  header: string,
  label: number,
  addressClass: AddressClass,
): Soon<string> {
  const { headerContext } = message;
  if (headerContext === "none") return header;
  const { settings } = addresses;
  const items = parseAddresses(header.slice(label + 1), settings.headerTokenLimit);
  const place = `header_${addressClass}` as const;
  let changed = false;
  /** Rewrites an item; one that is complete and that no table changes is done at once. */
  const rewriteItem = (index: number, original: string): Promise<undefined> | undefined => {
    const replace = (node: AddressNode, internal: string): Promise<undefined> | undefined =>
      when(addresses.canonical(message, internal, place), (mapped) => {
        items[index] = mapped === internal ? node : singleAddress(internalToExternal(mapped));
        if (mapped !== internal) changed = true;
        return undefined;
      });
    if (needsNoRewriting(original)) return replace({ kind: "address", tokens: [atom(original)] }, original);
    return when(addresses.rewriteHeader(headerContext, original), (rewritten) => {
      const node = singleAddress(rewritten);
      if (rewritten !== original) changed = true;
      return replace(node, addressInternal(node));
    });
  };
  const rewriteFrom = (first: number): Soon<string> => {
    for (let index = first; index < items.length; index++) {
      const item = items[index];
      if (item?.kind !== "address") continue;
      const original = addressAsWritten(item);
      if (original === "") continue;
      const pending = rewriteItem(index, original);
      if (pending !== undefined) return pending.then(() => rewriteFrom(index + 1));
    }
    if (!changed) return header;
    const list = (items.length > 1 ? limitRemarks(items) : undefined) ?? unparseList(items, "header");
    return foldHeader(`${header.slice(0, label)}: ${list}`);
  };
  return rewriteFrom(0);
}

/** The list with overlong remarks removed; undefined when there are none. */
function limitRemarks(items: ReadonlyArray<Item>): string | undefined {
  const lines: string[] = [];
  let stripped = false;
  let element: Item[] = [];
  const finish = (comma: boolean): void => {
    const text = unparseList(element, "list");
    const node = element.find((item) => item.kind === "address");
    const address = node === undefined ? "" : addressExternal(node);
    const hasAddress = node !== undefined || isNullAddress(element);
    if (hasAddress && text.length - address.length > REMARK_LIMIT) {
      warning(`stripping too many comments from address: ${printable(text.slice(0, SAMPLE_LIMIT))}...`);
      lines.push(`<${address}>${comma ? "," : ""}`);
      stripped = true;
    } else lines.push(comma ? `${text},` : text);
    element = [];
  };
  for (const item of items) {
    if (item.kind === "operator" && item.text === ",") finish(true);
    else element.push(item);
  }
  if (element.length > 0 || lines.at(-1)?.endsWith(",") === true) finish(false);
  return stripped ? lines.join("\n") : undefined;
}

const isNullAddress = (element: ReadonlyArray<Item>): boolean =>
  element.some((item, index) => {
    const next = element[index + 1];
    return item.kind === "operator" && item.text === "<" && next?.kind === "operator" && next.text === ">";
  });
