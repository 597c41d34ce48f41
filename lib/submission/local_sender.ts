/** local_login_sender_maps: the envelope senders that a login may use (tools.md 3.5). */
import { internalToExternal } from "../address/quote.ts";
import { extensionRules, stripExtension } from "../address/split.ts";
import { parameter } from "../config/configuration.ts";
import { equalFold, isSpaceCode } from "../sys/bytes.ts";
import { lookupUserById } from "../sys/identity.ts";

export type SenderVerdict = "allowed" | "denied" | "error";

const EVERYBODY = "static:*";

export class LocalSenders {
  readonly #maps = parameter("local_login_sender_maps");

  get name(): string {
    return this.#maps;
  }

  /** Whether the user may send as this address (internal form, as submitted). */
  async check(uid: number, sender: string): Promise<SenderVerdict> {
    if (this.#maps === EVERYBODY) return "allowed";
    const { TableList } = await import("../tables/list.ts");
    const { TableFlag } = await import("../tables/table.ts");
    const tables = await TableList.open("local_login_sender_maps", this.#maps, TableFlag.fold_fix);
    const login = lookupUserById(uid)?.name ?? `uid:${uid}`;
    const result = await tables.lookup(login);
    if (result.kind === "error") return "error";
    if (result.kind === "absent") return "denied";
    return patternsIn(result.value).some((pattern) => matches(pattern, sender)) ? "allowed" : "denied";
  }
}

function matches(pattern: string, sender: string): boolean {
  if (pattern === "*") return true;
  if (pattern === parameter("empty_address_local_login_sender_maps_lookup_key")) return sender === "";
  if (sender === "") return false;
  if (pattern.startsWith("@")) {
    const at = sender.lastIndexOf("@");
    return at >= 0 && equalFold(sender.slice(at), pattern);
  }
  const rules = extensionRules();
  return equalFold(internalToExternal(stripExtension(sender, rules)?.address ?? sender), pattern);
}

/** Words between commas and blanks; those within double quotes, where a backslash protects a character, separate nothing. */
export function patternsIn(text: string): string[] {
  const patterns: string[] = [];
  let start = -1;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i);
    if (!quoted && (char === "," || isSpaceCode(text.charCodeAt(i)))) {
      if (start >= 0) patterns.push(text.slice(start, i));
      start = -1;
      continue;
    }
    if (start < 0) start = i;
    if (char === '"') quoted = !quoted;
    else if (quoted && char === "\\") i++;
  }
  if (start >= 0) patterns.push(text.slice(start));
  return patterns;
}
