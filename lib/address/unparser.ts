/** From tokens back to text. */
import type { AddressNode, Item } from "./parser.ts";
import { GROUP_COLON } from "./parser.ts";
import { internalToExternal } from "./quote.ts";
import type { Token } from "./tokenizer.ts";

/** `list`: commas are followed by a blank; `header`: one address per line, as header folding wants them. */
export type ListMode = "list" | "header";

const NEEDS_BACKSLASH_IN_QUOTES = /["\\\r\n]/g;
const NEEDS_BACKSLASH_IN_LITERAL = /[\\\r\n]/g;

/** The internal form of one address given as flat tokens. */
export function unparseInternal(tokens: ReadonlyArray<Token>): string {
  const parts: string[] = [];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    if (token === undefined) continue;
    parts.push(token.kind === "literal" ? literal(token.text) : token.text);
    if (blankBetween(token, tokens[i + 1])) parts.push(" ");
  }
  return parts.join("");
}

/** The external form of one address given as flat tokens. */
export const unparseExternal = (tokens: ReadonlyArray<Token>): string =>
  internalToExternal(unparseInternal(tokens));

export const addressInternal = (node: AddressNode): string => unparseInternal(node.tokens);
export const addressExternal = (node: AddressNode): string => internalToExternal(addressInternal(node));

/** The tokens of an address each in its own external form, not quoted as a whole: nearly what stood in the header. */
export const addressAsWritten = ({ tokens }: AddressNode): string =>
  tokens
    .map((token, index) =>
      token.text === "," && token.kind === "operator" && index < tokens.length - 1 ? ", " : itemText(token),
    )
    .join("");

/** One item of a list, in external form, without what follows it. */
export function itemText(item: Item): string {
  switch (item.kind) {
    case "address":
      return addressExternal(item);
    case "quoted":
      return `"${item.text.replace(NEEDS_BACKSLASH_IN_QUOTES, "\\$&")}"`;
    case "literal":
      return literal(item.text);
    default:
      return item.text;
  }
}

const literal = (text: string): string => `[${text.replace(NEEDS_BACKSLASH_IN_LITERAL, "\\$&")}]`;

/** A list of addresses in external form. */
export function unparseList(items: ReadonlyArray<Item>, mode: ListMode): string {
  const parts: string[] = [];
  for (let i = 0; i < items.length; i++) {
    const item = items[i];
    if (item === undefined) continue;
    const next = items[i + 1];
    if (item === GROUP_COLON) parts.push(next === undefined ? ":" : ": ");
    else {
      parts.push(itemText(item));
      if (mode === "header" && item.kind === "operator" && item.text === ",") parts.push("\n");
      else if (blankBetween(item, next)) parts.push(" ");
    }
  }
  return parts.join("");
}

/** The blank the printer puts between two tokens. */
export function blankBetween(item: Item, next: Item | undefined): boolean {
  if (next === undefined) return false;
  if (item.kind === "operator" && (item.text === "," || item.text === ": ")) return true;
  if (next.kind === "operator") return next.text === "<";
  return item.kind !== "operator";
}
