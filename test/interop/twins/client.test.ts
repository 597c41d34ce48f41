/** What smtp(8) and lmtp(8) say to servers of all kinds, and what they log and report of them, is what the real Postfix says. */
import t, { type Test } from "tap";
import type { Script } from "../../unit/smtp-client/harness.ts";
import { reference } from "../support/reference.ts";
import { type Mail, Twins } from "../support/twins.ts";

const programs = reference();
const options = { ...("missing" in programs ? { skip: programs.missing } : {}), timeout: 200_000 };
t.setTimeout(240_000);

/** A server, the settings of the client that talks to it, and the mail. */
interface Case {
  readonly name: string;
  readonly script?: Script;
  /** Overrides: `smtp_always_send_ehlo=no`. */
  readonly settings?: ReadonlyArray<string>;
  readonly protocol?: "smtp" | "lmtp" | "unix";
  /** The next hop in place of this case's server; `<NAME>` is the port of another. */
  readonly nexthop?: string;
  readonly flags?: string;
  readonly mail?: Partial<Omit<Mail, "name">>;
  /** Local parts of the recipients, with their parameters: `a NOTIFY=NEVER`. */
  readonly to?: ReadonlyArray<string>;
}

const TEXT8 = "From: j\xc3\xb6e <joe@x.test>\nSubject: gr\xc3\xbc\xc3\x9fe\n\nb\xc3\xb6dy\n";
const HEADERS = [
  'From: "A. Sender" <nobody@localhost> (comment)',
  "To: someone@posthaste.test, Other <other@localhost>,",
  "\tthird@localhost, group: a@localhost, b@elsewhere.test;",
  "Cc: x@localhost",
  "Sender: games@localhost",
  "Resent-From: games@localhost",
  "X-Track: yes",
  "Subject: NAME",
  "",
  "a secret line",
  ".",
  "..dots",
  "end",
  "",
].join("\n");
const full = [
  "fake.example",
  "PIPELINING",
  "SIZE 1000000",
  "ETRN",
  "ENHANCEDSTATUSCODES",
  "8BITMIME",
  "DSN",
  "SMTPUTF8",
];
const ehlo = ["fake.example", "PIPELINING", "8BITMIME"];
const mime = [
  "MIME-Version: 1.0",
  'Content-Type: multipart/mixed; boundary="b"',
  "Subject: NAME",
  "",
  "preamble \xe4",
  "--b",
  "Content-Type: text/plain; charset=iso-8859-1",
  "Content-Transfer-Encoding: 8bit",
  "",
  "caf\xe9 = \t ",
  `long ${"\xe9".repeat(200)}`,
  "From here",
  ".",
  "--b",
  "Content-Type: message/rfc822",
  "Content-Transfer-Encoding: 8bit",
  "",
  "Subject: inner",
  "Content-Type: text/plain",
  "Content-Transfer-Encoding: 8bit",
  "",
  "inn\xe9r",
  "--b",
  "Content-Type: application/octet-stream",
  "Content-Transfer-Encoding: base64",
  "",
  "AAAA",
  "--b--",
  "epilogue \xe4",
  "",
].join("\n");

