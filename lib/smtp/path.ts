/** The address in MAIL FROM and RCPT TO. RFC 5321 section 4.1.2, with Postfix's leniency (smtpd.md 3.2). */
import { addressNodes, parseAddresses } from "../address/parser.ts";
import { addressInternal } from "../address/unparser.ts";

export interface PathRules {
  /** strict_rfc821_envelopes: angle brackets are required, phrases and comments refused. */
  readonly strict: boolean;
  /** The null address is allowed (MAIL FROM). */
  readonly allowEmpty: boolean;
}

/** Addresses whose internal form is what stands between the brackets. */
const PLAIN = /^<([A-Za-z0-9_+=-]+(?:\.[A-Za-z0-9_+=-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)>$/;
/** More tokens than any address needs; a line has at most line_length_limit bytes. */
const TOKEN_LIMIT = 4096;

/** The internal form of the address in a token, undefined when it is malformed. Whether it resolves is another question. */
export function parsePath(token: string, rules: PathRules): string | undefined {
  const plain = PLAIN.exec(token);
  if (plain !== null) return plain[1];
  let text = stripBrackets(token);
  // Only a route's first colon counts: Postfix drops everything up to it.
  if (text.startsWith("@")) text = text.slice(text.indexOf(":") + 1);
  const items = parseAddresses(text, TOKEN_LIMIT);
  const addresses = addressNodes(items);
  if (addresses.length > 1) return undefined;
  if (rules.strict && (items.length > addresses.length || !token.startsWith("<"))) return undefined;
  const node = addresses[0];
  const address = node === undefined ? "" : addressInternal(node);
  if (address === "" && !rules.allowEmpty) return undefined;
  if (rules.strict && address.startsWith("@")) return undefined;
  return address;
}

/** The text without one pair of angle brackets around it. */
export const stripBrackets = (text: string): string =>
  text.startsWith("<") && text.endsWith(">") && text.length >= 2 ? text.slice(1, -1) : text;
