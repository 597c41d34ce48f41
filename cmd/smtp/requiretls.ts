/** REQUIRETLS (RFC 8689) at a client without TLS: what smtp_requiretls_policy makes of a message that demands it. */
import { toAsciiDomain } from "../../lib/address/hostname.ts";
import { splitBraced } from "../../lib/config/lists.ts";
import { type Dsn, dsn } from "../../lib/delivery/status.ts";
import { lowerAscii } from "../../lib/sys/bytes.ts";
import { openTable } from "../../lib/tables/open.ts";
import { TableFlag } from "../../lib/tables/table.ts";
import type { Settings } from "./settings.ts";

const POLICIES = ["enforce", "opportunistic+starttls", "opportunistic", "disable", "error"] as const;
export type RequireTlsPolicy = (typeof POLICIES)[number];

const asPolicy = (text: string): RequireTlsPolicy | undefined => {
  const word = lowerAscii(text);
  return POLICIES.find((policy) => policy === word);
};

/** The domain, then its parents as `.parent`. */
function* searchKeys(domain: string): Generator<string> {
  yield domain;
  for (let dot = domain.indexOf(".", 1); dot >= 0; dot = domain.indexOf(".", dot + 1))
    yield domain.slice(dot);
}

/** The first word or table entry that decides about a domain. */
export async function requireTlsPolicy(value: string, domain: string): Promise<RequireTlsPolicy> {
  const name = lowerAscii(toAsciiDomain(domain) ?? domain);
  for (const item of splitBraced(value)) {
    if (!item.includes(":")) {
      const policy = asPolicy(item);
      return policy ?? "error";
    }
    const table = await openTable(item, { flags: TableFlag.lock });
    for (const key of searchKeys(name)) {
      const result = await table.lookup(key);
      if (result.kind === "error") return "error";
      if (result.kind === "found") return asPolicy(result.value) ?? "error";
    }
  }
  return "enforce";
}

/** Why a message that demands REQUIRETLS cannot go to this host; undefined when the policy lets it pass. */
export async function requireTlsProblem(
  settings: Settings,
  domain: string,
  host: string,
): Promise<Dsn | undefined> {
  const policy = await requireTlsPolicy(settings.get("requiretls_policy"), domain);
  const attempted = `The last attempted server was ${host}`;
  switch (policy) {
    case "opportunistic":
    case "disable":
      return undefined;
    case "error":
      return dsn("4.7.10", `REQUIRETLS policy configuration error. ${attempted}`);
    default: {
      const lacks = settings.tlsLevel === "none" ? "encryption" : "certificate matching";
      const reason = `Sender requested REQUIRETLS, but my configured TLS security level '${settings.tlsLevel}' disables ${lacks}. ${attempted}`;
      return dsn("5.7.10", reason);
    }
  }
}
