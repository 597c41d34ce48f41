/** Which errors of SMTP sessions are mailed to the postmaster, and what that mail says: class by class as the real Postfix has it. */
import t, { type Test } from "tap";
import { continueWith } from "../support/mixed.ts";
import { reference } from "../support/reference.ts";
import { converse, Twins } from "../support/twins.ts";

const programs = reference();
const options = { ...("missing" in programs ? { skip: programs.missing } : {}), timeout: 200_000 };
t.setTimeout(240_000);

const START = ["EHLO client.test", "MAIL FROM:<nobody@localhost>"];
const message = (text: string): string[] => ["RCPT TO:<games@localhost>", "DATA", `${text}\r\n.`, "QUIT"];
const RECEIVED = "Received: by x; Mon, 1 Jan 2024 00:00:00 +0000\r\n";

/** Sessions with errors of every kind. */
const SESSIONS: Readonly<Record<string, ReadonlyArray<string>>> = {
  "a refusal": [...START, "RCPT TO:<refused@localhost>", "QUIT"],
  "a refusal with a secret and 8 bits": [
    ...START,
    "RCPT TO:<refused+caf\xc3\xa9@localhost>",
    `NOOP ${"x ".repeat(200)}`,
    "QUIT",
  ],
  "a warning": [...START, "RCPT TO:<warned@localhost>", "RSET", "QUIT"],
  "a deferral": [...START, "RCPT TO:<deferred@localhost>", "QUIT"],
  "a restriction that is none": [...START, "RCPT TO:<nonsense@localhost>", "QUIT"],
  "a table that fails": [...START, "RCPT TO:<table@localhost>", "QUIT"],
  "a policy server that is not there": [...START, "RCPT TO:<policy@localhost>", "QUIT"],
  "a lookup that fails": [...START, "RCPT TO:<lookup@localhost>", "QUIT"],
  "no relaying": [...START, "RCPT TO:<a@elsewhere.example>", "QUIT"],
  "an unknown command": ["EHLO client.test", "HELLO", "XYZZY plugh", "QUIT"],
  "blanks at the end": [
    "EHLO client.test",
    "XYZZY plugh  ",
    `XYZZY ${"word ".repeat(30)}   `,
    `XYZZY ${"w".repeat(100)} ${"v".repeat(90)}`,
    "QUIT",
  ],
  "bad syntax": ["EHLO client.test", "MAIL FROM", "MAIL FROM:<a@b@c>", "RCPT TO:<x>", "DATA", "QUIT"],
  "no greeting": ["MAIL FROM:<a@b.test>", "RCPT TO:<games@localhost>", "QUIT"],
  "no name": ["EHLO", "HELO", "QUIT"],
  "a bad name": ["HELO bad_name!.test", "HELO -x.test", "QUIT"],
  "too large": ["EHLO client.test", "MAIL FROM:<nobody@localhost> SIZE=99999999999", "QUIT"],
  "too many recipients": [
    ...START,
    ...[1, 2, 3, 4].map((n) => `RCPT TO:<games+${n}@localhost>`),
    "RSET",
    "QUIT",
  ],
  "a forbidden command": ["GET / HTTP/1.0"],
  "an end without QUIT": START,
  "no recipients": [...START, "DATA", "QUIT"],
  "a header that is refused": [...START, ...message("Subject: refuse me\r\n\r\nx")],
  "a header that cannot be checked": [...START, ...message("Subject: fail me\r\n\r\nx")],
  "an alias that cannot be looked up": [
    ...START,
    "RCPT TO:<alias@localhost>",
    "DATA",
    "Subject: x\r\n\r\nx\r\n.",
    "QUIT",
  ],
  "too many hops": [...START, ...message(`${RECEIVED.repeat(6)}Subject: x\r\n\r\nx`)],
  "too large after all": [...START, ...message(`Subject: x\r\n\r\n${"line\r\n".repeat(2000)}`)],
  "bare parameters": [
    "EHLO client.test",
    "MAIL FROM:<a@b.test> BODY=9BIT",
    "MAIL FROM:<a@b.test> X=y",
    "QUIT",
  ],
  "too much junk": ["EHLO client.test", ...Array.from({ length: 8 }, () => "NOOP"), "QUIT"],
  "too many errors": ["EHLO client.test", ...Array.from({ length: 5 }, () => "BLA"), "QUIT"],
  "a notice about a notice": [
    "EHLO client.test",
    "MAIL FROM:<double-bounce@localhost>",
    "RCPT TO:<refused@localhost>",
    "QUIT",
  ],
  "a bounce": ["EHLO client.test", "MAIL FROM:<>", "RCPT TO:<refused@localhost>", "QUIT"],
};

