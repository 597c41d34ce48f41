import { readFileSync } from "node:fs";
import t from "tap";
import {
  type DomainList,
  isForWholeDomain,
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

const none: AddressTables = { empty: true, lookup: () => Promise.resolve({ kind: "absent" }) };

t.test("an answer for a whole domain is that of each of its plain addresses, for every sender", async (t) => {
  const domains = [
    "mail.example.com",
    "localhost",
    "valias.example",
    "vmbox.example",
    "relay.example",
    "a.relay.example",
    "remote.example",
    "x",
    "a..b",
    "1.2.3.4",
  ];
  const locals = ["a", "postmaster", "owner-list", "a+b", "x.y", "1", "MAILER-DAEMON", "double-bounce"];
  const senders = ["", "s@example.com", "t@remote.example", "root"];
  let whole = 0;
  for (const config of [
    {},
    { relayhost: "[hop]" },
    { default_transport: "smtp:other" },
    { resolve_numeric_domain: "yes" },
  ]) {
    const { settings, route } = settingsFor(config as Record<string, string>);
    const plain = { ...settings, relocated: none };
    const simple: RouteSettings = {
      ...route,
      transportMaps: new TransportMap(none, false),
      senderDependentRelayhost: none,
      senderDependentDefaultTransport: none,
    };
    for (const domain of domains) {
      const address = `first@${domain}`;
      const reply = await resolveAddress("", address, simple, plain);
      if (!isForWholeDomain(address, reply, simple, plain)) continue;
      whole++;
      for (const local of locals)
        for (const sender of senders)
          t.same(await resolveAddress(sender, `${local}@${domain}`, simple, plain), {
            ...reply,
            recipient: `${local}@${domain}`,
          });
    }
    const reply = await resolveAddress("", "a@remote.example", simple, plain);
    t.equal(
      isForWholeDomain("a@remote.example", reply, route, plain),
      false,
      "not where transport_maps or tables of senders are set",
    );
    t.equal(
      isForWholeDomain("a@remote.example", reply, simple, settings),
      false,
      "not where relocated_maps is set",
    );
  }
  t.equal(whole, 4 * 8);
});