const CASES: ReadonlyArray<Case> = [
  { name: "plain" },
  { name: "greeting-421", script: { greet: "421 4.3.2 not now" } },
  { name: "greeting-554", script: { greet: "554 5.7.1 go away" } },
  {
    name: "greeting-554-hard",
    script: { greet: "554 5.7.1 go away" },
    settings: ["smtp_skip_5xx_greeting=no"],
  },
  { name: "greeting-multi", script: { greet: "220-fake.example\r\n220-no ESMTP here\r\n220 hello" } },
  { name: "greeting-garbage", script: { greet: "garbage" }, settings: ["smtp_helo_timeout=1s"] },
  { name: "greeting-354", script: { greet: "354 what" } },
  { name: "greeting-drop", script: { greet: "DROP" } },
  { name: "greeting-hang", script: { greet: "HANG" }, settings: ["smtp_helo_timeout=1s"] },
  { name: "greeting-own-name", script: { greet: "220 mail.posthaste.test ESMTP" } },
  { name: "ehlo-own-name", script: { ehlo: ["mail.posthaste.test Hello", "8BITMIME"] } },
  { name: "ehlo-500", script: { replies: [["EHLO", "500 what"]] } },
  { name: "ehlo-421", script: { replies: [["EHLO", "421 busy"]] } },
  { name: "ehlo-hang", script: { replies: [["EHLO", "HANG"]] }, settings: ["smtp_helo_timeout=1s"] },
  { name: "ehlo-drop", script: { replies: [["EHLO", "DROP"]] } },
  {
    name: "helo-501",
    script: {
      replies: [
        ["EHLO", "500 what"],
        ["HELO", "501 5.5.2 no"],
      ],
    },
  },
  { name: "no-esmtp", script: { greet: "220 fake.example SMTP" }, settings: ["smtp_always_send_ehlo=no"] },
  { name: "esmtp", script: { greet: "220 fake.example ESMTP" }, settings: ["smtp_always_send_ehlo=no"] },
  { name: "never-ehlo", settings: ["smtp_never_send_ehlo=yes"] },
  { name: "helo-name", settings: ["smtp_helo_name=client.example"] },
  { name: "pix", script: { greet: "220 **********2****0" } },
  { name: "pix-8bit", script: { greet: "220 ****" }, mail: { text: TEXT8 } },
  {
    name: "pix-now",
    script: { greet: "220 ****" },
    settings: ["smtp_pix_workaround_threshold_time=0s", "smtp_pix_workaround_delay_time=1s"],
  },
  { name: "pix-none", script: { greet: "220 ****" }, settings: ["smtp_pix_workarounds="] },
  {
    name: "pix-map",
    script: { greet: "220 ****" },
    settings: ["smtp_pix_workaround_maps=static:delay_dotcrlf"],
  },
  {
    name: "pix-upper",
    script: { greet: "220 ****" },
    settings: ["smtp_pix_workarounds=DISABLE_ESMTP"],
  },
  { name: "pix-lmtp", protocol: "unix", script: { greet: "220 ****", dot: ["250 a"] } },
  { name: "pipelining", script: { ehlo: ["fake.example", "PIPELINING"] }, to: ["a", "b", "c"] },
  { name: "all", script: { ehlo: full }, to: ["a", "b"] },
  { name: "rcpt-550", script: { ehlo, replies: [["RCPT TO:<b", "550 5.1.1 no b"]] }, to: ["a", "b", "c"] },
  {
    name: "rcpt-all",
    script: { ehlo, replies: [["RCPT", "550-5.1.1 no\r\n550-second\r\n550 5.1.1 such"]] },
    to: ["a", "b"],
  },
  { name: "rcpt-all-unpiped", script: { replies: [["RCPT", "450 4.2.1 later"]] }, to: ["a", "b"] },
  { name: "rcpt-452", script: { replies: [["RCPT TO:<b", "452 4.5.3 too many"]] }, to: ["a", "b"] },
  { name: "rcpt-552", script: { replies: [["RCPT TO:<b", "552 too many"]] }, to: ["a", "b"] },
  { name: "rcpt-354", script: { replies: [["RCPT TO:<b", "354 what"]] }, to: ["a", "b"] },
  { name: "rcpt-mismatch", script: { replies: [["RCPT TO:<b", "450 5.1.1 contradicts"]] }, to: ["a", "b"] },
  { name: "rcpt-421", script: { ehlo, replies: [["RCPT TO:<b", "421 4.3.2 closing"]] }, to: ["a", "b", "c"] },
  { name: "rcpt-no-text", script: { replies: [["RCPT TO:<b", "550"]] }, to: ["a", "b"] },
  {
    name: "rcpt-8bit-text",
    script: { replies: [["RCPT TO:<b", "550 5.1.1 unbekannt f\xc3\xbcr \x01\x7f"]] },
    to: ["a", "b"],
  },
  {
    name: "rcpt-long-text",
    script: { replies: [["RCPT TO:<b", `550 5.1.1 ${"x".repeat(3000)}`]] },
    to: ["a", "b"],
  },
  {
    name: "rcpt-garbage",
    script: { replies: [["RCPT TO:<b", "hello\r\n550 5.1.1 really"]] },
    to: ["a", "b"],
  },
  {
    name: "rcpt-garbage-piped",
    script: { ehlo, replies: [["RCPT TO:<b", "hello\r\n550 5.1.1 really"]] },
    to: ["a", "b"],
  },
  { name: "rcpt-four-digits", script: { replies: [["RCPT TO:<b", "5501 x\r\n250 ok"]] }, to: ["a", "b"] },
  { name: "mail-550", script: { replies: [["MAIL", "550 5.7.1 no senders"]] }, to: ["a", "b"] },
  {
    name: "mail-451-piped",
    script: {
      ehlo,
      replies: [
        ["MAIL", "451 4.7.1 greylisted"],
        ["RCPT", "503 no"],
        ["DATA", "503 no"],
      ],
    },
  },
  { name: "mail-530", script: { replies: [["MAIL", "530 5.7.0 Must issue a STARTTLS command first"]] } },
  { name: "mail-503", script: { replies: [["MAIL", "503 5.5.1 polite people say hello"]] } },
  { name: "data-550", script: { replies: [["DATA", "550 no data"]] } },
  { name: "data-451-piped", script: { ehlo, replies: [["DATA", "451 4.3.0 no data"]] } },
  { name: "data-250", script: { replies: [["DATA", "250 thanks"]] } },
  { name: "dot-550", script: { ehlo, dot: "550 5.7.1 spam" }, to: ["a", "b"] },
  { name: "dot-451", script: { dot: "451 4.7.1 later" } },
  { name: "dot-354", script: { dot: "354 more" } },
  { name: "dot-multi", script: { dot: "250-2.0.0 Ok\r\n250 queued as 12345" } },
  { name: "dot-drop", script: { dot: "DROP" } },
  { name: "dot-hang", script: { dot: "HANG" }, settings: ["smtp_data_done_timeout=1s"] },
  { name: "mail-hang", script: { replies: [["MAIL", "HANG"]] }, settings: ["smtp_mail_timeout=1s"] },
  { name: "rcpt-hang", script: { replies: [["RCPT", "HANG"]] }, settings: ["smtp_rcpt_timeout=1s"] },
  { name: "data-hang", script: { replies: [["DATA", "HANG"]] }, settings: ["smtp_data_init_timeout=1s"] },
  { name: "mail-drop", script: { replies: [["MAIL", "DROP"]] } },
  { name: "rcpt-drop", script: { replies: [["RCPT TO:<b", "DROP"]] }, to: ["a", "b"] },
  { name: "data-drop", script: { replies: [["DATA", "DROP"]] } },
  { name: "quit-wait", settings: ["smtp_skip_quit_response=no"] },
  { name: "quit-drop", script: { replies: [["QUIT", "DROP"]] }, settings: ["smtp_skip_quit_response=no"] },
  { name: "8bit", script: { ehlo }, mail: { text: TEXT8, parameters: "BODY=8BITMIME" } },
  { name: "8bit-undeclared", script: { ehlo }, mail: { text: TEXT8 } },
  { name: "8bit-downgrade", mail: { text: TEXT8, parameters: "BODY=8BITMIME" } },
  { name: "8bit-undeclared-downgrade", mail: { text: TEXT8 } },
  { name: "8bit-no-conversion", settings: ["disable_mime_output_conversion=yes"], mail: { text: TEXT8 } },
  { name: "mime-downgrade", mail: { text: mime, parameters: "BODY=8BITMIME" } },
  { name: "7bit", script: { ehlo: full }, mail: { parameters: "BODY=7BIT" } },
  {
    name: "dsn",
    script: { ehlo: full },
    to: ["a NOTIFY=SUCCESS,DELAY ORCPT=rfc822;orig+2Bx@y.test", "b NOTIFY=NEVER", "c"],
    mail: { parameters: "RET=HDRS ENVID=e+2B+3Dx" },
  },
  {
    name: "dsn-not-offered",
    to: ["a NOTIFY=SUCCESS ORCPT=rfc822;orig+2Bx@y.test", "b NOTIFY=NEVER", "c NOTIFY=FAILURE"],
    script: { replies: [["RCPT TO:<c", "550 no"]] },
    mail: { parameters: "RET=FULL ENVID=ee" },
  },
  {
    name: "dsn-discarded",
    script: { ehlo: full },
    settings: ["smtp_discard_ehlo_keywords=dsn,pipelining"],
    to: ["a NOTIFY=SUCCESS"],
  },
  {
    name: "discard-silent",
    script: { ehlo: full },
    settings: ["smtp_discard_ehlo_keywords=silent-discard,size"],
  },
  {
    name: "discard-map",
    script: { ehlo: full },
    settings: ["smtp_discard_ehlo_keyword_address_maps=static:8bitmime"],
  },
  {
    name: "discard-order",
    script: { ehlo: full },
    settings: [
      "smtp_discard_ehlo_keywords=vrfy etrn, chunking,AUTH starttls,dsn xclient xforward enhancedstatuscodes pipelining size verp requiretls smtputf8 8bitmime",
    ],
  },
  {
    name: "xforward-second-hangs",
    script: { ehlo: ["fake.example", "XFORWARD NAME PROTO"], replies: [["XFORWARD PROTO", "HANG"]] },
    settings: ["smtp_send_xforward_command=yes", "smtp_xforward_timeout=1s"],
  },
  { name: "pix-bad", script: { greet: "220 ****" }, settings: ["smtp_pix_workarounds=nonsense"] },
  { name: "discard-bad", script: { ehlo: full }, settings: ["smtp_discard_ehlo_keywords=nonsense"] },
  {
    name: "utf8",
    script: { ehlo: full },
    to: ["\xc3\xb6"],
    mail: { text: TEXT8, parameters: "BODY=8BITMIME SMTPUTF8" },
  },
  { name: "utf8-header", mail: { text: TEXT8, parameters: "BODY=8BITMIME SMTPUTF8" } },
  {
    name: "utf8-not-offered",
    script: { ehlo },
    to: ["\xc3\xb6"],
    mail: { text: TEXT8, parameters: "BODY=8BITMIME SMTPUTF8" },
  },
  { name: "utf8-ascii", script: { ehlo }, mail: { parameters: "SMTPUTF8" } },
  {
    name: "utf8-no-8bitmime",
    script: { ehlo: ["fake.example", "SMTPUTF8"] },
    mail: { text: TEXT8, parameters: "BODY=8BITMIME SMTPUTF8" },
  },
  { name: "size-small", script: { ehlo: ["fake.example", "SIZE 100"] } },
  { name: "size-none", script: { ehlo: ["fake.example", "SIZE", "8BITMIME"] } },
  { name: "size-bad", script: { ehlo: ["fake.example", "SIZE big", "8BITMIME"] } },
  { name: "size-negative", script: { ehlo: ["fake.example", "SIZE -1", "8BITMIME"] } },
  {
    name: "size-552",
    script: { ehlo: ["fake.example", "SIZE 0", "8BITMIME"], replies: [["MAIL", "552 5.3.4 too big"]] },
  },
  {
    name: "xforward",
    script: { ehlo: ["fake.example", "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE", "8BITMIME"] },
    settings: ["smtp_send_xforward_command=yes"],
  },
  {
    name: "xforward-few",
    script: { ehlo: [...ehlo, "XFORWARD NAME HELO SOURCE"], replies: [["XFORWARD", "501 5.5.4 bad"]] },
    settings: ["smtp_send_xforward_command=yes"],
  },
  {
    name: "xforward-local",
    script: { ehlo: [...ehlo, "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"] },
    settings: ["smtp_send_xforward_command=yes"],
    mail: { sendmail: ["-i"] },
  },
  {
    name: "xforward-hang",
    script: { ehlo: ["fake.example", "XFORWARD NAME"], replies: [["XFORWARD", "HANG"]] },
    settings: ["smtp_send_xforward_command=yes", "smtp_xforward_timeout=1s"],
  },
  {
    name: "generic",
    script: { ehlo },
    settings: [
      "smtp_generic_maps=inline:{{nobody@localhost=me@public.example} {@localhost=all@public.example} {a@generic.test=b@public.example}}",
    ],
    mail: { text: HEADERS },
  },
  {
    name: "header-checks",
    script: { ehlo },
    settings: [
      "smtp_header_checks=pcre:DIR/config/header_checks",
      "smtp_body_checks=pcre:DIR/config/body_checks",
    ],
    mail: { text: HEADERS },
  },
  {
    name: "mime-checks",
    script: { ehlo },
    settings: [
      "smtp_mime_header_checks=pcre:DIR/config/mime_checks",
      "smtp_nested_header_checks=pcre:DIR/config/nested_checks",
    ],
    mail: { text: mime, parameters: "BODY=8BITMIME" },
  },
  {
    name: "reply-filter",
    script: {
      ehlo,
      replies: [
        ["RCPT TO:<b", "550 5.1.1 no b"],
        ["RCPT TO:<c", "250 2.1.5 fine"],
      ],
    },
    settings: ["smtp_reply_filter=pcre:DIR/config/reply_filter", "notify_classes=protocol"],
    to: ["a", "b", "c"],
  },
  {
    name: "notify-protocol",
    script: { replies: [["RCPT TO:<b", "501 5.5.4 syntax"]] },
    settings: ["notify_classes=protocol"],
    to: ["a", "b"],
  },
  {
    name: "status-filter",
    script: {
      replies: [
        ["RCPT TO:<b", "550 5.1.1 no b"],
        ["RCPT TO:<c", "450 4.2.1 no c"],
      ],
    },
    settings: ["smtp_delivery_status_filter=pcre:DIR/config/status_filter"],
    to: ["a", "b", "c"],
  },
  {
    name: "soft-bounce",
    script: { replies: [["RCPT TO:<b", "550 5.1.1 no b"]] },
    settings: ["soft_bounce=yes"],
    to: ["a", "b"],
  },
  {
    name: "long-line",
    script: { ehlo },
    mail: {
      text: `Subject: NAME\nX-Long: ${"h".repeat(2000)}\n\n${"y".repeat(998)}\n${"z".repeat(999)}\n${"w".repeat(5000)}\n`,
    },
  },
  {
    name: "long-line-limit",
    script: { ehlo },
    settings: ["smtp_line_length_limit=100"],
    mail: { text: `Subject: NAME\n\n${"y".repeat(100)}\n${".".repeat(250)}\n` },
  },
  {
    name: "long-line-none",
    script: { ehlo },
    settings: ["smtp_line_length_limit=0"],
    mail: { text: `Subject: NAME\n\n${"z".repeat(5000)}\n` },
  },
  { name: "quote", script: { ehlo }, to: ['"a b"', '"x..y"'] },
  {
    name: "no-quote",
    script: { ehlo },
    settings: ["smtp_quote_rfc821_envelope=no"],
    to: ['"a b"', '"x..y"'],
  },
  {
    name: "null-sender",
    script: { ehlo, replies: [["RCPT TO:<b", "550 no"]] },
    to: ["a", "b"],
    mail: { from: "" },
  },
  { name: "flags", script: { ehlo }, flags: "DORX", to: ["a", "b"] },
  { name: "probe", script: { ehlo }, mail: { sendmail: ["-bv"] } },
  {
    name: "probe-refused",
    script: { ehlo, replies: [["RCPT", "550 5.1.1 nobody"]] },
    mail: { sendmail: ["-bv"] },
  },
  {
    name: "probe-data",
    script: { ehlo },
    settings: ["smtp_address_verify_target=data"],
    mail: { sendmail: ["-bv"] },
  },
  {
    name: "probe-data-upper",
    script: { ehlo },
    settings: ["smtp_address_verify_target=DATA"],
    mail: { sendmail: ["-bv"] },
  },
  { name: "verbose-report", script: { ehlo }, mail: { sendmail: ["-v"] } },
  {
    name: "many",
    script: { ehlo },
    to: Array.from({ length: 60 }, (_, index) => `recipient-${"x".repeat(40)}-${index}`),
  },
  {
    name: "many-limited",
    script: {
      ehlo,
      replies: [
        ["RCPT TO:<r-7", "450 4.5.3 too many"],
        ["RCPT TO:<r-8", "450 4.5.3 too many"],
      ],
    },
    to: Array.from({ length: 9 }, (_, index) => `r-${index}`),
  },
  {
    name: "rset-refused",
    script: {
      replies: [
        ["MAIL", "550 5.7.1 no"],
        ["RSET", "500 what"],
      ],
    },
  },
  {
    name: "rset-drop",
    script: {
      replies: [
        ["RCPT", "550 5.7.1 no"],
        ["RSET", "DROP"],
      ],
    },
  },
  {
    name: "rset-hang",
    script: {
      replies: [
        ["RCPT", "550 5.7.1 no"],
        ["RSET", "HANG"],
      ],
    },
    settings: ["smtp_rset_timeout=1s"],
  },
  {
    name: "quit-hang",
    script: { replies: [["QUIT", "HANG"]] },
    settings: ["smtp_skip_quit_response=no", "smtp_quit_timeout=1s"],
  },
  { name: "data-421", script: { ehlo, replies: [["DATA", "421 4.3.2 closing"]] }, to: ["a", "b"] },
  { name: "mail-421", script: { ehlo, replies: [["MAIL", "421 4.3.2 closing"]] } },
  { name: "dot-421", script: { dot: "421 4.3.2 closing" } },
  { name: "dot-552", script: { dot: "552-5.2.2 over\r\n552 5.2.2 quota" } },
  { name: "dot-garbage", script: { ehlo, dot: "hello\r\n250 2.0.0 fine" } },
  {
    name: "starttls",
    script: { ehlo: [...ehlo, "STARTTLS"] },
    settings: ["smtp_tls_note_starttls_offer=yes"],
  },
  { name: "auth-offered", script: { ehlo: [...ehlo, "AUTH PLAIN LOGIN", "AUTH=PLAIN"] } },
  {
    name: "odd-keywords",
    script: { ehlo: ["fake.example", "size=100000", "8bitmime", "pipelining extra", "", "dsn"] },
  },
  { name: "ehlo-two-names", script: { ehlo: ["fake.example at your service"] } },
  {
    name: "deadline",
    script: { replies: [["MAIL", "HANG"]] },
    settings: ["smtp_per_request_deadline=yes", "smtp_mail_timeout=1s"],
  },
  {
    name: "probe-reject-mail",
    script: {
      ehlo,
      replies: [
        ["MAIL", "450 4.7.1 no"],
        ["RCPT", "503 no"],
      ],
    },
    mail: { sendmail: ["-bv"] },
  },
  {
    name: "notify-data",
    script: { greet: "220 fake.example", replies: [["DATA", "DROP"]] },
    settings: ["notify_classes=data,protocol"],
  },
  {
    name: "notify-garbage",
    script: { ehlo, replies: [["RCPT", "hello\r\n555 5.5.4 unsupported"]] },
    settings: ["notify_classes=data,protocol"],
  },
  {
    name: "utf8-orcpt",
    script: { ehlo: full },
    to: ["\xc3\xb6 NOTIFY=SUCCESS ORCPT=utf-8;\\x{F6}@y.test"],
    mail: { parameters: "SMTPUTF8" },
  },
  {
    name: "utf8-domain",
    script: { ehlo: full, replies: [["RCPT", "550 5.1.1 \xc3\xb6 unknown"]] },
    to: ["\xc3\xb6"],
    mail: { text: TEXT8, parameters: "BODY=8BITMIME SMTPUTF8" },
  },
  { name: "quoted-sender", script: { ehlo: full }, mail: { from: '"a b"@localhost' } },
  {
    name: "generic-utf8",
    script: { ehlo: full },
    settings: ["smtp_generic_maps=inline:{{nobody@localhost=j\xc3\xb6e@public.example}}"],
    mail: { text: HEADERS },
  },
  {
    name: "generic-recipient",
    script: { ehlo },
    settings: ["smtp_generic_maps=inline:{{@generic-recipient.test=@public.example}}"],
    to: ["a", "b+ext"],
  },
  { name: "empty-body", script: { ehlo }, mail: { text: "Subject: NAME\n\n" } },
  {
    name: "header-only-long",
    script: { ehlo },
    mail: { text: `Subject: NAME\nX-Folded: ${"word ".repeat(500)}\n\t${"more ".repeat(300)}\n\nx\n` },
  },
  {
    name: "session-limit",
    nexthop: "[127.0.0.1]:<mail-451-piped>, [127.0.0.1]:<plain>",
    settings: ["smtp_mx_session_limit=1"],
  },
  {
    name: "lmtp-421",
    protocol: "unix",
    script: { ehlo, dot: ["250 a", "421 4.3.2 closing", "250 c"] },
    to: ["a", "b", "c"],
  },
  { name: "lmtp-unpiped", protocol: "unix", script: { dot: ["250 a", "550 5.2.2 full"] }, to: ["a", "b"] },
  { name: "lmtp-greeting", protocol: "unix", script: { greet: "554 5.7.1 go away" } },
  {
    name: "lmtp-hang",
    protocol: "unix",
    script: { dot: ["250 a", "HANG"] },
    to: ["a", "b"],
    settings: ["lmtp_data_done_timeout=1s"],
  },
  {
    name: "lmtp-dot-hang-first",
    protocol: "unix",
    script: { dot: ["HANG"] },
    settings: ["lmtp_data_done_timeout=1s"],
  },
  { name: "lmtp-soft", protocol: "unix", script: { dot: ["550 5.1.1 a"] }, settings: ["soft_bounce=yes"] },
  // the way to a server
  { name: "refused", nexthop: "[127.0.0.1]:1" },
  { name: "list", nexthop: "[127.0.0.1]:1, [127.0.0.1]:<plain>" },
  {
    name: "list-4xx",
    nexthop: "[127.0.0.1]:<greeting-421>, [127.0.0.1]:<mail-451-piped>, [127.0.0.1]:<plain>",
  },
  { name: "list-5xx", nexthop: "[127.0.0.1]:<mail-550>, [127.0.0.1]:<plain>" },
  { name: "list-554", nexthop: "[127.0.0.1]:<greeting-554>, [127.0.0.1]:<plain>" },
  { name: "list-rcpt", nexthop: "[127.0.0.1]:<rcpt-452>, [127.0.0.1]:<plain>", to: ["a", "b", "c"] },
  {
    name: "list-soft-bounce",
    nexthop: "[127.0.0.1]:<rcpt-550>, [127.0.0.1]:<plain>",
    settings: ["soft_bounce=yes"],
    to: ["a", "b"],
  },
  {
    name: "list-utf8",
    nexthop: "[127.0.0.1]:<8bit>, [127.0.0.1]:<utf8>",
    to: ["\xc3\xb6"],
    mail: { parameters: "SMTPUTF8" },
  },
  { name: "fallback", nexthop: "[127.0.0.1]:1", settings: ["smtp_fallback_relay=[127.0.0.1]:<plain>"] },
  { name: "fallback-broken", nexthop: "[127.0.0.1]:1", settings: ["smtp_fallback_relay=nohost.invalid"] },
  { name: "localhost", nexthop: "localhost:<plain>", settings: ["smtp_address_preference=ipv4"] },
  {
    name: "address-limit",
    nexthop: "localhost:<rcpt-452>",
    settings: ["smtp_mx_address_limit=1"],
    to: ["b"],
  },
  { name: "unknown-host", nexthop: "[no-such-host]:25" },
  { name: "unknown-service", nexthop: "[127.0.0.1]:nosuchservice" },
  { name: "lmtp-inet", protocol: "lmtp", nexthop: "inet:[127.0.0.1]:<plain>" },
  { name: "inet-in-smtp", nexthop: "inet:[127.0.0.1]:<plain>" },
  { name: "smtps-port", nexthop: "[127.0.0.1]:465" },
  { name: "lmtps-port", protocol: "lmtp", nexthop: "inet:[127.0.0.1]:465" },
  { name: "bind-family", nexthop: "[127.0.0.1]:<plain>", settings: ["smtp_bind_address=::1"] },
  {
    name: "generic-two",
    nexthop: "[127.0.0.1]:<plain>",
    settings: ["smtp_generic_maps=inline:{{x@localhost=y@far.example,z@far.example}}"],
    mail: { text: HEADERS },
  },
  { name: "bad-destination", nexthop: "[127.0.0.1:25" },
  { name: "bind", nexthop: "[127.0.0.1]:<plain>", settings: ["smtp_bind_address=127.0.0.7"] },
  { name: "bind-bad", nexthop: "[127.0.0.1]:<plain>", settings: ["smtp_bind_address=192.0.2.7"] },
  {
    name: "bind-enforced",
    nexthop: "[127.0.0.1]:<plain>",
    settings: ["smtp_bind_address=192.0.2.7", "smtp_bind_address_enforce=yes"],
  },
  // LMTP
  {
    name: "lmtp",
    protocol: "lmtp",
    script: { ehlo: full, dot: ["250 2.1.5 a ok", "550 5.1.1 no b", "452 4.2.2 c full"] },
    to: ["a", "b", "c"],
  },
  {
    name: "lmtp-unix",
    protocol: "unix",
    script: { ehlo, dot: ["250 2.1.5 a ok", "250 2.1.5 c ok"], replies: [["RCPT TO:<b", "550 5.1.1 no b"]] },
    to: ["a", "b", "c"],
  },
  { name: "lmtp-absent", protocol: "lmtp", nexthop: "unix:/nowhere/socket" },
  { name: "lmtp-fewer", protocol: "unix", script: { ehlo, dot: ["250 2.1.5 a ok", "DROP"] }, to: ["a", "b"] },
  { name: "lmtp-lhlo-500", protocol: "unix", script: { replies: [["LHLO", "500 what"]] } },
  { name: "lmtp-flags", protocol: "unix", script: { dot: ["250 a"] }, flags: "DORX" },
  {
    name: "lmtp-success",
    protocol: "unix",
    script: { dot: ["250 a", "250 b"] },
    to: ["a NOTIFY=SUCCESS", "b NOTIFY=SUCCESS"],
    flags: "X",
  },
  {
    name: "lmtp-assume-final",
    protocol: "unix",
    script: { dot: ["250 a"] },
    to: ["a NOTIFY=SUCCESS"],
    settings: ["lmtp_assume_final=yes"],
  },
  { name: "lmtp-garbage", protocol: "unix", script: { ehlo, dot: ["hello\r\n250 a"] } },
  {
    name: "lmtp-generic",
    protocol: "unix",
    script: { dot: ["250 a"] },
    settings: [
      "lmtp_generic_maps=inline:{{nobody@localhost=me@public.example}}",
      "lmtp_lhlo_name=lmtp.example",
    ],
  },
  { name: "lmtp-unix-long", protocol: "lmtp", nexthop: `unix:/${"x".repeat(200)}` },
];

