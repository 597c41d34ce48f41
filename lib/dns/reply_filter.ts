/** `smtp_dns_reply_filter`: a table that sees each record as text and may have it ignored. */
import { info, warning } from "../log/log.ts";
import { splitAny, upperAscii } from "../sys/bytes.ts";
import type { ReplyFilter } from "./resolver.ts";
import type { DnsRecord } from "./types.ts";

/** A record in the form that the filter's keys have: `name ttl IN type data`. */
export function recordText(record: DnsRecord): string {
  const head = `${record.name}. ${record.ttl} IN ${record.type}`;
  switch (record.type) {
    case "A":
    case "AAAA":
      return `${head} ${record.address}`;
    case "MX":
      return `${head} ${record.preference} ${record.host}.`;
    case "SRV":
      return `${head} ${record.priority} ${record.weight} ${record.port} ${record.host}.`;
    case "CNAME":
    case "NS":
    case "PTR":
      return `${head} ${record.host}.`;
    case "TXT":
      return `${head} ${record.text}`;
    case "TLSA":
      return `${head} ${record.usage} ${record.selector} ${record.matching} ${Buffer.from(record.data).toString("hex").toUpperCase()}`;
  }
}

type FilterResult =
  | { readonly kind: "found"; readonly value: string }
  | { readonly kind: "absent" }
  | { readonly kind: "error" };

interface FilterTables {
  lookup(key: string): FilterResult | Promise<FilterResult>;
}

/** A reply filter over the tables of a parameter. */
export function replyFilter(title: string, tables: FilterTables): ReplyFilter {
  return async (record) => {
    const text = recordText(record);
    const result = await tables.lookup(text);
    if (result.kind === "absent") return "keep";
    if (result.kind === "error") return "error";
    const [action = ""] = splitAny(result.value, " \t\r\n");
    if (upperAscii(action) === "IGNORE") {
      info(`ignoring DNS RR: ${text}`);
      return "drop";
    }
    warning(`${title}: unknown DNS filter action: "${result.value}"`);
    return "error";
  };
}
