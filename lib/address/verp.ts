/** VERP: the recipient's address inside the sender's (VERP_README). */
import { splitAddress } from "./split.ts";

/** LOCAL + d1 + USER + d2 + RDOMAIN + @SDOMAIN; parts without a domain leave out their delimiter. Internal form. */
export function verpSender(delimiters: string, sender: string, recipient: string): string {
  const from = splitAddress(sender);
  const to = splitAddress(recipient);
  const first = delimiters.charAt(0);
  const second = delimiters.charAt(1);
  const tagged = from.local + first + to.local + (to.domain === undefined ? "" : second + to.domain);
  return from.domain === undefined ? tagged : `${tagged}@${from.domain}`;
}

/** What is wrong with a pair of delimiters, given verp_delimiter_filter; undefined when nothing. */
export function verpDelimiterProblem(delimiters: string, allowed: string): string | undefined {
  if (delimiters.length !== 2) return "bad VERP delimiter character count";
  if (!allowed.includes(delimiters.charAt(0))) return "bad first VERP delimiter character";
  if (!allowed.includes(delimiters.charAt(1))) return "bad second VERP delimiter character";
  return undefined;
}