const TABLES: Readonly<Record<string, string>> = {
  header_checks: `/^X-Track:/ STRIP tracked
/^Cc:/ IGNORE
/^Sender:/ REPLACE Sender: replaced@localhost
/^Subject:/ PREPEND X-Before: subject
/^Resent-From:/ WARN resent
/^From:/ INFO from
/^To:/ HOLD
/^Received:/ DUNNO
`,
  body_checks: "/secret/ REPLACE a public line\n/^\\.$/ WARN dot\n/^end/ PREPEND before the end\n",
  mime_checks: "/octet-stream/ REPLACE Content-Type: text/plain\n/iso-8859-1/ INFO latin\n",
  nested_checks: "/^Subject: inner/ REPLACE Subject: nested\n",
  reply_filter: "/^550 (.*)/ 450 filtered $1\n/^250 2.1.5 fine/ 421 4.3.0 not fine\n",
  status_filter:
    "/^5\\.1\\.1 (.*)/ 4.1.1 filtered $1\n/^4\\.2\\.1 (.*)/ 5.2.1 hardened $1\n/^2\\.\\S+ (.*)/ 2.9.9 good $1\n",
};

const service = ({ name }: Case): string => `client-${name}`;
const scripts = Object.fromEntries(
  CASES.filter(({ nexthop }) => nexthop === undefined).map(({ name, script }) => [name, script ?? {}]),
);
const unix = CASES.filter(({ protocol }) => protocol === "unix").map(({ name }) => name);

