/** What smtpd(8) makes of the DNS: names of clients, lists, unknown domains, servers of domains. Replies and log lines are those of the real Postfix. */
import type { Test } from "tap";
import { inNetwork, ownNetwork } from "../support/network.ts";
import { reference } from "../support/reference.ts";
import { converse, Twins } from "../support/twins.ts";

const network = await ownNetwork(import.meta.filename);
const { default: t } = await import("tap");
const programs = reference();
const options = {
  ...network,
  ...("missing" in programs ? { skip: programs.missing } : {}),
  timeout: 200_000,
};
t.setTimeout(240_000);

/** Restrictions, and a session that meets them. */
interface Case {
  readonly restrictions: string;
  /** Attributes of XCLIENT; without them the client is `from`. */
  readonly client?: string;
  /** Address of the client in the network. */
  readonly from?: string;
  readonly helo?: string;
  readonly sender?: string;
  /** Domain of the recipient in place of localhost. */
  readonly domain?: string;
}

const RECORDS = `
good.test MX 10 mx.good.test
mx.good.test A NET.9.1
four.test A NET.9.2
six.test AAAA NET6:9
null.test MX 0 .
null.test A NET.9.3
nothing.test TXT x
nowhere-mx.test MX 10 nohost.test
broken-mx.test MX 10 x.broken.test
alias.test CNAME good.test
ring.test CNAME ring2.test
ring2.test CNAME ring.test
ringmx.test MX 10 ring.test
ringmx.test NS ring.test
a_b.test A NET.9.2
numeric.test MX 10 NET.9.4.
odd.test MX 10 a!b.test
badmx.test MX 10 bad.host.test
badmx.test MX 20 mx.good.test
bad.host.test A NET.9.5
netmx.test MX 10 net.host.test
net.host.test A NET.8.1
sixmx.test MX 10 six.host.test
six.host.test AAAA NET6:8
twomx.test MX 10 mx.good.test
twomx.test MX 20 net.host.test
selfmx.test A NET.8.2
aliasmx.test MX 10 alias.host.test
alias.host.test CNAME bad.host.test
okmx.test MX 10 ok.host.test
ok.host.test A NET.8.3
2.0.0.10.dnsbl.test A 127.0.0.2
2.0.0.10.dnsbl.test TXT "listed, see http://dnsbl.test/10.0.0.2"
3.0.0.10.dnsbl.test A 127.0.0.3
4.0.0.10.dnsbl.test A 127.0.0.4
4.0.0.10.dnsbl.test A 127.0.0.14
4.0.0.10.dnsbl.test TXT "first" "second"
4.0.0.10.dnsbl.test TXT "another"
5.0.0.10.dnsbl.test TXT "no address"
6.0.0.10.dnsbl.test CNAME 2.0.0.10.dnsbl.test
7.0.0.10.dnsbl.test A 127.0.0.2
7.0.0.10.dnsbl.test TXT "odd \\200\\001\\010 text $client \${x} %s"
8.0.0.10.dnsbl.test A 127.0.0.2
8.0.0.10.dnsbl.test TXT "${"long text ".repeat(25)}" "${"more text ".repeat(25)}" "${"and more. ".repeat(25)}"
9.0.0.10.dnsbl.test A 127.0.0.2
10.0.0.10.dnsbl.test A 127.0.0.2
10.0.0.10.dnsbl.test TXT ${Array.from({ length: 9 }, (_, n) => `"${String(n).repeat(90)}"`).join(" ")}
11.0.0.10.dnsbl.test A 127.0.0.2
11.0.0.10.dnsbl.test TXT "${"a".repeat(255)}" "${"b".repeat(255)}"
11.0.0.10.dnsbl.test TXT "${"c".repeat(255)}" "${"d".repeat(255)}"
9.0.0.10.dnsbl.test CAA 0 issue "x"
2.0.0.10.other.test A 127.0.0.8
2.0.0.10.other.test TXT "other $client"
2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.dnsbl.test A 127.0.0.6
2.0.0.10.wl.test A 127.0.0.1
3.0.0.10.wl.test A 127.0.0.9
spam.test.rhs.test A 127.0.0.2
spam.test.rhs.test TXT "spammer"
good.test.rhswl.test A 127.0.0.1
spam.client.test.rhs.test A 127.0.0.5
1.5.NET.in-addr.arpa PTR good.client.test
good.client.test A NET.5.1
2.5.NET.in-addr.arpa PTR noaddress.client.test
3.5.NET.in-addr.arpa PTR other.client.test
other.client.test A NET.5.99
4.5.NET.in-addr.arpa PTR x.broken.test
6.5.NET.in-addr.arpa PTR 10.0.0.1
7.5.NET.in-addr.arpa PTR a!b.test
8.5.NET.in-addr.arpa PTR one.client.test
8.5.NET.in-addr.arpa PTR two.client.test
one.client.test A NET.5.8
two.client.test A NET.5.8
9.5.NET.in-addr.arpa PTR aliased.client.test
aliased.client.test CNAME real.client.test
real.client.test A NET.5.9
10.5.NET.in-addr.arpa CNAME 10.0/25.5.NET.in-addr.arpa
10.0/25.5.NET.in-addr.arpa PTR classless.client.test
classless.client.test A NET.5.10
11.5.NET.in-addr.arpa PTR six.client.test
six.client.test AAAA NET6:5
12.5.NET.in-addr.arpa PTR many.client.test
many.client.test A NET.5.98
many.client.test A NET.5.12
13.5.NET.in-addr.arpa PTR .
14.5.NET.in-addr.arpa PTR UPPER.Client.Test
upper.client.test A NET.5.14
15.5.NET.in-addr.arpa PTR under_score.client.test
under_score.client.test A NET.5.15
16.5.NET.in-addr.arpa PTR -hyphen.client.test
-hyphen.client.test A NET.5.16
17.5.NET.in-addr.arpa PTR onelabel
onelabel A NET.5.17
18.5.NET.in-addr.arpa PTR ${"a".repeat(63)}.${"b".repeat(63)}.client.test
${"a".repeat(63)}.${"b".repeat(63)}.client.test A NET.5.18
19.5.NET.in-addr.arpa TXT nothing
20.5.NET.in-addr.arpa PTR esc\\.aped.client.test
21.5.NET.in-addr.arpa PTR 12345
22.5.NET.in-addr.arpa PTR ringed.client.test
ringed.client.test CNAME ringed2.client.test
ringed2.client.test CNAME ringed.client.test
`;
const OWN = {
  "ns1.test": "ns1.test NS bad.nsx.test\nns1.test A NET.9.1\nx.ns1.test A NET.9.1",
  "ns2.test": "ns2.test NS net.nsx.test\nns2.test NS absent.nsx.test\nns2.test A NET.9.1",
  "ns3.test": "ns3.test NS x.broken.test\nns3.test A NET.9.1",
  "ns4.test": "ns4.test NS ok.nsx.test\nns4.test A NET.9.1",
  "nsx.test": "bad.nsx.test A NET.9.6\nnet.nsx.test A NET.8.6\nok.nsx.test A NET.8.7\nnsx.test NS ns.test.",
};

