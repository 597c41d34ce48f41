/** Headers, checks and address mappings: what cleanup(8) makes of a message is what the real one makes of it. */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { reference } from "../support/reference.ts";
import { type Mail, Twins } from "../support/twins.ts";

const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};

const HEADER_CHECKS = String.raw`
/^X-Reject: (.*)/ REJECT no $1 here
/^X-Reject4: / REJECT 4.7.1 come again
/^X-Rejectdsn: / REJECT 5.6.7
/^X-Rejectbad: / REJECT 9.9.9 odd
/^X-Rejectgood: / REJECT 2.1.0 fine
/^X-Warn: / WARN careful
/^X-Info: / INFO
/^X-Filter: bad/ FILTER bad
/^X-Filter: none/ FILTER
/^X-Filter: / FILTER discard:filtered
/^X-Pass: / PASS trusted
/^X-Discard: / DISCARD gone
/^X-Hold: / HOLD look at it
/^X-Prepend: bad/ PREPEND not a header
/^X-Prepend: none/ PREPEND
/^X-Prepend: / PREPEND X-Before: yes
/^X-Replace: (.*)/ REPLACE X-Replaced: <$1>
/^X-Replacesubject: (.*)/ REPLACE Subject: $1
/^X-Replacereceived: (.*)/ REPLACE Received: $1
/^X-Replacebad: / REPLACE no header
/^X-Redirect: bad/ REDIRECT nowhere
/^X-Redirect: / REDIRECT list@localhost
/^X-Bcc: bad/ BCC nowhere
/^X-Bcc: / BCC news@localhost
/^X-Strip: / STRIP secret
/^X-Ignore: / IGNORE
/^X-Dunno: / DUNNO
/^X-Ok: / OK
/^X-Odd: / FROBNICATE it
/^X-Delay: / DELAY
/^Received: drop/ IGNORE
/^Message-Id: <drop/ IGNORE
/^Subject: fold.*\n.*second/ WARN folded
`;
const MIME_CHECKS = `
/^Content-Type: .*name="?evil/ REJECT evil attachment
/^Content-Disposition: /  PREPEND X-Seen: disposition
/^X-Part: / WARN part header
`;
const NESTED_CHECKS = `
/^Subject: nested/ WARN nested subject
/^X-Nested: / REPLACE X-Nest: replaced
`;
const BODY_CHECKS = `
/reject me/ REJECT
/warn me/ WARN body
/ignore me/ IGNORE
/strip me/ STRIP
/replace me/ REPLACE replaced line
/prepend me/ PREPEND line before
/discard me/ DISCARD
/hold me/ HOLD
/filter me/ FILTER discard:body filter
/redirect me/ REDIRECT list@localhost
/bcc me/ BCC news@localhost
/pass me/ PASS
`;

const CANONICAL = `
joe@posthaste.test Joe.Public@example.com
bob bob@other.test
@old.test @new.test
one@loop.test two@loop.test
two@loop.test one@loop.test
multi@posthaste.test a@x.test, b@x.test
plus+ext@posthaste.test exact@posthaste.test
plus@posthaste.test base@posthaste.test
upper@posthaste.test MiXed@CaSe.test
games@canon.test games@localhost
empty@posthaste.test <>
"quoted user"@posthaste.test unquoted@posthaste.test
`;
const VIRTUAL = `
valias.test anything
one@valias.test games
two@valias.test games, news@localhost
keep@valias.test keep@valias.test, games
@catchall.test games
plus@valias.test list
plus+special@valias.test news
ring1@valias.test ring2@valias.test
ring2@valias.test ring1@valias.test
bad@valias.test @
trash@valias.test x@trash.test, x@broken.test
local games, news
dup@valias.test games, games@localhost, GAMES
nosuch@valias.test nosuch2@valias.test
`;

const prepare = (directory: string): void => {
  const file = (name: string, text: string): void => {
    writeFileSync(join(directory, name), text);
    chmodSync(join(directory, name), 0o644);
  };
  file("header_checks", HEADER_CHECKS);
  file("mime_checks", MIME_CHECKS);
  file("nested_checks", NESTED_CHECKS);
  file("body_checks", BODY_CHECKS);
  file("canonical", CANONICAL);
  file("virtual", VIRTUAL);
};

const to = ["games@localhost"];
const headers = (name: string, lines: string, more: Partial<Mail> = {}): Mail => ({
  name,
  to,
  text: `${lines}\n\nbody\n`,
  ...more,
});

const MIME = `MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="aa"
Subject: NAME

preamble
--aa
Content-Type: text/plain
X-Part: yes

warn me
--aa
Content-Type: message/rfc822

Subject: nested one
X-Nested: yes
Content-Type: multipart/alternative; boundary=bb

--bb
Content-Disposition: inline

text
--bb--
--aa
Content-Type: application/octet-stream; name="evil.exe"

x
--aa--
epilogue
`;

