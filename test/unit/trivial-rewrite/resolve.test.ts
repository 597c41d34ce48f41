import { readFileSync } from "node:fs";
import t from "tap";
import {
  type DomainList,
  type ResolveSettings,
  type RouteSettings,
  resolveAddress,
} from "../../../cmd/trivial-rewrite/resolve.ts";
import { TransportMap } from "../../../cmd/trivial-rewrite/transport_map.ts";
import type { AddressTables } from "../../../lib/address/lookup.ts";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { encodeUtf8, lowerAscii } from "../../../lib/sys/bytes.ts";
import { fileTables } from "../address/fake_tables.ts";

installConfiguration(configurationFromText(""));

interface Row {
  config: Record<string, string>;
  request: string;
  sender: string;
  address: string;
  transport: string;
  nexthop: string;
  recipient: string;
  flags: number;
}
const rows: Row[] = JSON.parse(readFileSync("test/vectors/processing/resolve.json", "utf8"));

/** The transport file without the entry that only another test of the capture used. */
function transportTable(): AddressTables {
  const table = fileTables("transport");
  return {
    empty: false,
    lookup: (key, options) =>
      key === "remote.example" ? Promise.resolve({ kind: "absent" }) : table.lookup(key, options),
  };
}

const exactly = (...names: string[]): DomainList => ({
  matches: (domain) =>
    Promise.resolve(names.includes(lowerAscii(domain)) ? { kind: "match" } : { kind: "none" }),
});

function settingsFor(config: Record<string, string>): { settings: ResolveSettings; route: RouteSettings } {
  const isLocalDomain = (domain: string): Promise<boolean> => {
    const name = lowerAscii(domain.replace(/\.$/, ""));
    return Promise.resolve(["mail.example.com", "example.com", "localhost", "[127.0.0.1]"].includes(name));
  };
  const yes = (name: string, fallback: boolean): boolean =>
    config[name] === undefined ? fallback : config[name] === "yes";
  const parents = config.parent_domain_matches_subdomains ?? "relay_domains";
  const relay: DomainList = {
    matches: (domain) => {
      const name = lowerAscii(domain);
      const hit =
        name === "relay.example" || (parents.includes("relay_domains") && name.endsWith(".relay.example"));
      return Promise.resolve(hit ? { kind: "match" } : { kind: "none" });
    },
  };
  const rules = {
    delimiters: "+",
    ownerRequestSpecial: true,
    doubleBounceSender: "double-bounce",
    myorigin: "example.com",
    isLocalDomain,
  };
  const settings: ResolveSettings = {
    rules,
    isLocalDomain,
    rewrite: {
      swapBangpath: yes("swap_bangpath", true),
      percentHack: yes("allow_percent_hack", true),
      appendAtMyorigin: yes("append_at_myorigin", true),
      appendDotMydomain: false,
    },
    context: { origin: "example.com", domain: "example.com" },
    resolveNullDomain: yes("resolve_null_domain", false),
    resolveNumericDomain: yes("resolve_numeric_domain", false),
    resolveDequotedAddress: yes("resolve_dequoted_address", true),
    emptyAddressRecipient: "MAILER-DAEMON",
    myhostname: "mail.example.com",
    smtputf8: yes("smtputf8_enable", true),
    allowMinUser: yes("allow_min_user", false),
    showTableName: yes("show_user_unknown_table_name", true),
    relocatedPrefix: yes("relocated_prefix_enable", true),
    helpfulWarnings: true,
    emptyRelayhostKey: "<>",
    emptyDefaultTransportKey: "<>",
    virtualAliasDomains: exactly("valias.example"),
    virtualMailboxDomains: exactly("vmbox.example"),
    relayDomains: relay,
    relocated: fileTables("relocated"),
    configFile: "/etc/postfix/main.cf",
  };
  const route: RouteSettings = {
    localTransport: "local:mail.example.com",
    virtualTransport: "virtual",
    relayTransport: "relay",
    defaultTransport: config.default_transport ?? "smtp",
    relayhost: config.relayhost ?? "",
    transportMaps: new TransportMap(transportTable(), false),
    senderDependentRelayhost: fileTables("sdrelay"),
    senderDependentDefaultTransport: fileTables("sdtransport"),
    prefix: "",
  };
  return { settings, route };
}

t.test("every captured resolution", async (t) => {
  for (const row of rows) {
    const { settings, route } = settingsFor(row.config);
    const reply = await resolveAddress(encodeUtf8(row.sender), encodeUtf8(row.address), route, settings);
    t.same(
      { ...reply },
      {
        transport: row.transport,
        nexthop: encodeUtf8(row.nexthop),
        recipient: encodeUtf8(row.recipient),
        flags: row.flags,
      },
      JSON.stringify(row),
    );
  }
});