const ADDRESSES = Array.from({ length: 22 }, (_, index) => index + 1).filter((n) => n !== 5);
const dnsbl = (n: number | string): string => `ADDR=10.0.0.${n} NAME=[UNAVAILABLE]`;
const TABLE =
  "inline:{{bad.host.test=REJECT bad host} {NET.8=REJECT bad net} {NET6:8=REJECT bad six} {ok.host.test=OK} {bad.nsx.test=450 4.7.9 bad name server} {ok.nsx.test=permit} {selfmx.test=DEFER} {fd00=REJECT fd00}}";
const SENDERS = [
  "good.test",
  "four.test",
  "six.test",
  "null.test",
  "nothing.test",
  "absent.test",
  "x.broken.test",
  "nowhere-mx.test",
  "broken-mx.test",
  "alias.test",
  "ring.test",
  "ringmx.test",
  "a_b.test",
  "numeric.test",
  "odd.test",
  "GOOD.TEST",
  "good.test.",
  "[127.0.0.1]",
  "[IPv6:::1]",
  "10.0.0.1",
  "-odd.test",
  "localhost",
  "a..b.test",
];
const SERVER_DOMAINS = [
  "good.test",
  "badmx.test",
  "netmx.test",
  "sixmx.test",
  "twomx.test",
  "selfmx.test",
  "aliasmx.test",
  "okmx.test",
  "null.test",
  "nothing.test",
  "absent.test",
  "x.broken.test",
  "broken-mx.test",
  "nowhere-mx.test",
  "odd.test",
  "numeric.test",
  "alias.test",
  "ns1.test",
  "x.ns1.test",
  "y.x.ns1.test",
  "ns2.test",
  "ns3.test",
  "ns4.test",
  "bad.host.test",
  "[NET.8.1]",
  "[IPv6:NET6:8]",
  "NET.8.1",
  "localhost",
  "com",
  "-odd.test",
  "a!b.test",
];