const CHECKS: ReadonlyArray<Mail> = [
  ...[
    "Reject: it",
    "Reject4: x",
    "Rejectdsn: x",
    "Rejectbad: x",
    "Rejectgood: x",
    "Warn: x",
    "Info: x",
    "Filter: bad",
    "Filter: none",
    "Filter: x",
    "Pass: x\nX-Reject: y",
    "Discard: x",
    "Prepend: bad",
    "Prepend: none",
    "Prepend: x",
    "Replace: x y",
    "Replacesubject: another",
    "Replacereceived: from x",
    "Replacebad: x",
    "Redirect: bad",
    "Redirect: x\nX-Reject: y",
    "Bcc: bad",
    "Bcc: x",
    "Strip: x",
    "Ignore: x",
    "Dunno: x",
    "Ok: x",
    "Odd: x",
    "Delay: x",
    "Reject: one\nX-Reject4: two",
    "Warn: one\nX-Warn: two",
    "Discard: x\nX-Reject: y",
  ].map((line) => headers(`check X-${line.replace(/\n/g, " and ")}`, `Subject: NAME\nX-${line}`)),
  headers("check of a folded header", "Subject: fold\n\tsecond line"),
  headers("received dropped", "Received: drop this\nSubject: x"),
  headers("message-id dropped", "Message-Id: <drop@this>\nSubject: x"),
  { name: "mime parts", to, text: MIME },
  { name: "mime parts without the evil one", to, text: MIME.replace("evil", "good") },
  ...[
    "reject",
    "warn",
    "ignore",
    "strip",
    "replace",
    "prepend",
    "discard",
    "filter",
    "redirect",
    "bcc",
    "pass",
  ].map(
    (action): Mail => ({
      name: `body check ${action}`,
      to,
      text: `Subject: x\n\nfirst\n${action} me\nlast\nwarn me\n`,
    }),
  ),
  {
    name: "body check beyond the size limit",
    to,
    text: `Subject: x\n\n${"x".repeat(70).concat("\n").repeat(800)}reject me\n`,
  },
  {
    name: "reject from sendmail",
    to,
    from: "nobody@localhost",
    sendmail: [],
    text: "X-Reject: it\n\nbody of it\n",
  },
  {
    name: "body reject from sendmail",
    to,
    from: "nobody@localhost",
    sendmail: [],
    text: "Subject: x\n\nreject me\n",
  },
  {
    name: "reject for now from sendmail",
    to,
    from: "nobody@localhost",
    sendmail: [],
    text: "X-Discard: it\n\nbody of it\n",
  },
  {
    name: "two recipients rejected from sendmail",
    to: ["games@localhost", "news@localhost"],
    from: "nobody@localhost",
    sendmail: [],
    text: "X-Reject: it\n\nbody\n",
  },
];

