/** Tables that cannot be opened or read, or that give nonsense: replies, log lines, notices and what stays queued are those of the real Postfix. */
import t, { type Test } from "tap";
import type { Script } from "../../unit/smtp-client/harness.ts";
import { reference } from "../support/reference.ts";
import { type Mail, Twins } from "../support/twins.ts";

const programs = reference();
const options = { ...("missing" in programs ? { skip: programs.missing } : {}), timeout: 200_000 };
t.setTimeout(240_000);

/** A delivery agent with a setting, and a message for it. */
interface Case {
  readonly name: string;
  readonly setting: string;
  readonly agent?: "local" | "pipe" | "virtual" | "lmtp";
  readonly script?: Script;
  readonly to?: ReadonlyArray<string>;
  readonly text?: string;
}

const MIME = `MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b
Subject: NAME

--b
Content-Type: message/rfc822

Subject: inner

text
--b--
`;
const refusing: Script = {
  replies: [
    ["RCPT TO:<b", "550 5.1.1 no b"],
    ["RCPT TO:<c", "450 4.2.1 no c"],
  ],
};

/** Ways in which a table fails. */
const BROKEN = {
  absent: "texthash:DIR/config/nowhere",
  "absent-pcre": "pcre:DIR/config/nowhere",
  "absent-cdb": "cdb:DIR/config/nowhere",
  fails: "fail:oops",
  type: "nosuchtype:x",
  refused: "tcp:127.0.0.1:1",
  proxy: "proxy:texthash:DIR/config/nowhere",
} as const;

const broken = (
  parameter: string,
  kinds: ReadonlyArray<keyof typeof BROKEN>,
  rest: Partial<Case> = {},
): Case[] =>
  kinds.map((kind) => ({
    name: `${parameter.replaceAll("_", "-")}-${kind}`,
    setting: `${parameter}=${BROKEN[kind]}`,
    ...rest,
  }));
const all = Object.keys(BROKEN) as Array<keyof typeof BROKEN>;
const some = ["absent", "fails"] as const;

const HEADER_ACTIONS = {
  reject: "REJECT no",
  "reject-bare": "REJECT",
  discard: "DISCARD",
  hold: "HOLD",
  filter: "FILTER smtp:x",
  redirect: "REDIRECT x@y.test",
  bcc: "BCC x@y.test",
  delay: "DELAY 1",
  "replace-bare": "REPLACE",
  "replace-bad": "REPLACE no header",
  "prepend-bare": "PREPEND",
  "prepend-bad": "PREPEND no header",
  number: "550 5.7.1 no",
  nonsense: "NONSENSE at all",
  lower: "warn lower",
  accept: "ACCEPT",
} as const;

const RESULTS = {
  nonsense: "nonsense",
  status: "5.1.1",
  "status-only": "4.2.1 ",
  success: "2.0.0 fine",
  temporary: "4.7.1 later",
  permanent: "5.7.1 never",
  bad: "5.1 x",
  long: `4.1.1 ${"x ".repeat(600)}`,
} as const;