const CASES: ReadonlyArray<Case> = [
  // names of clients
  ...ADDRESSES.map((n): Case => ({ restrictions: "permit", from: `NET.5.${n}` })),
  ...ADDRESSES.map((n): Case => ({ restrictions: "reject_unknown_client_hostname", from: `NET.5.${n}` })),
  ...[1, 2, 3, 4, 7, 19].map(
    (n): Case => ({ restrictions: "reject_unknown_reverse_client_hostname", from: `NET.5.${n}` }),
  ),
  { restrictions: "permit", from: "NET.6.1" },
  { restrictions: "reject_unknown_client_hostname", from: "NET.6.1" },
  { restrictions: "reject_unknown_reverse_client_hostname", from: "NET.6.1" },
  ...["[UNAVAILABLE]", "[TEMPUNAVAIL]", "good.client.test"].flatMap((name) =>
    ["reject_unknown_client_hostname", "reject_unknown_reverse_client_hostname"].flatMap(
      (restrictions): Case[] => [
        { restrictions, client: `ADDR=10.0.0.1 NAME=${name}` },
        { restrictions, client: `ADDR=10.0.0.1 NAME=${name} REVERSE_NAME=other.client.test` },
      ],
    ),
  ),
  // lists
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map(
    (n): Case => ({ restrictions: "reject_rbl_client dnsbl.test", client: dnsbl(n) }),
  ),
  ...["=127.0.0.2", "=127.0.0.[2;4..6]", "=127.0.0.[0..255]", "=127.0.[0..2].14", "=127.0.0.3"].flatMap(
    (pattern) =>
      [2, 3, 4].map(
        (n): Case => ({ restrictions: `reject_rbl_client dnsbl.test${pattern}`, client: dnsbl(n) }),
      ),
  ),
  { restrictions: "reject_rbl_client broken.test", client: dnsbl(2) },
  // answers are remembered for a while by one process or the other, so each of these is asked once
  { restrictions: "reject_rbl_client broken.test, reject_rbl_client dnsbl.test", client: dnsbl(3) },
  { restrictions: "reject_rbl_client broken.test, reject", client: dnsbl(4) },
  { restrictions: "reject_rbl_client other.test", client: dnsbl(2) },
  { restrictions: "reject_rbl_client dnsbl.test, reject_rbl_client other.test", client: dnsbl(1) },
  { restrictions: "reject_rbl_client dnsbl.test", client: "ADDR=IPV6:2001:db8::2 NAME=[UNAVAILABLE]" },
  { restrictions: "reject_rbl_client dnsbl.test", client: "ADDR=IPV6:2001:db8::3 NAME=[UNAVAILABLE]" },
  { restrictions: "warn_if_reject reject_rbl_client dnsbl.test", client: dnsbl(2) },
  { restrictions: "permit_dnswl_client wl.test, reject", client: dnsbl(2) },
  { restrictions: "permit_dnswl_client wl.test=127.0.0.1, reject", client: dnsbl(3) },
  { restrictions: "permit_dnswl_client broken.test, reject", client: dnsbl(5) },
  { restrictions: "permit_dnswl_client broken.test, reject_rbl_client dnsbl.test", client: dnsbl(8) },
  { restrictions: "permit_rhswl_client rhswl.test, reject", client: "ADDR=10.0.0.1 NAME=good.test" },
  { restrictions: "permit_rhswl_client rhswl.test, reject", client: "ADDR=10.0.0.1 NAME=bad.test" },
  { restrictions: "permit_rhswl_client rhswl.test, reject", client: dnsbl(1) },
  { restrictions: "permit_rhswl_client broken.test, reject", client: "ADDR=10.0.0.1 NAME=good.test" },
  ...["client", "helo", "sender", "reverse_client", "recipient"].flatMap((kind): Case[] => {
    const restrictions = `reject_rhsbl_${kind} rhs.test`;
    return [
      { restrictions, client: "ADDR=10.0.0.1 NAME=spam.client.test REVERSE_NAME=spam.test" },
      { restrictions, helo: "spam.test" },
      { restrictions, helo: "[127.0.0.1]" },
      { restrictions, sender: "x@spam.test" },
      { restrictions, sender: "" },
      { restrictions, sender: "x@sub.spam.test" },
      { restrictions, sender: "x@SPAM.test." },
      {
        restrictions: `reject_rhsbl_${kind} broken.test`,
        helo: "x.test",
        sender: "x@x.test",
        client: "ADDR=10.0.0.1 NAME=x.test",
      },
    ];
  }),
  // unknown domains and names
  ...SENDERS.map((domain): Case => ({ restrictions: "reject_unknown_sender_domain", sender: `x@${domain}` })),
  { restrictions: "reject_unknown_helo_hostname", helo: "[10.0.0.300]" },
  ...SENDERS.map((helo): Case => ({ restrictions: "reject_unknown_helo_hostname", helo })),
  ...SENDERS.map((domain): Case => ({ restrictions: "reject_unknown_recipient_domain", domain })),
  { restrictions: "reject_unknown_sender_domain", sender: "" },
  { restrictions: "reject_unknown_sender_domain", sender: "x" },
  { restrictions: "reject_unknown_sender_domain, reject", sender: "x@x.broken.test" },
  { restrictions: "reject_unknown_helo_hostname, reject", helo: "x.broken.test" },
  // servers of domains
  ...["mx", "ns", "a"].flatMap((what) =>
    SERVER_DOMAINS.map(
      (domain): Case => ({ restrictions: `check_sender_${what}_access ${TABLE}`, sender: `x@${domain}` }),
    ),
  ),
  ...["mx", "ns", "a"].flatMap((what) =>
    ["client", "reverse_client_hostname", "helo", "recipient"].flatMap((who) =>
      ["badmx.test", "netmx.test", "ns1.test", "selfmx.test", "x.broken.test", "absent.test"].map(
        (name): Case => ({
          restrictions: `check_${who}_${what}_access ${TABLE}`,
          client: `ADDR=10.0.0.1 NAME=${name} REVERSE_NAME=${name}`,
          helo: name,
          ...(who === "recipient" ? { domain: name } : {}),
        }),
      ),
    ),
  ),
  { restrictions: `check_sender_mx_access ${TABLE}`, sender: "" },
  { restrictions: `check_client_mx_access ${TABLE}`, client: dnsbl(2) },
  { restrictions: `check_client_a_access ${TABLE}`, client: dnsbl(2) },
];

