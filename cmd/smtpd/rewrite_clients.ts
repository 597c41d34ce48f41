/** Whose header addresses are rewritten: local_header_rewrite_clients. */
import { splitBraced } from "../../lib/config/lists.ts";
import { lowerAscii } from "../../lib/sys/bytes.ts";
import { openTable } from "../../lib/tables/open.ts";
import { type Table, TableFlag } from "../../lib/tables/table.ts";

export type RewriteRule =
  | { readonly kind: "inet_interfaces" }
  | { readonly kind: "mynetworks" }
  | { readonly kind: "authenticated" }
  | { readonly kind: "table"; readonly table: Table }
  /** A word without meaning: said at every use, never matching. */
  | { readonly kind: "unknown"; readonly word: string };

export type RewriteClients = readonly RewriteRule[];

const FLAGS = TableFlag.lock | TableFlag.fold_fix | TableFlag.utf8_request;

export async function parseRewriteClients(value: string): Promise<RewriteClients> {
  const rules: RewriteRule[] = [];
  const list = splitBraced(value);
  for (let i = 0; i < list.length; i++) {
    const word = list[i] as string;
    switch (lowerAscii(word)) {
      case "permit_inet_interfaces":
        rules.push({ kind: "inet_interfaces" });
        break;
      case "permit_mynetworks":
        rules.push({ kind: "mynetworks" });
        break;
      case "permit_sasl_authenticated":
        rules.push({ kind: "authenticated" });
        break;
      case "permit_tls_clientcerts":
      case "permit_tls_all_clientcerts":
        break;
      case "check_address_map":
        break;
      default:
        if (word.includes(":")) rules.push({ kind: "table", table: await openTable(word, { flags: FLAGS }) });
        else rules.push({ kind: "unknown", word });
    }
  }
  return rules;
}