const CASES: ReadonlyArray<Case> = [
  ...broken("smtp_header_checks", all),
  ...broken("smtp_body_checks", some),
  ...broken("smtp_mime_header_checks", some, { text: MIME }),
  ...broken("smtp_nested_header_checks", some, { text: MIME }),
  ...broken("smtp_generic_maps", all),
  ...broken("smtp_reply_filter", some),
  {
    name: "reply-filter-rcpt",
    setting: "smtp_reply_filter=pipemap:{pcre:{{/^250 2.1.5/ x}},fail:oops}",
    to: ["a", "b"],
  },
  {
    name: "reply-filter-rcpt-piped",
    setting: "smtp_reply_filter=pipemap:{pcre:{{/^250 2.1.5/ x}},fail:oops}",
    script: { ehlo: ["fake.example", "PIPELINING"] },
    to: ["a", "b"],
  },
  {
    name: "reply-filter-dot",
    setting: "smtp_reply_filter=pipemap:{pcre:{{/queued as/ x}},fail:oops}",
  },
  ...broken("smtp_delivery_status_filter", some, { script: refusing, to: ["a", "b", "c"] }),
  ...broken("smtp_discard_ehlo_keyword_address_maps", some),
  ...broken("smtp_pix_workaround_maps", some, { script: { greet: "220 ****" } }),
  ...broken("smtp_connection_cache_destinations", some),
  ...broken("lmtp_header_checks", some, { agent: "lmtp" }),
  ...broken("lmtp_generic_maps", some, { agent: "lmtp" }),
  ...broken("lmtp_delivery_status_filter", some, { agent: "lmtp" }),
  ...Object.entries(HEADER_ACTIONS).flatMap(([name, action]): Case[] => [
    { name: `header-${name}`, setting: `smtp_header_checks=pcre:{{/^Subject:/ ${action}}}` },
    { name: `body-${name}`, setting: `smtp_body_checks=pcre:{{/^body of/ ${action}}}` },
  ]),
  ...["hello", "250", "25", "250-more", "999 x", "550 5.7.1 no", "421 4.7.1 closing", " 250 x", "354 go"].map(
    (reply, index): Case => ({
      name: `reply-${index}`,
      setting: `smtp_reply_filter=pcre:{{/^250 2.1.5/ ${reply}}}`,
    }),
  ),
  ...Object.entries(RESULTS).flatMap(([name, result]): Case[] => [
    {
      name: `status-${name}`,
      setting: `smtp_delivery_status_filter=pcre:{{/./ ${result}}}`,
      script: refusing,
      to: ["a", "b", "c"],
    },
    {
      name: `local-${name}`,
      agent: "local",
      setting: `local_delivery_status_filter=pcre:{{/./ ${result}}}`,
      to: ["games", "nosuchuser", "defer"],
    },
    {
      name: `pipe-${name}`,
      agent: "pipe",
      setting: `pipe_delivery_status_filter=pcre:{{/./ ${result}}}`,
      to: ["true", "false", "tempfail"],
    },
    {
      name: `virtual-${name}`,
      agent: "virtual",
      setting: `virtual_delivery_status_filter=pcre:{{/./ ${result}}}`,
      to: ["you", "nobody"],
    },
  ]),
  ...broken("local_delivery_status_filter", some, { agent: "local", to: ["games", "nosuchuser"] }),
  ...broken("pipe_delivery_status_filter", some, { agent: "pipe", to: ["true", "false"] }),
  ...broken("virtual_delivery_status_filter", some, { agent: "virtual", to: ["you", "nobody"] }),
  ...broken("alias_maps", all, { agent: "local", to: ["games"] }),
  ...broken("mailbox_command_maps", some, { agent: "local", to: ["games"] }),
  ...broken("mailbox_transport_maps", some, { agent: "local", to: ["games"] }),
  ...broken("fallback_transport_maps", some, { agent: "local", to: ["games", "nosuchuser"] }),
  ...broken("virtual_mailbox_maps", all, { agent: "virtual", to: ["you"] }),
  ...broken("virtual_uid_maps", some, { agent: "virtual", to: ["you"] }),
  ...broken("virtual_gid_maps", some, { agent: "virtual", to: ["you"] }),
  ...broken("virtual_mailbox_limit_maps", some, { agent: "virtual", to: ["you"] }),
];

const service = ({ name }: Case): string => `t-${name}`;
const mailOf = (each: Case): Mail => ({
  name: each.name,
  from: "nobody@localhost",
  to: (each.to ?? ["a"]).map((local) => `${local}@${each.name}.test`),
  ...(each.text === undefined ? {} : { text: each.text }),
});
const isClient = ({ agent }: Case): boolean => agent === undefined || agent === "lmtp";
const PIPE =
  "flags= user=nobody argv=/bin/sh -c {case $0 in true) exit 0;; false) exit 67;; *) exit 75;; esac} ${user}";

t.test("tables of delivery agents", options, async (t: Test) => {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, {
    servers: Object.fromEntries(CASES.filter(isClient).map(({ name, script }) => [name, script ?? {}])),
    // a fatal error ends the one delivery of several in our process, the process of the real system, which master holds back then
    ignore:
      /Is the postfix-nosuchtype package installed|libexec\/\w+: bad command startup|libexec\/\w+ pid \d+ exit status 1|queue manager: .*: malformed response/,
    mainCf: (_directory, place) =>
      [
        "local_recipient_maps =",
        "smtp_dns_support_level = disabled",
        "relay_domains = static:all",
        "default_destination_concurrency_failed_cohort_limit = 0",
        'alias_maps = inline:{{defer = "|exit 75"}}',
        `virtual_mailbox_maps = inline:{${CASES.filter(({ agent }) => agent === "virtual")
          .map(({ name }) => `{you@${name}.test = vbox}`)
          .join(" ")}}`,
        "transport_maps =",
        ...CASES.map((each) => {
          const nexthop = isClient(each) ? `[127.0.0.1]:${place(each.name)}` : "";
          return `  inline:{{${each.name}.test = ${service(each)}:${nexthop}}}`;
        }),
      ].join("\n"),
    masterCf: (directory) =>
      CASES.map((each) =>
        [
          `${service(each)} unix - n n - 1 ${each.agent ?? "smtp"}`,
          ...["smtp_connection_cache_on_demand=no", "smtp_rcpt_timeout=1s", each.setting].map(
            (setting) => `  -o { ${setting.replaceAll("DIR", directory).replace("=", " = ")} }`,
          ),
          ...(each.agent === "pipe" ? [`  ${PIPE}`] : []),
          "",
        ].join("\n"),
      ).join(""),
  });
  await twins.compare(t, "deliveries", CASES.map(mailOf));
});