/** One session for all cases that have the client in common. */
const sessions = new Map<string, number[]>();
for (const [index, { client, from, helo }] of CASES.entries()) {
  const key = JSON.stringify([client, from, helo]);
  sessions.set(key, [...(sessions.get(key) ?? []), index]);
}

const session = (indices: ReadonlyArray<number>): string[] => {
  const { client, helo = "client.test" } = CASES[indices[0] ?? 0] ?? {};
  return [
    ...(client === undefined ? [] : [`XCLIENT ${client}`]),
    `EHLO ${helo}`,
    ...indices.flatMap((index) => {
      const { sender = "a@sender.test", domain = "localhost" } = CASES[index] ?? {};
      return [`MAIL FROM:<${sender}>`, `RCPT TO:<case${index}@${domain}>`, "RSET"];
    }),
    "QUIT",
  ];
};

t.test("what smtpd makes of the DNS", options, async (t: Test) => {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, {
    zones: { records: RECORDS, broken: ["broken.test", "6.NET.in-addr.arpa"], own: OWN },
    mainCf: () =>
      [
        "inet_protocols = all",
        "inet_interfaces = NET.0.1",
        "local_recipient_maps =",
        "relay_domains = static:all",
        "mynetworks = 10.9.9.9",
        "smtpd_authorized_xclient_hosts = 127.0.0.0/8",
        "smtpd_relay_restrictions = reject_unauth_destination",
        "smtpd_error_sleep_time = 0",
        "in_flow_delay = 0",
        "smtpd_soft_error_limit = 1000",
        "smtpd_hard_error_limit = 1000",
        "rbl_reply_maps = inline:{{other.test = $rbl_code 5.7.9 by $rbl_domain: $rbl_what is $rbl_class, $rbl_reason; $client $client_address $client_name $helo_name $sender $recipient}}",
        `smtpd_restriction_classes = ${CASES.map((_, index) => `class${index}`).join(" ")}`,
        ...CASES.map(({ restrictions }, index) => `class${index} = ${restrictions}`),
        "smtpd_recipient_restrictions = check_recipient_access pcre:{",
        ...CASES.map((_, index) => `  {/^case${index}@/ class${index}}`),
        "  }",
      ].join("\n"),
  });
  await twins.compareAfter(
    t,
    `${CASES.length} cases`,
    [...sessions.values()].map((indices) => async (instance) => {
      const side = twins.both.indexOf(instance);
      const place = (text: string): string => inNetwork(text, side);
      const from = CASES[indices[0] ?? 0]?.from ?? "127.0.0.1";
      const replies = await converse(instance.smtpPort, session(indices).map(place), place(from));
      return replies.map((reply) => `cases ${indices}: ${reply}`);
    }),
  );
});

