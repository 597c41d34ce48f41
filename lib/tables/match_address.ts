/** An address against one pattern of a match list. */
import { contains, type Network, parseAddress, parseNetwork } from "./network.ts";

export interface AddressPattern {
  readonly text: string;
  /** What the text means as an address pattern; found out at the first use. */
  parsed?: ParsedPattern;
}

/** `never`: a host name, or digits and dots that are no address. */
type ParsedPattern = Network | "never" | { readonly problem: string };

const IPV4_PATTERN = /^[0-9./]+$/;

function parse(text: string): ParsedPattern {
  if (!text.startsWith("[") && !IPV4_PATTERN.test(text)) return "never";
  const result = parseNetwork(text);
  if (result.ok) return result.network;
  return text.startsWith("[") || text.includes("/") ? { problem: result.problem } : "never";
}

export function matchAddressPattern(
  pattern: AddressPattern,
  address: string,
): boolean | { readonly problem: string } {
  if (pattern.text === address) return true;
  pattern.parsed ??= parse(pattern.text);
  const { parsed } = pattern;
  if (parsed === "never") return false;
  if ("problem" in parsed) return parsed;
  const bytes = parseAddress(address);
  return bytes !== undefined && contains(parsed, bytes);
}
