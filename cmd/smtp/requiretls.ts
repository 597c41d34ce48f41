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

/** Where a message that demands REQUIRETLS stands with a host. */
export type RequireTlsStatus =
  /** The policy does not care. */
  | { readonly kind: "off" }
  /** It goes on without. */
  | { readonly kind: "optional" }
  /** It must not go there. `what` is for the log: what is lacking. */
  | {
      readonly kind: "refused";
      readonly status: Dsn;
      readonly what: "nocertmatch" | "noencryption" | "none";
    };

export async function requireTlsStatus(
  settings: Settings,
  domain: string,
  host: string,
): Promise<RequireTlsStatus> {
  const policy = await requireTlsPolicy(settings.get("requiretls_policy"), domain);
  const attempted = `The last attempted server was ${host}`;
  const lacking = (lack: string): string =>
    `Sender requested REQUIRETLS, but my configured TLS security level '${settings.tlsLevel}' disables ${lack}. ${attempted}`;
  switch (policy) {
    case "disable":
      return { kind: "off" };
    case "opportunistic":
      return { kind: "optional" };
    case "error":
      return {
        kind: "refused",
        status: dsn("4.7.10", `REQUIRETLS policy configuration error. ${attempted}`),
        what: "none",
      };
    case "enforce":
      return { kind: "refused", status: dsn("5.7.10", lacking("certificate matching")), what: "nocertmatch" };
    case "opportunistic+starttls":
      return { kind: "refused", status: dsn("5.7.10", lacking("encryption")), what: "noencryption" };
  }
}