const HEADERS: ReadonlyArray<Mail> = [
  headers("no headers at all", ""),
  { name: "empty message", to, text: "" },
  { name: "body without separator", to, text: "Subject: x\nno header line\nbody\n" },
  { name: "starts with a body line", to, text: "just text\nmore\n" },
  { name: "starts with a blank line", to, text: "\nSubject: not a header\n" },
  { name: "continuation first", to, text: " leading\nSubject: x\n\nb\n" },
  headers("blank before the colon", "Subject : x\nX-Foo   :bar"),
  headers(
    "addresses",
    'From: joe\nTo: bob, one@posthaste.test,Joe Q. User <user>, (c) x (d)\nCc: G: a, b@c, "d e" <f> ;\nReply-To: a@b@c',
  ),
  headers(
    "bad addresses",
    'From: a b c <user\nTo: user@host,,user2\nCc: a; b\nSender: "unterminated <user>\nErrors-To: [1.2.3.4]',
  ),
  headers("long list", `To: ${Array.from({ length: 40 }, (_, index) => `user${index}`).join(", ")}`),
  headers("long phrases", `To: ${"word ".repeat(80)}<user>, x`),
  headers("long comment", `To: (${"word ".repeat(80)}) user@posthaste.test, joe`),
  headers(
    "bcc",
    "To: x@y.test\nBcc: hidden@z.test\nResent-Bcc: h2@z.test\nReturn-Path: <a@b>\nContent-Length: 12",
  ),
  headers("resent", "Resent-To: x@y.test\nSubject: x"),
  headers("two message ids", "Message-Id: <a@b> junk\nMessage-ID: <c@d>"),
  headers("odd message id", "Message-Id: no brackets"),
  headers("empty message id", "Message-Id:"),
  headers("8-bit header", "Subject: gr\xc3\xbc\xc3\x9fe\nTo: j\xc3\xb6e"),
  headers("8-bit rubbish header", "Subject: \xff\xfe\nTo: \xff@x"),
  headers("very long header", `X-Long: ${"y".repeat(120_000)}`),
  headers("very long folded header", `X-Long: ${`${"y".repeat(900)}\n `.repeat(140)}`),
  headers("many received", Array.from({ length: 51 }, (_, index) => `Received: by hop${index}`).join("\n")),
  headers(
    "just under the hop limit",
    Array.from({ length: 48 }, (_, index) => `Received: by hop${index}`).join("\n"),
  ),
  headers("content transfer encoding", "Content-Transfer-Encoding: 8bit\nContent-Type: text/plain"),
  headers("null sender", "Subject: x", { from: "" }),
  headers("canonical sender", "From: joe\nSubject: x", { from: "joe@posthaste.test" }),
  headers("prototype names", "__proto__: x\nconstructor: y\ntoString: z\nhasOwnProperty: w"),
  headers("undisclosed", "From: x@y"),
  {
    name: "long lines",
    to,
    text: `Subject: x\n\n${"z".repeat(5000)}\n${"w".repeat(2048)}\n${"v".repeat(2047)}\n`,
  },
  { name: "mbox lines", to, text: "Subject: x\n\nFrom me\n>From you\n>>From it\nfrom there\n.\n..\n" },
  { name: "stray carriage returns", to, text: "Subject: x\ry\n\na\rb\n\r\n" },
  { name: "NUL bytes", to, text: "Subject: x\0y\n\na\0b\n" },
  {
    name: "all bytes",
    to,
    text: `Subject: x\n\n${Array.from({ length: 256 }, (_, code) => (code === 10 || code === 13 ? "" : String.fromCharCode(code))).join("")}\n`,
  },
  { name: "no end of line", to, from: "nobody@localhost", sendmail: [], text: "Subject: x\n\nno end" },
  {
    name: "full name",
    to,
    from: "nobody@localhost",
    sendmail: ["-F", "Joe Q. (Public) User"],
    text: "Subject: x\n\nb\n",
  },
  {
    name: "full name, plain",
    to,
    from: "nobody@localhost",
    sendmail: ["-F", "Joe User"],
    text: "Subject: x\n\nb\n",
  },
  {
    name: "full name, 8 bit",
    to,
    from: "nobody@localhost",
    sendmail: ["-F", "Jos\u00e9 U"],
    text: "Subject: x\n\nb\n",
  },
  {
    name: "sendmail -t",
    sendmail: ["-t"],
    from: "nobody@localhost",
    text: "To: games@localhost\nCc: news@localhost (x)\nBcc: list@localhost\nSubject: x\n\nb\n",
  },
  {
    name: "sendmail -t resent",
    sendmail: ["-t"],
    from: "nobody@localhost",
    text: "To: games@localhost\nResent-To: news@localhost\nResent-Bcc: list@localhost\nSubject: x\n\nb\n",
  },
  {
    name: "sendmail -t and arguments",
    sendmail: ["-t"],
    to,
    from: "nobody@localhost",
    text: "To: news@localhost\nSubject: x\n\nb\n",
  },
  {
    name: "sendmail -t without recipients",
    sendmail: ["-t"],
    from: "nobody@localhost",
    text: "Subject: x\n\nb\n",
  },
  {
    name: "sendmail with a mailer-daemon sender",
    sendmail: [],
    to,
    from: "MAILER-DAEMON",
    text: "Subject: x\n\nb\n",
  },
  {
    name: "sendmail 8BITMIME",
    sendmail: ["-B", "8BITMIME"],
    to,
    from: "nobody@localhost",
    text: "Subject: x\n\nb\xe4\n",
  },
];

const MAPPINGS: ReadonlyArray<Mail> = [
  ...[
    "joe@posthaste.test",
    "bob@localhost",
    "bob@mail.posthaste.test",
    "x@old.test",
    "one@loop.test",
    "multi@posthaste.test",
    "plus+ext@posthaste.test",
    "plus+other@posthaste.test",
    "upper@posthaste.test",
    "UPPER@POSTHASTE.TEST",
    "games@canon.test",
    "empty@posthaste.test",
    '"quoted user"@posthaste.test',
    "mail@a.masq.test",
    "root@a.masq.test",
    "x@keep.masq.test",
    "x@a.b.masq.test",
    "x@masq.test",
  ].map(
    (address): Mail => ({
      name: `canonical ${address}`,
      to: ["games@localhost", address],
      from: address,
      text: `From: ${address}\nTo: ${address}, Other <x@y.test>\nCc: "A, B" <${address}>\nReply-To: ${address}\n\nb\n`,
    }),
  ),
  ...[
    "one@valias.test",
    "two@valias.test",
    "keep@valias.test",
    "x@catchall.test",
    "games+x@catchall.test",
    "plus@valias.test",
    "plus+special@valias.test",
    "plus+other@valias.test",
    "ring1@valias.test",
    "bad@valias.test",
    "trash@valias.test",
    "local@localhost",
    "local@elsewhere.test",
    "dup@valias.test",
    "nosuch@valias.test",
    "unknown@valias.test",
  ].flatMap((address): Mail[] => [
    { name: `virtual ${address}`, to: [address] },
    {
      name: `virtual ${address} with DSN`,
      to: [`${address} NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;orig@x.test`],
      from: "nobody@localhost",
      parameters: "ENVID=e1",
    },
  ]),
  {
    name: "two to the same",
    to: ["one@valias.test", "games@localhost", "x@catchall.test", "one@valias.test"],
  },
  { name: "bcc of a sender", to, from: "watched@sender.test" },
  { name: "bcc of a recipient", to: ["watched@localhost"] },
  { name: "bcc with NOTIFY", to: ["games@localhost NOTIFY=SUCCESS"], from: "watched@localhost" },
];

