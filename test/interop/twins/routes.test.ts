/** Where smtp(8) and lmtp(8) take mail to: what the DNS says, and what they make of it, is what the real Postfix makes of it. */
import type { Test } from "tap";
import type { Instance } from "../../../packaging/instance.ts";
import { until } from "../../system/support/harness.ts";
import { ownNetwork, withoutNetwork } from "../support/network.ts";
import { reference } from "../support/reference.ts";
import { type Mail, Twins } from "../support/twins.ts";

const network = await ownNetwork(import.meta.filename);
const { default: t } = await import("tap");
const programs = reference();
const options = {
  ...network,
  ...("missing" in programs ? { skip: programs.missing } : {}),
  timeout: 200_000,
};
t.setTimeout(240_000);

/** A domain, the settings of the client, and the mail to it. */
interface Case {
  readonly name: string;
  /** Records; `%` is the domain. */
  readonly zone?: string;
  /** Overrides: `smtp_mx_address_limit=1`. */
  readonly settings?: ReadonlyArray<string>;
  readonly lmtp?: true;
  readonly alone?: true;
  /** In place of the domain. */
  readonly nexthop?: string;
  readonly to?: ReadonlyArray<string>;
  readonly mail?: Partial<Omit<Mail, "name">>;
}

const SERVERS = {
  ok: { address: "NET.0.10", script: {} },
  ok2: { address: "NET.0.11", script: {} },
  ok3: { address: "NET.0.12", script: {} },
  ok6: { address: "NET6:10", script: {} },
  greet421: { address: "NET.0.20", script: { greet: "421 4.3.2 not now" } },
  greet554: { address: "NET.0.21", script: { greet: "554 5.7.1 go away" } },
  mail450: { address: "NET.0.22", script: { replies: [["MAIL", "450 4.7.1 one"]] } },
  rcpt450: { address: "NET.0.23", script: { replies: [["RCPT TO:<b", "450 4.2.1 no b"]] } },
  mail550: { address: "NET.0.24", script: { replies: [["MAIL", "550 5.7.1 no"]] } },
  drop: { address: "NET.0.25", script: { greet: "DROP" } },
  mail451: { address: "NET.0.26", script: { replies: [["MAIL", "451 4.7.1 two"]] } },
  mail452: { address: "NET.0.27", script: { replies: [["MAIL", "452 4.7.1 three"]] } },
  ehlo421: { address: "NET.0.28", script: { replies: [["EHLO", "421 4.3.2 hello?"]] } },
  own: { address: "NET.0.29", script: { ehlo: ["mail.posthaste.test Hello"] } },
  port: { address: "NET.0.10 2525", script: {} },
  port2: { address: "NET.0.11 2526", script: {} },
} as const;

const many = (count: number, line: (n: number) => string): string =>
  Array.from({ length: count }, (_, index) => line(index + 1)).join("\n");
const failing = "% MX 10 a.%\n% MX 20 b.%\n% MX 30 c.%\na.% A NET.0.22\nb.% A NET.0.26\nc.% A NET.0.27";
const refused6 = `% MX 10 a.%\n${many(6, (n) => `a.% AAAA NET6:3${n}`)}\n${many(4, (n) => `a.% A NET.0.3${n}`)}`;
const BOTH = ["inet_protocols=all"];