const mailOf = ({ name, to = ["a"], mail }: Case): Mail => ({
  name,
  from: "nobody@localhost",
  to: to.map((recipient) => {
    const [, local, parameters] = /^("[^"]*"|[^ ]*)(.*)$/.exec(recipient) ?? [];
    return `${local}@${name}.test${parameters}`;
  }),
  ...mail,
});

t.test("servers of all kinds", options, async (t: Test) => {
  if ("missing" in programs) return;
  const { mkdirSync, writeFileSync } = await import("node:fs");
  const { join } = await import("node:path");
  const twins = await Twins.start(t, programs, {
    servers: scripts,
    unix,
    // a fatal error ends the one delivery of several in our process, the process of the real system, which master holds back then
    ignore: /libexec\/smtp: bad command startup|libexec\/smtp pid \d+ exit status 1/,
    prepare: (directory) => {
      mkdirSync(join(directory, "config"), { recursive: true });
      for (const [name, text] of Object.entries(TABLES)) writeFileSync(join(directory, "config", name), text);
    },
    mainCf: (_directory, place) =>
      [
        "local_recipient_maps =",
        "smtputf8_enable = yes",
        "smtp_dns_support_level = disabled",
        "lmtp_dns_support_level = disabled",
        "relay_domains = static:all",
        "default_destination_concurrency_failed_cohort_limit = 0",
        "transport_maps =",
        ...CASES.map((each) => {
          const nexthop =
            each.nexthop?.replace(/<([^>]+)>/g, (_all, name: string) => String(place(name))) ??
            (each.protocol === "unix" ? `unix:${place(each.name)}` : `[127.0.0.1]:${place(each.name)}`);
          return `  inline:{{${each.name}.test = ${service(each)}:${nexthop}}}`;
        }),
      ].join("\n"),
    masterCf: (directory, place) =>
      CASES.map((each) => {
        const program = each.protocol === undefined || each.protocol === "smtp" ? "smtp" : "lmtp";
        const overrides = ["smtp_connection_cache_on_demand=no", ...(each.settings ?? [])].map((setting) =>
          setting
            .replaceAll("DIR", directory)
            .replace(/<([^>]+)>/g, (_all, name: string) => String(place(name))),
        );
        return [
          `${service(each)} unix - - n - 1 ${program}`,
          ...overrides.map((setting) => `  -o { ${setting.replace("=", " = ")} }`),
          ...(each.flags === undefined ? [] : [`  flags=${each.flags}`]),
          "",
        ].join("\n");
      }).join(""),
  });
  await twins.compare(t, "sessions, log lines and notices", CASES.map(mailOf));
});