/** Parameters of the whole system, each with a table that fails for the keys of one domain alone. */
const GLOBAL: ReadonlyArray<{ readonly parameter: string; readonly key?: string; readonly also?: string }> = [
  { parameter: "transport_maps" },
  { parameter: "relocated_maps", also: "games@relocated-maps.test" },
  { parameter: "virtual_alias_maps" },
  { parameter: "canonical_maps" },
  { parameter: "recipient_canonical_maps" },
  { parameter: "sender_canonical_maps", key: "s@sender-canonical-maps.test" },
  { parameter: "sender_bcc_maps", key: "s@sender-bcc-maps.test" },
  { parameter: "recipient_bcc_maps" },
  { parameter: "sender_dependent_relayhost_maps", key: "s@sender-dependent-relayhost-maps.test" },
  {
    parameter: "sender_dependent_default_transport_maps",
    key: "s@sender-dependent-default-transport-maps.test",
  },
  { parameter: "virtual_alias_domains", key: "virtual-alias-domains.test" },
  { parameter: "virtual_mailbox_domains", key: "virtual-mailbox-domains.test" },
  { parameter: "mydestination", key: "mydestination.test" },
  { parameter: "relay_domains", key: "relay-domains.test" },
  { parameter: "smtpd_sender_login_maps" },
  { parameter: "local_header_rewrite_clients", key: "10.1.1.1" },
  { parameter: "masquerade_exceptions", key: "m" },
  { parameter: "fast_flush_domains", key: "fast-flush-domains.test" },
];
const domainOf = (parameter: string): string => `${parameter.replaceAll("_", "-")}.test`;
const failing = (key: string): string => `pipemap:{inline:{{${key}=x}},fail:oops}`;
const CONTENT: Readonly<Record<string, string>> = {
  header_checks: "Subject: header",
  body_checks: "body of body",
  mime_header_checks: "Content-Type: multipart",
  nested_header_checks: "Subject: inner",
};

t.test("tables of the whole system", options, async (t: Test) => {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, {
    mainCf: () =>
      [
        "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination",
        "local_recipient_maps =",
        "virtual_mailbox_maps = static:vbox",
        "smtpd_reject_unlisted_sender = no",
        ...GLOBAL.map(({ parameter, key }) => {
          const map = failing(key ?? `a@${domainOf(parameter)}`);
          const rest: Readonly<Record<string, string>> = {
            mydestination: "$myhostname, localhost, ",
            transport_maps: "inline:{{slow.test = retry:4.2.1 slow by design}} ",
            virtual_mailbox_domains: "vbox.test, ",
          };
          return `${parameter} = ${rest[parameter] ?? ""}${map}`;
        }),
        ...Object.entries(CONTENT).map(
          ([parameter, key]) => `${parameter} = pipemap:{pcre:{{/^${key}/ x}},fail:oops}`,
        ),
      ].join("\n"),
  });
  await twins.compare(t, "messages", [
    ...GLOBAL.map(
      ({ parameter, key }): Mail => ({
        name: parameter,
        from: key?.startsWith("s@") === true ? key : "nobody@localhost",
        to: [`a@${domainOf(parameter)}`],
      }),
    ),
    { name: "a slow one to be recorded", from: "nobody@localhost", to: ["a@slow.test"] },
    { name: "header", from: "nobody@localhost", to: ["games@localhost"] },
    { name: "body", from: "nobody@localhost", to: ["games@localhost"] },
    { name: "mime", from: "nobody@localhost", to: ["games@localhost"], text: MIME },
    { name: "fine", from: "nobody@localhost", to: ["games@localhost"] },
    {
      name: "several",
      from: "nobody@localhost",
      to: ["games@localhost", "a@virtual-alias-maps.test"],
    },
  ]);
});