const ROUNDS: ReadonlyArray<{
  readonly name: string;
  readonly settings: string;
  readonly sessions?: RegExp;
}> = [
  ...["policy", "protocol", "software", "resource", "data, bounce, 2bounce, delay"].map((classes) => ({
    name: classes,
    settings: `notify_classes = ${classes}`,
  })),
  {
    name: "no space",
    settings: "notify_classes = resource\nqueue_minfree = 1000000000000000",
    sessions: /^a header/,
  },
  {
    name: "a filter that is not there, another recipient",
    settings:
      "notify_classes = resource, software, policy\nsmtpd_proxy_filter = 127.0.0.1:1\nerror_notice_recipient = games@localhost",
    sessions: /^a header|refusal/,
  },
];

t.test("errors of sessions by class", options, async (t: Test) => {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, {
    // how much space there is differs from moment to moment
    ignore: /daemon started|not enough free space/,
    mainCf: () => `recipient_delimiter = +
in_flow_delay = 0
smtpd_error_sleep_time = 0
smtpd_helo_required = yes
smtpd_recipient_limit = 2
smtpd_junk_command_limit = 5
smtpd_hard_error_limit = 5
hopcount_limit = 5
message_size_limit = 10000
local_recipient_maps = pipemap:{inline:{{games=x} {nobody=x} {refused=x} {warned=x} {deferred=x} {nonsense=x} {table=x} {policy=x} {alias=x}}}, pipemap:{inline:{{lookup=x}},fail:oops}
smtpd_reject_unlisted_recipient = yes
virtual_alias_maps = pipemap:{inline:{{alias@localhost=x}},fail:oops}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_helo_restrictions = reject_invalid_helo_hostname
smtpd_restriction_classes = none, table, policy, warned
none = nonsense
table = check_recipient_access fail:oops
policy = check_policy_service inet:127.0.0.1:1
warned = warn_if_reject reject
smtpd_policy_service_retry_delay = 1
smtpd_policy_service_try_limit = 1
smtpd_recipient_restrictions = check_recipient_access inline:{{refused@=REJECT no} {warned@=warned} {deferred@=450 4.7.1 later} {nonsense@=none} {table@=table} {policy@=policy}}
header_checks = pipemap:{pcre:{{/^Subject: fail/ x}},fail:oops}, pcre:{{/^Subject: refuse/ REJECT not wanted}}
# round
`,
  });
  for (const { name, settings, sessions = /./ } of ROUNDS) {
    await Promise.all(
      twins.both.map((instance, side) =>
        continueWith(instance, programs, { base: side === 0 ? "ours" : "real", swapped: [] }, (mainCf) =>
          mainCf.replace(/# round[\s\S]*$/, `# round\n${settings}\n`),
        ),
      ),
    );
    await twins.compareAfter(
      t,
      name,
      Object.entries(SESSIONS)
        .filter(([title]) => sessions.test(title))
        .map(([title, lines]) => async ({ smtpPort }) => {
          const replies = await converse(smtpPort, lines);
          return replies.map((reply) => `${title}: ${reply}`);
        }),
    );
  }
});