/** Senders whose records the filter leaves out, in whole or in part, and one where it has no known answer. */
const FILTERED = [
  "good.test",
  "four.test",
  "six.test",
  "okmx.test",
  "twomx.test",
  "alias.test",
  "badmx.test",
];

t.test("smtpd_dns_reply_filter", { ...options }, async (t: Test) => {
  if ("missing" in programs) return;
  const restrictions = [
    "reject_unknown_sender_domain",
    `check_sender_mx_access ${TABLE}`,
    `check_sender_a_access ${TABLE}`,
  ];
  const twins = await Twins.start(t, programs, {
    zones: { records: RECORDS, broken: ["broken.test", "6.NET.in-addr.arpa"], own: OWN },
    mainCf: () =>
      [
        "inet_protocols = all",
        "inet_interfaces = NET.0.1",
        "local_recipient_maps =",
        "mynetworks = 10.9.9.9",
        "smtpd_authorized_xclient_hosts = 127.0.0.0/8",
        "smtpd_error_sleep_time = 0",
        "smtpd_soft_error_limit = 1000",
        "smtpd_hard_error_limit = 1000",
        "smtpd_dns_reply_filter = pcre:{{/^good.test. .* MX / IGNORE}{/^four.test. .* A / ignore this}{/^six.test. .* AAAA / NOSUCH}{/^twomx.test. .* MX 10 / IGNORE}{/^net.host.test. .* A / IGNORE}{/^2.0.0.10.dnsbl.test. .* TXT / IGNORE}{/^3.0.0.10.dnsbl.test. .* A / IGNORE}}",
        `smtpd_restriction_classes = ${restrictions.map((_, index) => `class${index}`).join(" ")}`,
        ...restrictions.map((restriction, index) => `class${index} = ${restriction}`),
        "smtpd_recipient_restrictions = check_recipient_access pcre:{",
        ...restrictions.map((_, index) => `  {/^case${index}@/ class${index}}`),
        "  }, reject_rbl_client dnsbl.test",
      ].join("\n"),
  });
  const attempts = [2, 3, 4].map((n) => [
    `XCLIENT ${dnsbl(n)}`,
    "EHLO client.test",
    ...FILTERED.flatMap((domain) =>
      restrictions.flatMap((_, index) => [
        `MAIL FROM:<x@${domain}>`,
        `RCPT TO:<case${index}@localhost>`,
        "RSET",
      ]),
    ),
    "QUIT",
  ]);
  await twins.compareAfter(
    t,
    "filtered answers",
    attempts.map((lines) => async (instance) => {
      const side = twins.both.indexOf(instance);
      return converse(
        instance.smtpPort,
        lines.map((line) => inNetwork(line, side)),
        "127.0.0.1",
      );
    }),
  );
});