const CASES: ReadonlyArray<Case> = [
  // what a domain may be
  { name: "address-only", zone: "% A NET.0.10" },
  { name: "six-only", zone: "% AAAA NET6:10", settings: BOTH },
  { name: "six-disabled", zone: "% AAAA NET6:10" },
  {
    name: "four-disabled",
    zone: "% A NET.0.10",
    settings: ["inet_protocols=ipv6", "inet_interfaces=NET6:1"],
  },
  { name: "mx-six-disabled", zone: "% MX 10 a.%\na.% AAAA NET6:10" },
  { name: "nothing", zone: "% TXT nothing" },
  { name: "below", zone: "x.% TXT nothing" },
  { name: "absent" },
  { name: "servfail", nexthop: "servfail.broken.test" },
  { name: "servfail-literal", nexthop: "[servfail.broken.test]" },
  {
    name: "servfail-ignored",
    nexthop: "servfail.broken.test",
    settings: ["ignore_mx_lookup_error=yes"],
  },
  { name: "null-mx", zone: "% MX 0 .\n% A NET.0.10" },
  { name: "null-mx-ten", zone: "% MX 10 ." },
  { name: "null-mx-and-more", zone: "% MX 0 .\n% MX 10 a.%\na.% A NET.0.10" },
  { name: "null-mx-last", zone: "% MX 10 a.%\n% MX 20 .\na.% A NET.0.10" },
  { name: "null-mx-fallback", zone: "% MX 0 .", settings: ["smtp_fallback_relay=[NET.0.10]"] },
  { name: "UPPER", zone: "% MX 10 A.%\na.% A NET.0.10", nexthop: "UPPER.TEST" },
  { name: "dot", alone: true, zone: "% A NET.0.10", nexthop: "dot.test." },
  { name: "underscore", zone: "% MX 10 a_b.%\na_b.% A NET.0.10" },
  { name: "hyphen", zone: "% MX 10 -a.%\n% MX 20 b.%\n-a.% A NET.0.11\nb.% A NET.0.10" },
  { name: "odd-host", zone: "% MX 10 a!b.%\n% MX 20 b.%\na!b.% A NET.0.11\nb.% A NET.0.10" },
  { name: "odd-host-only", zone: "% MX 10 a!b.%\na!b.% A NET.0.11\n% A NET.0.10" },
  { name: "numeric-host", zone: "% MX 10 NET.0.10." },
  { name: "numeric-and-more", zone: "% MX 10 NET.0.31.\n% MX 20 b.%\nb.% A NET.0.10" },
  { name: "numeric-only-name", zone: "% MX 10 12345.\n% MX 20 b.%\nb.% A NET.0.10" },
  { name: "escaped", zone: "% MX 10 a\\.b.%\n% MX 20 c\\032d.%\n% MX 30 b.%\nb.% A NET.0.10" },
  { name: "long-label", zone: `% MX 10 ${"l".repeat(63)}.%\n${"l".repeat(63)}.% A NET.0.10` },
  { name: "bad-domain", alone: true, nexthop: "a..b.test" },
  { name: "bad-domain-hyphen", alone: true, nexthop: "-a.test" },
  { name: "one-label", zone: "one-label A NET.0.10", nexthop: "one-label" },
  {
    name: "truncated",
    zone: `${many(60, (n) => `% MX ${n} ${"x".repeat(40)}${n}.%`)}\n${"x".repeat(40)}60.% A NET.0.10`,
  },
  {
    name: "hundred-more",
    zone: `${many(120, (n) => `% MX ${n} h${n}.%`)}\nh110.% A NET.0.11\nh7.% A NET.0.10`,
  },
  {
    name: "hundred-addresses",
    zone: `${many(60, (n) => `% MX ${n} h${n}.%`)}\n${many(60, (n) => `h${n}.% A NET.1.${n}\nh${n}.% A NET.2.${n}`)}`,
  },
  {
    name: "idn",
    zone: "xn--bcher-kva.test MX 10 a.%\na.% A NET.0.10",
    nexthop: "b\u00dccher.test",
  },
  {
    name: "idn-deviation",
    zone: "xn--fa-hia.test A NET.0.10\nfass.test A NET.0.30",
    nexthop: "fa\u00df.test",
  },
  { name: "idn-mx", zone: "% MX 10 xn--bcher-kva.%\nxn--bcher-kva.% A NET.0.10" },
  { name: "idn-absent", nexthop: "b\u00fccher.absent.test" },
  { name: "idn-broken", nexthop: "b\u00fccher.broken.test" },
  { name: "idn-self", zone: "xn--sbst-loa.test A NET.0.1", nexthop: "s\u00eblbst.test" },
  { name: "idn-disallowed", alone: true, nexthop: "b\u0085.test" },
  { name: "idn-literal", zone: "xn--bcher-kva.% A NET.0.10", nexthop: "[b\u00fccher.idn-literal.test]" },
  // names that lead elsewhere
  { name: "alias", zone: "% CNAME real.%\nreal.% MX 10 a.%\na.% A NET.0.10" },
  { name: "alias-address", zone: "% CNAME real.%\nreal.% A NET.0.10" },
  { name: "alias-mx-host", zone: "% MX 10 a.%\na.% CNAME b.%\nb.% A NET.0.10" },
  {
    name: "alias-overrides",
    zone: "% MX 10 a.%\na.% CNAME b.%\nb.% A NET.0.10",
    settings: ["smtp_cname_overrides_servername=yes"],
  },
  {
    name: "alias-overrides-domain",
    zone: "% CNAME real.%\nreal.% A NET.0.10",
    settings: ["smtp_cname_overrides_servername=yes"],
  },
  { name: "alias-nowhere", zone: "% CNAME real.%" },
  { name: "alias-nothing", zone: "% CNAME real.%\nreal.% TXT nothing" },
  { name: "alias-ring", zone: "% CNAME real.%\nreal.% CNAME %" },
  { name: "alias-self", zone: "% CNAME %" },
  {
    name: "alias-nine",
    zone: `% CNAME c1.%\n${many(8, (n) => `c${n}.% CNAME c${n + 1}.%`)}\nc9.% A NET.0.10`,
  },
  {
    name: "alias-ten",
    zone: `% CNAME c1.%\n${many(9, (n) => `c${n}.% CNAME c${n + 1}.%`)}\nc10.% A NET.0.10`,
  },
  {
    name: "alias-twelve",
    zone: `% CNAME c1.%\n${many(11, (n) => `c${n}.% CNAME c${n + 1}.%`)}\nc12.% A NET.0.10`,
  },
  { name: "alias-broken", zone: "% CNAME x.broken.test" },
  { name: "alias-odd", zone: "% CNAME a!b.test\na!b.test A NET.0.10" },
  {
    name: "alias-odd-address",
    zone: "% MX 10 a.%\n% MX 20 b.%\na.% CNAME a!c.%\na!c.% A NET.0.11\nb.% A NET.0.10",
  },
  {
    name: "alias-odd-second",
    zone: "% A NET.0.10\n% MX 10 a.%\na.% CNAME c.%\nc.% CNAME a!c.%\na!c.% A NET.0.11",
  },
  { name: "mx-alias-ring", zone: "% MX 10 a.%\na.% CNAME b.%\nb.% CNAME a.%" },
  // several servers
  {
    name: "order",
    zone: "% MX 30 c.%\n% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.30\nb.% A NET.0.20\nc.% A NET.0.10",
  },
  { name: "greet554", zone: "% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.21\nb.% A NET.0.10" },
  {
    name: "greet554-final",
    zone: "% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.21\nb.% A NET.0.10",
    settings: ["smtp_skip_5xx_greeting=no"],
  },
  { name: "greet554-all", zone: "% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.21\nb.% A NET.0.21" },
  { name: "drops", zone: "% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.25\nb.% A NET.0.10" },
  { name: "all-drop", zone: "% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.25\nb.% A NET.0.25" },
  { name: "ehlo421", zone: "% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.28\nb.% A NET.0.10" },
  { name: "mail550", zone: "% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.24\nb.% A NET.0.10" },
  { name: "some", zone: "% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.23\nb.% A NET.0.10", to: ["a", "b", "c"] },
  {
    name: "all-fail",
    zone: "% MX 10 a.%\n% MX 20 b.%\n% MX 30 c.%\na.% A NET.0.30\nb.% A NET.0.20\nc.% A NET.0.25",
  },
  { name: "all-refuse", zone: "% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.30\na.% A NET.0.31\nb.% A NET.0.32" },
  { name: "host-absent", zone: "% MX 10 a.%\n% MX 20 b.%\nb.% A NET.0.10" },
  { name: "hosts-absent", zone: "% MX 10 a.%\n% MX 20 b.%\n% A NET.0.10" },
  {
    name: "hosts-absent-deferred",
    zone: "% MX 10 a.%\n% MX 20 b.%",
    settings: ["smtp_defer_if_no_mx_address_found=yes"],
  },
  { name: "hosts-nothing", zone: "% MX 10 a.%\na.% TXT nothing" },
  { name: "hosts-broken", zone: "% MX 10 a.broken.test\n% MX 20 b.%" },
  { name: "hosts-broken-last", zone: "% MX 10 b.%\n% MX 20 a.broken.test" },
  { name: "hosts-broken-one", zone: "% MX 10 a.broken.test\n% MX 20 b.%\nb.% A NET.0.10" },
  { name: "same-twice", zone: "% MX 10 a.%\n% MX 20 a.%\na.% A NET.0.30" },
  ...[0, 1, 2, 3].map(
    (limit): Case => ({
      name: `sessions-${limit}`,
      zone: failing,
      settings: [`smtp_mx_session_limit=${limit}`],
    }),
  ),
  { name: "sessions-refused", zone: `% MX 1 d.%\nd.% A NET.0.20\n% MX 2 e.%\ne.% A NET.0.28\n${failing}` },
  ...[0, 1, 2, 3, 5].map(
    (limit): Case => ({
      name: `addresses-${limit}`,
      zone: `% MX 10 a.%\n% MX 20 b.%\n${many(4, (n) => `a.% A NET.0.3${n}`)}\n${many(3, (n) => `b.% A NET.0.4${n}`)}`,
      settings: [`smtp_mx_address_limit=${limit}`],
    }),
  ),
  // families
  ...["ipv4", "ipv6", "any"].flatMap((preference) =>
    ["yes", "no"].map(
      (balance): Case => ({
        name: `family-${preference}-${balance}`,
        zone: refused6,
        settings: [
          ...BOTH,
          `smtp_address_preference=${preference}`,
          `smtp_balance_inet_protocols=${balance}`,
        ],
      }),
    ),
  ),
  ...[1, 2, 3, 4, 6].map(
    (limit): Case => ({
      name: `family-limit-${limit}`,
      zone: refused6,
      settings: [...BOTH, "smtp_address_preference=ipv6", `smtp_mx_address_limit=${limit}`],
    }),
  ),
  {
    name: "family-mx",
    zone: "% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.31\na.% AAAA NET6:31\nb.% A NET.0.32\nb.% AAAA NET6:32",
    settings: [...BOTH, "smtp_address_preference=ipv6"],
  },
  {
    name: "family-few-six",
    zone: `% MX 10 a.%\na.% AAAA NET6:31\n${many(8, (n) => `a.% A NET.0.3${n}`)}`,
    settings: [...BOTH, "smtp_address_preference=ipv4"],
  },
  {
    name: "family-few-four",
    zone: `% MX 10 a.%\na.% A NET.0.31\n${many(8, (n) => `a.% AAAA NET6:3${n}`)}`,
    settings: [...BOTH, "smtp_address_preference=ipv6"],
  },
  { name: "family-literal", nexthop: "[NET6:10]", settings: BOTH },
  { name: "family-literal-prefix", nexthop: "[ipv6:NET6:10]", settings: BOTH },
  { name: "family-literal-disabled", nexthop: "[NET6:10]" },
  { name: "family-bind", zone: "% AAAA NET6:10", settings: [...BOTH, "smtp_bind_address6=NET6:7"] },
  // ourselves
  { name: "self", zone: "% MX 10 mail.%\nmail.% A NET.0.1" },
  { name: "self-address", zone: "% A NET.0.1" },
  { name: "self-literal", nexthop: "[NET.0.1]" },
  { name: "self-port", zone: "% MX 10 mail.%\nmail.% A NET.0.1", nexthop: "self-port.test:2525" },
  { name: "self-first", zone: "% MX 10 mail.%\n% MX 20 b.%\nmail.% A NET.0.1\nb.% A NET.0.10" },
  { name: "self-equal", zone: "% MX 10 a.%\n% MX 10 mail.%\na.% A NET.0.10\nmail.% A NET.0.1" },
  { name: "self-second", zone: "% MX 10 a.%\n% MX 20 mail.%\na.% A NET.0.10\nmail.% A NET.0.1" },
  {
    name: "self-second-fails",
    zone: "% MX 10 a.%\n% MX 20 mail.%\n% MX 30 c.%\na.% A NET.0.30\nmail.% A NET.0.1\nc.% A NET.0.10",
  },
  {
    name: "self-fallback",
    zone: "% MX 10 a.%\n% MX 20 mail.%\na.% A NET.0.30\nmail.% A NET.0.1",
    settings: ["smtp_fallback_relay=[NET.0.10]"],
  },
  {
    name: "self-first-fallback",
    zone: "% MX 10 mail.%\nmail.% A NET.0.1",
    settings: ["smtp_fallback_relay=[NET.0.10]"],
  },
  { name: "self-better-absent", zone: "% MX 10 a.%\n% MX 20 mail.%\nmail.% A NET.0.1" },
  { name: "self-better-broken", zone: "% MX 10 a.broken.test\n% MX 20 mail.%\nmail.% A NET.0.1" },
  {
    name: "self-better-absent-fallback",
    zone: "% MX 10 a.%\n% MX 20 mail.%\nmail.% A NET.0.1",
    settings: ["smtp_fallback_relay=[NET.0.10]"],
  },
  { name: "self-proxy", zone: "% MX 10 a.%\na.% A NET.0.9", settings: ["proxy_interfaces=NET.0.9"] },
  {
    name: "self-best-mx",
    zone: "% MX 10 mail.%\nmail.% A NET.0.1",
    settings: ["best_mx_transport=discard:best"],
    to: ["a", "b"],
  },
  {
    name: "self-best-mx-second",
    zone: "% MX 10 a.%\n% MX 20 mail.%\nmail.% A NET.0.1",
    settings: ["best_mx_transport=discard:best"],
  },
  { name: "self-other-loopback", zone: "% MX 10 mail.%\nmail.% A 127.0.0.1" },
  { name: "self-name", zone: "% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.29\nb.% A NET.0.10" },
  { name: "self-name-second", zone: "% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.30\nb.% A NET.0.29" },
  { name: "self-name-list", nexthop: "[NET.0.31], [NET.0.29]" },
  { name: "self-list", nexthop: "[NET.0.31], [NET.0.1]:25" },
  { name: "self-name-port", nexthop: "[NET.0.29]" },
  // services
  {
    name: "srv",
    zone: "_submission._tcp.% SRV 20 0 2526 b.%\n_submission._tcp.% SRV 10 0 2527 a.%\na.% A NET.0.10\nb.% A NET.0.11",
    nexthop: "srv.test:submission",
    settings: ["use_srv_lookup=submission"],
  },
  {
    name: "srv-unused",
    zone: "_submission._tcp.% SRV 10 0 2525 a.%\na.% A NET.0.10\n% A NET.0.30",
    nexthop: "srv-unused.test:submission",
  },
  {
    name: "srv-smtp",
    zone: "_smtp._tcp.% SRV 10 0 2525 a.%\na.% A NET.0.10\n% MX 10 c.%",
    settings: ["use_srv_lookup=smtp"],
  },
  {
    name: "srv-number",
    zone: "_25._tcp.% SRV 10 0 2525 a.%\na.% A NET.0.10\n% MX 10 c.%",
    nexthop: "srv-number.test:25",
    settings: ["use_srv_lookup=smtp 25"],
  },
  {
    name: "srv-literal",
    zone: "_submission._tcp.% SRV 10 0 2525 a.%\na.% A NET.0.10\n% A NET.0.30",
    nexthop: "[srv-literal.test]:submission",
    settings: ["use_srv_lookup=submission"],
  },
  {
    name: "srv-null",
    zone: "_submission._tcp.% SRV 0 0 0 .",
    nexthop: "srv-null.test:submission",
    settings: ["use_srv_lookup=submission"],
  },
  {
    name: "srv-null-fallback",
    zone: "_submission._tcp.% SRV 0 0 0 .",
    nexthop: "srv-null-fallback.test:submission",
    settings: ["use_srv_lookup=submission", "allow_srv_lookup_fallback=yes", "ignore_srv_lookup_error=yes"],
  },
  {
    name: "srv-null-and-more",
    zone: "_submission._tcp.% SRV 10 0 2525 a.%\n_submission._tcp.% SRV 0 0 0 .\na.% A NET.0.10",
    nexthop: "srv-null-and-more.test:submission",
    settings: ["use_srv_lookup=submission"],
  },
  ...["ignore_srv_lookup_error", "allow_srv_lookup_fallback"].flatMap((setting): Case[] => {
    const settings = ["use_srv_lookup=submission", `${setting}=yes`];
    const each = (what: string, zone?: string): Case => {
      const name = `${what}-${setting.slice(0, 5)}`;
      return { name, zone: `${zone}\n% A NET.0.30`, nexthop: `${name}.test:submission`, settings };
    };
    return [
      each("srv-null", "_submission._tcp.% SRV 0 0 0 ."),
      each("srv-target-absent", "_submission._tcp.% SRV 10 0 2525 a.%"),
      each("srv-target-nothing", "_submission._tcp.% SRV 10 0 2525 a.%\na.% TXT x"),
      each("srv-target-broken", "_submission._tcp.% SRV 10 0 2525 a.broken.test"),
      each("srv-ring", "_submission._tcp.% CNAME a.%\na.% CNAME _submission._tcp.%"),
      each("srv-odd", "_submission._tcp.% SRV 10 0 2525 a!b.%"),
    ];
  }),
  {
    name: "srv-absent",
    zone: "% MX 10 a.%\na.% A NET.0.10",
    nexthop: "srv-absent.test:submission",
    settings: ["use_srv_lookup=submission"],
  },
  {
    name: "srv-absent-ignored",
    zone: "% MX 10 a.%\na.% A NET.0.10",
    nexthop: "srv-absent-ignored.test:submission",
    settings: ["use_srv_lookup=submission", "ignore_srv_lookup_error=yes"],
  },
  {
    name: "srv-absent-fallback",
    zone: "% MX 10 a.%\na.% A NET.0.10",
    nexthop: "srv-absent-fallback.test:submission",
    settings: ["use_srv_lookup=submission", "allow_srv_lookup_fallback=yes"],
  },
  {
    name: "srv-nothing",
    zone: "_submission._tcp.% TXT x\n% MX 10 a.%\na.% A NET.0.10",
    nexthop: "srv-nothing.test:submission",
    settings: ["use_srv_lookup=submission"],
  },
  {
    name: "srv-broken",
    nexthop: "x.broken.test:submission",
    settings: ["use_srv_lookup=submission"],
  },
  {
    name: "srv-broken-ignored",
    nexthop: "x.broken.test:submission",
    settings: ["use_srv_lookup=submission", "ignore_srv_lookup_error=yes"],
  },
  {
    name: "srv-broken-fallback",
    nexthop: "x.broken.test:submission",
    settings: ["use_srv_lookup=submission", "allow_srv_lookup_fallback=yes"],
  },
  {
    name: "srv-target-absent",
    zone: "_submission._tcp.% SRV 10 0 2525 a.%\n% A NET.0.10",
    nexthop: "srv-target-absent.test:submission",
    settings: ["use_srv_lookup=submission", "allow_srv_lookup_fallback=yes"],
  },
  {
    name: "srv-target-broken",
    zone: "_submission._tcp.% SRV 10 0 2525 a.broken.test\n_submission._tcp.% SRV 20 0 2525 b.%",
    nexthop: "srv-target-broken.test:submission",
    settings: ["use_srv_lookup=submission"],
  },
  {
    name: "srv-target-odd",
    zone: "_submission._tcp.% SRV 10 0 2525 a!b.%\n_submission._tcp.% SRV 20 0 2525 b.%\nb.% A NET.0.10",
    nexthop: "srv-target-odd.test:submission",
    settings: ["use_srv_lookup=submission"],
  },
  {
    name: "srv-self",
    zone: "_submission._tcp.% SRV 10 0 25 a.%\na.% A NET.0.1",
    nexthop: "srv-self.test:submission",
    settings: ["use_srv_lookup=submission"],
  },
  {
    name: "srv-limit",
    zone: `${many(4, (n) => `_submission._tcp.% SRV ${n} 0 2530 h${n}.%`)}\n${many(4, (n) => `h${n}.% A NET.0.3${n}\nh${n}.% AAAA NET6:3${n}`)}`,
    nexthop: "srv-limit.test:submission",
    settings: [...BOTH, "use_srv_lookup=submission", "smtp_address_preference=ipv6"],
  },
  {
    name: "srv-families",
    zone: "_submission._tcp.% SRV 10 0 2530 a.%\na.% A NET.0.31\na.% AAAA NET6:31",
    nexthop: "srv-families.test:submission",
    settings: [...BOTH, "use_srv_lookup=submission", "smtp_address_preference=ipv4"],
  },
  {
    name: "srv-overrides",
    zone: "_submission._tcp.% SRV 10 0 2525 a.%\na.% CNAME b.%\nb.% A NET.0.10",
    nexthop: "srv-overrides.test:submission",
    settings: ["use_srv_lookup=submission", "smtp_cname_overrides_servername=yes"],
  },
  {
    name: "srv-lmtp",
    lmtp: true,
    zone: "_lmtp._tcp.% SRV 10 0 2525 a.%\na.% A NET.0.10",
    nexthop: "srv-lmtp.test:lmtp",
    settings: ["use_srv_lookup=lmtp"],
  },
  {
    name: "srv-lmtp-absent",
    lmtp: true,
    zone: "% A NET.0.30",
    nexthop: "inet:srv-lmtp-absent.test:lmtp",
    settings: ["use_srv_lookup=lmtp", "allow_srv_lookup_fallback=yes"],
  },
  // filters of replies
  {
    name: "filter",
    zone: "% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.11\nb.% A NET.0.10",
    settings: ["smtp_dns_reply_filter=pcre:DIR/config/dns_filter"],
  },
  {
    name: "filter-all",
    zone: "% MX 10 a.%",
    settings: ["smtp_dns_reply_filter=pcre:DIR/config/dns_filter"],
  },
  {
    name: "filter-address",
    zone: "% A NET.0.10",
    settings: ["smtp_dns_reply_filter=pcre:DIR/config/dns_filter"],
  },
  {
    name: "filter-host",
    zone: "% MX 10 hidden.%\nhidden.% A NET.0.10",
    settings: ["smtp_dns_reply_filter=pcre:DIR/config/dns_filter"],
  },
  {
    name: "filter-one-host",
    zone: "% MX 10 hidden.%\n% MX 20 b.%\nhidden.% A NET.0.11\nb.% A NET.0.10",
    settings: ["smtp_dns_reply_filter=pcre:DIR/config/dns_filter"],
  },
  {
    name: "filter-six",
    zone: "% MX 10 hidden.%\nhidden.% A NET.0.10\nhidden.% AAAA NET6:10",
    settings: [...BOTH, "smtp_dns_reply_filter=pcre:DIR/config/dns_filter"],
  },
  {
    name: "filter-nonsense",
    zone: "% MX 10 a.%\na.% A NET.0.10",
    settings: ["smtp_dns_reply_filter=pcre:DIR/config/dns_filter"],
  },
  {
    name: "filter-nonsense-argument",
    zone: "% MX 10 a.%\na.% A NET.0.10",
    settings: ["smtp_dns_reply_filter=pcre:DIR/config/dns_filter"],
  },
  {
    name: "filter-mixed",
    zone: "% MX 10 a.%\n% MX 20 b.%\n% MX 30 c.%\nc.% A NET.0.10",
    settings: ["smtp_dns_reply_filter=pcre:DIR/config/dns_filter"],
  },
  {
    name: "filter-lower",
    zone: "% MX 10 a.%\na.% A NET.0.10",
    settings: ["smtp_dns_reply_filter=pcre:DIR/config/dns_filter"],
  },
  {
    name: "filter-argument",
    zone: "% MX 10 a.%\na.% A NET.0.10",
    settings: ["smtp_dns_reply_filter=pcre:DIR/config/dns_filter"],
  },
  {
    name: "filter-alias",
    zone: "% CNAME b.%\nb.% MX 10 a.%\na.% A NET.0.10",
    settings: ["smtp_dns_reply_filter=pcre:DIR/config/dns_filter"],
  },
  {
    name: "filter-absent",
    zone: "% A NET.0.10",
    settings: ["smtp_dns_reply_filter=texthash:DIR/config/nowhere"],
  },
  {
    name: "filter-srv",
    zone: "_submission._tcp.% SRV 10 0 2525 a.%\n_submission._tcp.% SRV 20 0 2525 b.%\na.% A NET.0.11\nb.% A NET.0.10",
    nexthop: "filter-srv.test:submission",
    settings: ["use_srv_lookup=submission", "smtp_dns_reply_filter=pcre:DIR/config/dns_filter"],
  },
  // the resolver, and other ways to addresses
  { name: "search", zone: "search.posthaste.test A NET.0.10", nexthop: "search" },
  {
    name: "search-defnames",
    zone: "search-defnames.posthaste.test A NET.0.10",
    nexthop: "search-defnames",
    settings: ["smtp_dns_resolver_options=res_defnames"],
  },
  {
    name: "search-dnsrch",
    zone: "a.search-dnsrch.posthaste.test MX 10 b.search-dnsrch.posthaste.test\nb.search-dnsrch.posthaste.test A NET.0.10",
    nexthop: "a.search-dnsrch",
    settings: ["smtp_dns_resolver_options=res_defnames, res_dnsrch"],
  },
  {
    name: "search-one",
    zone: "search-one.posthaste.test A NET.0.10",
    nexthop: "search-one",
    settings: ["smtp_dns_resolver_options=res_dnsrch"],
  },
  {
    name: "search-dotted",
    zone: "a.search-dotted.posthaste.test A NET.0.10",
    nexthop: "a.search-dotted",
    settings: ["smtp_dns_resolver_options=res_dnsrch"],
  },
  {
    name: "search-dotted-defnames",
    zone: "a.search-dd.posthaste.test A NET.0.10",
    nexthop: "a.search-dd",
    settings: ["smtp_dns_resolver_options=res_defnames"],
  },
  {
    name: "search-second",
    zone: "search-second.second.test A NET.0.10",
    nexthop: "search-second",
    settings: ["smtp_dns_resolver_options=res_dnsrch"],
  },
  {
    name: "search-second-defnames",
    zone: "search-sd.second.test A NET.0.10",
    nexthop: "search-sd",
    settings: ["smtp_dns_resolver_options=res_defnames"],
  },
  {
    name: "search-both",
    zone: "search-both.second.test MX 10 search-both\nsearch-both.posthaste.test A NET.0.10",
    nexthop: "search-both",
    settings: ["smtp_dns_resolver_options=res_defnames, res_dnsrch"],
  },
  {
    name: "search-second-both",
    zone: "search-sb.second.test A NET.0.10",
    nexthop: "search-sb",
    settings: ["smtp_dns_resolver_options=res_defnames, res_dnsrch"],
  },
  {
    name: "search-nothing-both",
    zone: "search-nb.posthaste.test TXT x\nsearch-nb.second.test A NET.0.10",
    nexthop: "search-nb",
    settings: ["smtp_dns_resolver_options=res_defnames, res_dnsrch"],
  },
  {
    name: "search-as-is",
    zone: "search-as-is A NET.0.10",
    nexthop: "search-as-is",
    settings: ["smtp_dns_resolver_options=res_defnames, res_dnsrch"],
  },
  {
    name: "search-as-is-defnames",
    zone: "search-aid A NET.0.10",
    nexthop: "search-aid",
    settings: ["smtp_dns_resolver_options=res_defnames"],
  },
  {
    name: "search-mx-dnsrch",
    zone: "a.search-mx-dnsrch.posthaste.test MX 10 b.%\nb.% A NET.0.10",
    nexthop: "a.search-mx-dnsrch",
    settings: ["smtp_dns_resolver_options=res_dnsrch"],
  },
  {
    name: "search-a-dnsrch",
    zone: "a.search-a-dnsrch.posthaste.test A NET.0.10",
    nexthop: "a.search-a-dnsrch",
    settings: ["smtp_dns_resolver_options=res_dnsrch"],
  },
  {
    name: "search-mx-defnames",
    zone: "search-mx-defnames.posthaste.test MX 10 b.%\nb.% A NET.0.10",
    nexthop: "search-mx-defnames",
    settings: ["smtp_dns_resolver_options=res_defnames"],
  },
  {
    name: "search-a-defnames",
    zone: "search-a-defnames.posthaste.test A NET.0.10",
    nexthop: "search-a-defnames",
    settings: ["smtp_dns_resolver_options=res_defnames"],
  },
  {
    name: "search-mx-both",
    zone: "a.search-mx-both.posthaste.test MX 10 b.%\nb.% A NET.0.10",
    nexthop: "a.search-mx-both",
    settings: ["smtp_dns_resolver_options=res_defnames, res_dnsrch"],
  },
  {
    name: "search-a-both",
    zone: "a.search-a-both.posthaste.test A NET.0.10",
    nexthop: "a.search-a-both",
    settings: ["smtp_dns_resolver_options=res_defnames, res_dnsrch"],
  },
  {
    name: "search-mx-both-one",
    zone: "search-mx-both-one.posthaste.test MX 10 b.%\nb.% A NET.0.10",
    nexthop: "search-mx-both-one",
    settings: ["smtp_dns_resolver_options=res_defnames, res_dnsrch"],
  },
  {
    name: "search-a-both-one",
    zone: "search-a-both-one.posthaste.test A NET.0.10",
    nexthop: "search-a-both-one",
    settings: ["smtp_dns_resolver_options=res_defnames, res_dnsrch"],
  },
  {
    name: "search-nothing",
    zone: "search-nothing TXT x\nsearch-nothing.posthaste.test A NET.0.10",
    nexthop: "search-nothing",
    settings: ["smtp_dns_resolver_options=res_dnsrch"],
  },
  {
    name: "search-nothing-first",
    zone: "search-nf.posthaste.test TXT x\nsearch-nf.second.test A NET.0.10",
    nexthop: "search-nf",
    settings: ["smtp_dns_resolver_options=res_dnsrch"],
  },
  {
    name: "search-absent",
    nexthop: "search-absent",
    settings: ["smtp_dns_resolver_options=res_defnames,res_dnsrch"],
  },
  { name: "native", zone: "% A NET.0.10", settings: ["smtp_host_lookup=native"] },
  {
    name: "native-hosts",
    zone: "% A NET.0.30",
    nexthop: "native-hosts.hosts",
    settings: ["smtp_host_lookup=native"],
  },
  { name: "native-mx", zone: "% MX 10 native-mx.hosts", settings: ["smtp_host_lookup=native"] },
  { name: "native-second", nexthop: "native-second.hosts", settings: ["smtp_host_lookup=dns,native"] },
  {
    name: "native-first",
    zone: "% A NET.0.30\n% AAAA NET6:30",
    nexthop: "native-first.hosts",
    settings: ["smtp_host_lookup=native,dns"],
  },
  { name: "native-absent", settings: ["smtp_host_lookup=native"] },
  { name: "native-absent-mx", zone: "% MX 10 a.%\n% MX 20 b.%", settings: ["smtp_host_lookup=native"] },
  { name: "native-both-absent", settings: ["smtp_host_lookup=dns,native"] },
  { name: "native-nothing", zone: "% TXT x", settings: ["smtp_host_lookup=native"] },
  { name: "native-nothing-mx", zone: "% MX 10 a.%\na.% TXT x", settings: ["smtp_host_lookup=native"] },
  { name: "native-six-only", zone: "% AAAA NET6:10", settings: ["smtp_host_lookup=native"] },
  { name: "native-six", zone: "% AAAA NET6:10", settings: [...BOTH, "smtp_host_lookup=native"] },
  {
    name: "native-both",
    zone: "% AAAA NET6:30\n% A NET.0.30",
    settings: [...BOTH, "smtp_host_lookup=native", "smtp_address_preference=ipv4"],
  },
  { name: "native-broken", nexthop: "native.broken.test", settings: ["smtp_host_lookup=native"] },
  {
    name: "native-broken-literal",
    nexthop: "[native.broken.test]",
    settings: [...BOTH, "smtp_host_lookup=native"],
  },
  {
    name: "native-broken-mx",
    zone: "% MX 10 a.broken.test\n% MX 20 b.%",
    settings: [...BOTH, "smtp_host_lookup=native"],
  },
  {
    name: "native-search",
    zone: "native-search.posthaste.test A NET.0.10",
    nexthop: "[native-search]",
    settings: ["smtp_host_lookup=native"],
  },
  { name: "dns-disabled", zone: "% A NET.0.10\n% MX 10 a.%", settings: ["smtp_dns_support_level=disabled"] },
  { name: "dns-disabled-absent", settings: ["smtp_dns_support_level=disabled"] },
  { name: "dns-disabled-old", zone: "% A NET.0.10\n% MX 10 a.%", settings: ["disable_dns_lookups=yes"] },
  {
    name: "dns-disabled-srv",
    zone: "_submission._tcp.% SRV 10 0 2525 a.%\na.% A NET.0.10\n% A NET.0.30",
    nexthop: "dns-disabled-srv.test:submission",
    settings: ["smtp_dns_support_level=disabled", "use_srv_lookup=submission"],
  },
  // relays behind
  { name: "fallback", zone: "% A NET.0.30", settings: ["smtp_fallback_relay=relay.test"] },
  { name: "fallback-absent-domain", settings: ["smtp_fallback_relay=relay.test"] },
  { name: "fallback-550", zone: "% A NET.0.24", settings: ["smtp_fallback_relay=relay.test"] },
  { name: "fallback-450", zone: "% A NET.0.22", settings: ["smtp_fallback_relay=relay.test"] },
  { name: "fallback-554", zone: "% A NET.0.21", settings: ["smtp_fallback_relay=relay.test"] },
  {
    name: "fallback-some",
    zone: "% A NET.0.23",
    settings: ["smtp_fallback_relay=relay.test"],
    to: ["a", "b"],
  },
  { name: "fallback-broken", nexthop: "x.broken.test", settings: ["smtp_fallback_relay=relay.test"] },
  {
    name: "fallback-several",
    zone: "% A NET.0.30",
    settings: ["smtp_fallback_relay=[NET.0.31], nohost.test, relay.test:2525"],
  },
  { name: "fallback-absent", zone: "% A NET.0.30", settings: ["smtp_fallback_relay=nohost.test"] },
  { name: "fallback-self", zone: "% A NET.0.30", settings: ["smtp_fallback_relay=[NET.0.1]"] },
  { name: "fallback-null", zone: "% A NET.0.30", settings: ["smtp_fallback_relay=null-mx.test"] },
  { name: "fallback-fails", zone: "% A NET.0.30", settings: ["smtp_fallback_relay=[NET.0.22]"] },
  { name: "fallback-554-fails", zone: "% A NET.0.30", settings: ["smtp_fallback_relay=[NET.0.24]"] },
  {
    name: "fallback-sessions",
    zone: failing,
    settings: ["smtp_mx_session_limit=1", "smtp_fallback_relay=[NET.0.22], [NET.0.10]"],
  },
  { name: "list", nexthop: "nohost.test, list.test", zone: "% A NET.0.10" },
  { name: "list-null", nexthop: "null-mx.test, list-null.test", zone: "% A NET.0.10" },
  { name: "list-self", nexthop: "self.test, list-self.test", zone: "% A NET.0.10" },
  { name: "list-broken", nexthop: "x.broken.test nohost.test" },
  { name: "list-broken-first", nexthop: "nohost.test,x.broken.test" },
  { name: "relayhost-absent", settings: ["relayhost=relayhost-absent.test"] },
  { name: "relayhost-null", zone: "% MX 0 .", settings: ["relayhost=RELAYHOST-NULL.test"] },
  { name: "relayhost-self", zone: "% A NET.0.1", settings: ["relayhost=relayhost-self.test"] },
  { name: "relayhost-null-exact", zone: "% MX 0 .", settings: ["relayhost=relayhost-null-exact.test"] },
  { name: "relayhost-upper", settings: ["relayhost=RELAYHOST-UPPER.test"] },
  { name: "relayhost-550", zone: "% A NET.0.24", settings: ["relayhost=relayhost-550.test"] },
  { name: "lmtp-host", lmtp: true, nexthop: "inet:lmtp-host.test:2525", zone: "% A NET.0.10\n% MX 10 c.%" },
  { name: "lmtp-absent", lmtp: true, nexthop: "lmtp-absent.test" },
  { name: "lmtp-self", lmtp: true, nexthop: "inet:lmtp-self.test:25", zone: "% A NET.0.1" },
  {
    name: "lmtp-fallback",
    lmtp: true,
    zone: "% A NET.0.30",
    settings: ["lmtp_fallback_relay=[NET.0.10]:2525"],
  },
  { name: "port-smtps", zone: "% A NET.0.10", nexthop: "port-smtps.test:465" },
  { name: "bind", zone: "% A NET.0.10", settings: ["smtp_bind_address=NET.0.7"] },
  { name: "soft-bounce", settings: ["soft_bounce=yes"] },
  {
    name: "soft-bounce-550",
    zone: "% MX 10 a.%\n% MX 20 b.%\na.% A NET.0.24\nb.% A NET.0.10",
    settings: ["soft_bounce=yes"],
  },
  { name: "probe-absent", mail: { sendmail: ["-bv"] } },
  {
    name: "dnssec-no-probe",
    zone: "% MX 10 a.%\na.% A NET.0.10",
    settings: ["smtp_dns_support_level=dnssec", "dnssec_probe="],
  },
  {
    name: "dnssec-probe-fails",
    zone: "% MX 10 a.%\na.% A NET.0.10",
    settings: ["smtp_dns_support_level=dnssec", "dnssec_probe=mx:broken.test"],
  },
  {
    name: "dnssec-probe-absent",
    zone: "% MX 10 a.%\na.% A NET.0.10",
    settings: ["smtp_dns_support_level=dnssec", "dnssec_probe=A:Absent.test"],
  },
  { name: "dnssec-name", alone: true, settings: ["smtp_dns_support_level=dnssec"] },
  {
    name: "dnssec",
    alone: true,
    zone: "% MX 10 a.%\na.% A NET.0.10",
    settings: ["smtp_dns_support_level=dnssec"],
  },
];