const tables = (dir: string): string => `
canonical_maps = texthash:${dir}/canonical
virtual_alias_maps = texthash:${dir}/virtual
virtual_alias_domains = valias.test, catchall.test
masquerade_domains = !keep.masq.test masq.test
masquerade_exceptions = root
sender_bcc_maps = inline:{ { watched@sender.test = list@localhost } { watched@localhost = list@localhost } }
recipient_bcc_maps = inline:{ { watched@localhost = list@localhost } }
recipient_delimiter = +
local_recipient_maps =
mydestination = $myhostname, localhost, posthaste.test, canon.test
myorigin = posthaste.test
transport_maps = inline:{ { trash.test = discard:thrown away } { broken.test = error:5.2.1 broken by design } { slow.test = retry:4.2.1 slow by design } { .test = discard:far } { example.com = discard:far } }
`;
const checks = (dir: string): string => `
header_checks = regexp:${dir}/header_checks
mime_header_checks = regexp:${dir}/mime_checks
nested_header_checks = regexp:${dir}/nested_checks
body_checks = regexp:${dir}/body_checks
`;

const base = "recipient_delimiter = +\nlocal_recipient_maps =\nsmtpd_discard_ehlo_keywords = chunking\n";
t.setTimeout(240_000);
const options = { ...skip, timeout: 120_000 };

async function scene(
  t: Test,
  mainCf: (dir: string) => string,
  parts: Record<string, ReadonlyArray<Mail>>,
  ignore = /$^/,
): Promise<void> {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, { prepare, mainCf, ignore });
  for (const [name, mails] of Object.entries(parts)) await twins.compare(t, name, mails);
}

t.test("checks", options, (t) =>
  scene(t, (dir) => base + checks(dir), { "header, MIME, nested and body checks": CHECKS }),
);
t.test("headers", options, (t) =>
  scene(
    t,
    () =>
      `${base}always_add_missing_headers = yes\nundisclosed_recipients_header = To: undisclosed-recipients:;\n`,
    { "headers of local mail": HEADERS },
  ),
);
t.test("headers of remote mail", options, (t) =>
  scene(
    t,
    () =>
      `${base}local_header_rewrite_clients = \nremote_header_rewrite_domain = domain.invalid\nalways_bcc = list@localhost\nnon_empty_end_of_header_action = add_header\n`,
    {
      "headers of remote mail": HEADERS.filter(({ sendmail }) => sendmail === undefined),
    },
  ),
);
t.test("mappings", options, (t) =>
  scene(t, tables, { "canonical, masquerade, virtual aliases and bcc": MAPPINGS }),
);

const sized = (size: number): string =>
  `From: a@sender.test\nSubject: NAME\n\n${"123456789 123456789 123456789 123456789 123456789\n".repeat(size / 50)}`;
t.test("message_size_limit", options, (t) =>
  scene(
    t,
    () =>
      "message_size_limit = 5000\nmailbox_size_limit = 0\nbounce_size_limit = 1000\nlocal_recipient_maps =\n",
    {
      message_size_limit: [
        ...[3000, 4300, 4450, 4550, 4650, 4750, 4850, 4950, 5100, 9000, 60_000].map((size) => ({
          name: `smtp ${size}`,
          to,
          text: sized(size),
        })),
        // beyond these sizes postdrop refuses the message
        ...[4200, 4400, 4500, 4600, 4700].map((size) => ({
          name: `sendmail ${size}`,
          to,
          sendmail: ["-f", "news@localhost"],
          text: sized(size),
        })),
      ],
    },
    // Postfix reads what it has written to bounce it, and meets the end that the limit made
    /cleanup\[\d+\]: warning: incoming\/\w+: unexpected EOF in data, record type/,
  ),
);
