/** Bounces, delay warnings, delivery reports, VERP and postmaster copies are those of the real Postfix. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { logged, until } from "../../system/support/harness.ts";
import { reference } from "../support/reference.ts";
import { type Mail, Twins } from "../support/twins.ts";

const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};
const options = { ...skip, timeout: 120_000 };
t.setTimeout(240_000);

const BASE = `recipient_delimiter = +
local_recipient_maps =
virtual_alias_maps = inline:{ { team@localhost = games, nosuchuser } { far@localhost = x@trash.test } }
alias_maps = inline:{ { list = games, nosuchuser } { owner-list = news } { pipe = "|echo 5.7.1 go; exit 1" } { fwd = x@broken.test } { ok = games } { far-list = x@trash.test } { owner-far-list = news } }
transport_maps = inline:{ { trash.test = discard:thrown away } { broken.test = error:5.2.1 broken by design } { slow.test = retry:4.2.1 slow by design } { long.test = error:5.7.1 aaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb cccccccccccccccccccccccccc dddddddddddddddddddd eeeeeeeeeeeeeeeeeeeeeee ffffffffffffffffff } }
`;

const to = (...list: string[]): ReadonlyArray<string> => list;
const from = "nobody@localhost";
const TEXT8 = "From: j\xc3\xb6e <joe@x.test>\nSubject: gr\xc3\xbc\xc3\x9fe\n\nb\xc3\xb6dy\n";

const MAILS: ReadonlyArray<Mail> = [
  { name: "unknown user", from, to: to("nosuchuser@localhost") },
  { name: "one of two", from, to: to("nosuchuser@localhost", "games@localhost") },
  { name: "long reason", from, to: to("x@long.test", "y@long.test") },
  { name: "alias member", from, to: to("list@localhost") },
  { name: "virtual alias member", from, to: to("team@localhost") },
  { name: "command", from, to: to("pipe@localhost") },
  { name: "forwarded", from, to: to("fwd@localhost") },
  { name: "quoted", from, to: to('"no such"@localhost', '"a\\"b"@broken.test') },
  { name: "quoted sender", from: '"no body"@localhost', to: to("nosuchuser@localhost") },
  { name: "8 bit", from, to: to("x@broken.test"), text: TEXT8 },
  { name: "8BITMIME", from, to: to("x@broken.test"), text: TEXT8, parameters: "BODY=8BITMIME" },
  {
    name: "SMTPUTF8",
    from,
    to: to("x\xc3\xb6@broken.test", "\xc3\xb6@localhost"),
    text: TEXT8,
    parameters: "BODY=8BITMIME SMTPUTF8",
  },
  {
    name: "SMTPUTF8 success",
    from,
    to: to("games@localhost NOTIFY=SUCCESS"),
    text: TEXT8,
    parameters: "BODY=8BITMIME SMTPUTF8",
  },
  { name: "null sender", from: "", to: to("nosuchuser@localhost") },
  { name: "double bounce", from: "double-bounce@mail.posthaste.test", to: to("nosuchuser@localhost") },
  {
    name: "ENVID and ORCPT",
    from,
    to: to("x@broken.test ORCPT=rfc822;orig+2Bplus@x.test"),
    parameters: "ENVID=id+2Bx RET=HDRS",
  },
  { name: "RET=FULL", from, to: to("x@broken.test"), parameters: "RET=FULL" },
  {
    name: "big",
    from,
    to: to("x@broken.test"),
    text: `Subject: big\n\n${`${"x".repeat(70)}\n`.repeat(100)}`,
  },
  ...["NEVER", "SUCCESS", "FAILURE", "DELAY", "SUCCESS,FAILURE", "SUCCESS,DELAY,FAILURE"].flatMap(
    (notify): Mail[] => [
      {
        name: `NOTIFY=${notify}`,
        from,
        to: to(
          `x@broken.test NOTIFY=${notify}`,
          `games@localhost NOTIFY=${notify}`,
          `x@trash.test NOTIFY=${notify}`,
          `y@slow.test NOTIFY=${notify}`,
        ),
        parameters: "ENVID=e",
      },
      {
        name: `NOTIFY=${notify} by alias`,
        from,
        to: to(
          `list@localhost NOTIFY=${notify}`,
          `ok@localhost NOTIFY=${notify}`,
          `team@localhost NOTIFY=${notify}`,
          `far@localhost NOTIFY=${notify}`,
          `far-list@localhost NOTIFY=${notify} ORCPT=rfc822;far@x.test`,
        ),
      },
    ],
  ),
  { name: "NOTIFY=SUCCESS, null sender", from: "", to: to("games@localhost NOTIFY=SUCCESS") },
  {
    name: "NOTIFY=SUCCESS to nobody's mailbox",
    from,
    to: to("nobody@localhost NOTIFY=SUCCESS", "you@vbox.test NOTIFY=SUCCESS"),
  },
  ...["-v", "-bv"].map(
    (mode): Mail => ({
      name: `report ${mode}`,
      sendmail: [mode],
      from,
      to: to(
        "games",
        "nosuchuser@localhost",
        "x@trash.test",
        "x@broken.test",
        "y@slow.test",
        "list",
        "team@localhost",
        "you@vbox.test",
        "pipe",
        "fwd",
      ),
    }),
  ),
  { name: "-N never", sendmail: ["-N", "never"], from, to: to("x@broken.test") },
  {
    name: "-N success",
    sendmail: ["-N", "success", "-V", "e1"],
    from,
    to: to("games@localhost", "x@broken.test"),
  },
  { name: "-R hdrs", sendmail: ["-R", "hdrs"], from, to: to("x@broken.test") },
  ...["-XV", "-V", "-XV#="].map(
    (mode): Mail => ({
      name: `VERP ${mode}`,
      sendmail: mode === "-V" ? ["-XV+="] : [mode],
      from: "games+list@localhost",
      to: to("x@broken.test", "nosuchuser@localhost", "news@localhost", "team@localhost", "y@slow.test"),
    }),
  ),
  {
    name: "VERP by SMTP",
    from: "games+list@localhost",
    parameters: "XVERP",
    to: to("x@broken.test", "news@localhost NOTIFY=SUCCESS", "team@localhost NOTIFY=NEVER"),
  },
  {
    name: "VERP by SMTP, delimiters",
    from: "games+list@localhost",
    parameters: "XVERP=-=",
    to: to("x@broken.test"),
  },
  { name: "body with dots", from, to: to("x@broken.test"), text: "Subject: x\n\n.\n..\nFrom me\n--\n" },
  {
    name: "rejected by sendmail's size",
    from,
    to: to("x@broken.test"),
    text: "Message-Id:\n <folded@id>\nSubject: x\n\nb\n",
  },
];

async function scene(t: Test, mainCf: string, names?: ReadonlyArray<string>): Promise<void> {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, { mainCf: () => BASE + mainCf });
  await twins.compare(
    t,
    t.name,
    names === undefined ? MAILS : MAILS.filter(({ name }) => names.includes(name)),
  );
}

t.test("as they come", options, async (t) => {
  await scene(t, "smtpd_authorized_verp_clients = 127.0.0.1\n");
});

t.test("every class to the postmaster", options, async (t) => {
  const names = [
    "unknown user",
    "null sender",
    "double bounce",
    "NOTIFY=NEVER",
    "NOTIFY=SUCCESS, null sender",
    "VERP by SMTP",
    "alias member",
    "report -bv",
  ];
  await scene(
    t,
    `smtpd_authorized_verp_clients = 127.0.0.1
notify_classes = bounce, 2bounce, delay, resource, software
bounce_notice_recipient = games@localhost
2bounce_notice_recipient = news@localhost
delay_notice_recipient = games@localhost
error_notice_recipient = games@localhost
`,
    names,
  );
});

t.test("other settings", options, async (t) => {
  const names = [
    "unknown user",
    "8 bit",
    "8BITMIME",
    "big",
    "ENVID and ORCPT",
    "rejected by sendmail's size",
    "long reason",
  ];
  await scene(
    t,
    `bounce_size_limit = 1000
enable_threaded_bounces = yes
header_from_format = obsolete
smtputf8_enable = no
mail_name = Post Fix (x)
internal_mail_filter_classes = bounce
header_checks = regexp:{{/^Subject: failure/ WARN a notice}}
backwards_bounce_logfile_compatibility = no
info_log_address_format = internal
`,
    names,
  );
});

t.test("soft_bounce", options, async (t) => {
  const names = [
    "unknown user",
    "alias member",
    "NOTIFY=SUCCESS,DELAY,FAILURE",
    "report -bv",
    "report -v",
    "command",
  ];
  await scene(t, "soft_bounce = yes\n", names);
});

t.test("status filters", options, async (t) => {
  await scene(
    t,
    `default_delivery_status_filter = regexp:{{/^(5.1.1 unknown user.*)/ 4.1.1 filtered $1} {/^4(.*slow by design)/ 5$1} {/^2.*thrown/ 5.0.0 not allowed} {/^2.0.0 delivered to mailbox/ 2.1.5 in the box} {/broken/ nonsense}}
`,
    ["unknown user", "one of two", "NOTIFY=SUCCESS,DELAY,FAILURE", "report -bv"],
  );
});

t.test("delay warnings", options, async (t) => {
  if ("missing" in programs) return;
  const twins = await Twins.start(t, programs, {
    mainCf: () => `${BASE}delay_warning_time = 1s
confirm_delay_cleared = yes
notify_classes = delay
delay_notice_recipient = games@localhost
minimal_backoff_time = 1s
queue_run_delay = 1s
`,
  });
  await twins.send({
    name: "slow",
    from,
    to: to("y@slow.test", "z@slow.test NOTIFY=NEVER", "w@slow.test NOTIFY=DELAY ORCPT=rfc822;w@x.test"),
    parameters: "ENVID=e1 RET=FULL",
  });
  for (const instance of twins.both) {
    await logged(instance, /postmaster delay notification/);
    await until("the warnings", () =>
      ["nobody", "games"].every((name) => existsSync(join(instance.mail, name))),
    );
    for (const name of ["nobody", "games"])
      await until("the end of the copy", () =>
        /--\n\n$/.test(readFileSync(join(instance.mail, name), "latin1")),
      );
  }
  twins.sameMailboxes(t, "the warnings");
});