/** Domains with two servers that are equally good: each of many deliveries goes to either. */
const CHOICES: ReadonlyArray<Case> = [
  {
    name: "chance",
    zone: "% MX 10 a.%\n% MX 10 b.%\n% MX 20 c.%\na.% A NET.0.10\nb.% A NET.0.11\nc.% A NET.0.12",
    settings: ["smtp_randomize_addresses=yes"],
  },
  {
    name: "chance-family",
    zone: "% MX 10 a.%\na.% A NET.0.10\na.% AAAA NET6:10",
    settings: [...BOTH, "smtp_address_preference=any", "smtp_randomize_addresses=yes"],
  },
  {
    name: "chance-srv",
    zone: "_submission._tcp.% SRV 10 5 2525 a.%\n_submission._tcp.% SRV 10 5 2526 b.%\na.% A NET.0.10\nb.% A NET.0.11",
    nexthop: "chance-srv.test:submission",
    settings: ["use_srv_lookup=submission"],
  },
];
const DELIVERIES = 24;

const DNS_FILTER = `/^filter\\.test\\. \\d+ IN MX 10 a\\.filter\\.test\\.$/ IGNORE
/^filter-all\\.test/ IGNORE
/^filter-address\\.test\\. \\d+ IN A / IGNORE
/^hidden\\.filter-six\\.test\\. \\d+ IN AAAA fd00:/ IGNORE
/^hidden\\.filter-(one-)?host\\.test/ IGNORE
/^filter-nonsense-argument/ NONSENSE with more
/^filter-nonsense/ NONSENSE
/^filter-mixed\\.test\\. \\d+ IN MX 10/ IGNORE
/^filter-mixed\\.test\\. \\d+ IN MX 20/ BLA
/^filter-lower/ ignore
/^filter-argument/ IGNORE this
/^filter-alias\\.test\\. \\d+ IN CNAME/ IGNORE
/^_submission\\._tcp\\.filter-srv\\.test\\. \\d+ IN SRV 10 0 2525 a\\.filter-srv\\.test\\.$/ IGNORE
`;

