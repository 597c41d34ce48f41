/** local_login_sender_maps: the envelope senders that a login may use (tools.md 3.5). */
import { internalToExternal } from "../address/quote.ts";
import { extensionRules, stripExtension } from "../address/split.ts";
import { parameter } from "../config/configuration.ts";
import { equalFold } from "../sys/bytes.ts";
import { lookupUserById } from "../sys/identity.ts";

export type SenderVerdict = "allowed" | "denied" | "error";

const EVERYBODY = "static:*";
const PATTERN = /(?:"(?:[^"\\]|\\.)*"|[^",\s])+/g;

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
    const patterns = result.value.match(PATTERN) ?? [];
    return patterns.some((pattern) => matches(pattern, sender)) ? "allowed" : "denied";
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