/** Cases with the same settings share a service, but for those that end its process or say something once. */
const services = new Map<string, { readonly name: string; readonly each: Case }>();
const service = (each: Case): string => {
  const key = each.alone === true ? each.name : JSON.stringify([each.lmtp, each.settings]);
  const known = services.get(key) ?? { name: `route-${services.size}`, each };
  services.set(key, known);
  return known.name;
};
const all = [...CASES, ...CHOICES];
for (const each of all) service(each);
const domain = ({ name }: Case): string => `${name}.test`;
const records = all.map((each) => (each.zone ?? "").replaceAll("%", domain(each))).join("\n");

const mailOf = (each: Case): Mail => ({
  name: each.name,
  from: "nobody@localhost",
  to: (each.to ?? ["a"]).map((local) => `${local}@${domain(each)}`),
  ...each.mail,
});

/** The servers that a case led to, in the order of the log. */
const tried = (instance: Instance, { name }: Case): string[] => {
  const found = instance.maillog().matchAll(/([\w.-]+)\[([\da-f.:]+)\]/g);
  const own = [...found].filter(([, host]) => host === `${name}.test` || host?.endsWith(`.${name}.test`));
  return own.map(([text]) => withoutNetwork(text));
};

t.test("what the DNS says", options, async (t: Test) => {
  if ("missing" in programs) return;
  const { mkdirSync, writeFileSync } = await import("node:fs");
  const { join } = await import("node:path");
  const entries = Object.entries(SERVERS);
  const twins = await Twins.start(t, programs, {
    servers: Object.fromEntries(entries.map(([name, { script }]) => [name, script])),
    addresses: Object.fromEntries(entries.map(([name, { address }]) => [name, address])),
    zones: {
      records: `relay.test MX 10 a.relay.test\na.relay.test A NET.0.10\n${records}`,
      broken: ["broken.test"],
    },
    etc: {
      "resolv.conf": "nameserver NET.0.53\nsearch posthaste.test second.test\n",
      hosts:
        "127.0.0.1 localhost\nNET.0.10 native-hosts.hosts native-mx.hosts native-second.hosts\nNET.0.30 native-first.hosts\n",
    },
    // a fatal error ends the one delivery of several in our process, the process of the real system, which master holds back then
    ignore: /libexec\/smtp: bad command startup|libexec\/smtp pid \d+ exit status 1/,
    prepare: (directory) => {
      mkdirSync(join(directory, "config"), { recursive: true });
      writeFileSync(join(directory, "config/dns_filter"), DNS_FILTER);
    },
    mainCf: () =>
      [
        "inet_interfaces = NET.0.1",
        "local_recipient_maps =",
        "smtputf8_enable = yes",
        "smtp_randomize_addresses = no",
        "relay_domains = static:all",
        "default_destination_concurrency_failed_cohort_limit = 0",
        ...CHOICES.map((each) => `${service(each)}_destination_recipient_limit = 1`),
        "transport_maps =",
        ...all.map(
          (each) => `  inline:{{${domain(each)} = ${service(each)}:${each.nexthop ?? domain(each)}}}`,
        ),
      ].join("\n"),
    masterCf: (directory) =>
      [...services.values()]
        .flatMap(({ name, each }) => [
          `${name} unix - - n - 1 ${each.lmtp === true ? "lmtp" : "smtp"}`,
          ...["smtp_connection_cache_on_demand=no", ...(each.settings ?? [])].map(
            (setting) => `  -o { ${setting.replaceAll("DIR", directory).replace("=", " = ")} }`,
          ),
          "",
        ])
        .join("\n"),
  });
  await twins.compare(t, "sessions, log lines and notices", CASES.map(mailOf));
  for (const each of CASES) {
    const [ours = [], real = []] = twins.both.map((instance) => tried(instance, each));
    t.same(ours, real, `${each.name}: servers in the same order`);
  }
  for (const each of CHOICES) {
    const to = Array.from({ length: DELIVERIES }, (_, index) => `r${index}`);
    await twins.send(mailOf({ ...each, to }));
    for (const instance of twins.both) {
      const pattern = new RegExp(`to=<r\\d+@${domain(each)}>, relay=(\\S+), .* status=sent`, "g");
      const relays = await until(`deliveries to ${each.name}`, () => {
        const found = [...instance.maillog().matchAll(pattern)].map(([, relay]) => relay);
        return found.length === DELIVERIES && new Set(found);
      });
      t.equal(relays.size, 2, `${each.name}: both servers`);
    }
  }
});
