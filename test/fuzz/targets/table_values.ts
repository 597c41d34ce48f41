/** What tables answer: access(5) actions and transport(5) values, which an admin wrote or a server said. */
import assert from "node:assert/strict";
import { resolveAddress } from "../../../cmd/trivial-rewrite/resolve.ts";
import { openSettings, type Settings } from "../../../cmd/trivial-rewrite/settings.ts";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { parseTcpReply } from "../../../lib/tables/types/tcp.ts";
import { mainCf, Stage } from "../../unit/smtpd/harness.ts";
import type { Target } from "../runner.ts";

const RECIPIENT = "user@mail.example.com";
/** The table is the environment of this process: each value is what it says now. */
const KEY = RECIPIENT;
const CONFIGURATION = {
  smtpd_error_sleep_time: "0",
  smtpd_client_connection_rate_limit: "0",
  smtpd_client_connection_count_limit: "0",
  smtpd_sender_restrictions: "",
  smtpd_recipient_restrictions: "check_recipient_access environ:x",
  smtpd_reject_unlisted_recipient: "no",
  transport_maps: "environ:x",
};

let opened: { readonly stage: Stage; readonly route: Settings } | undefined;

async function open(): Promise<{ readonly stage: Stage; readonly route: Settings }> {
  installConfiguration(configurationFromText(mainCf(CONFIGURATION), { processName: "trivial-rewrite" }));
  const route = await openSettings();
  return { stage: await Stage.open(CONFIGURATION), route };
}

export const tableValues: Target = {
  name: "table_values",
  seeds: [
    ...[
      "OK",
      "REJECT",
      "REJECT 5.7.2",
      "REJECT 4.7.1 text",
      "550 5.7.2 no",
      "450",
      "421 4.7.0 bye",
      "DEFER_IF_PERMIT x",
      "DEFER_IF_REJECT",
    ],
    ...[
      "DISCARD",
      "HOLD why",
      "FILTER smtp:[127.0.0.1]:10025",
      "REDIRECT a@b.test",
      "PREPEND X-A: b",
      "BCC c@d.test",
      "WARN w",
      "INFO i",
      "DUNNO",
    ],
    ...[
      "permit_mynetworks, reject",
      "reject_rbl_client zen.example=127.0.0.[2..11]",
      "check_client_access static:OK",
      "smtp:[host.test]:25",
      "smtp:",
      ":nexthop",
      "local",
      "error:5.1.1 no such user",
      "relay:a, b",
    ],
  ].map((text) => Buffer.from(text)),
  words: [
    ...'REJECT DEFER OK DUNNO PERMIT FILTER REDIRECT PREPEND BCC HOLD DISCARD smtp: error: : [ ] @ , ; { } $ % = \\ " < > \r \n \t \0 \xff'.split(
      " ",
    ),
    ...[
      "5.7.",
      "5.7.2x",
      "9.9.9",
      "4.1.1234",
      "99999999999",
      "550-a\r\n550 b",
      "x".repeat(5000),
      "a: b\nc: d",
      "${x?{y}}",
      "$mynetworks",
      "check_recipient_access environ:x",
    ],
  ],
  async check(input) {
    opened ??= await open();
    const { stage, route } = opened;
    stage.log.length = 0;
    stage.messages.length = 0;
    const value = input.toString("latin1").replaceAll("\0", "");
    // an object of our own: the C library never gives back what setenv() took
    const environment = process.env;
    process.env = { [KEY]: value };
    const dialogue = stage.connect("192.0.2.200");
    const say = async (line: string): Promise<void> => {
      if (!dialogue.closed) dialogue.channel.onData(Buffer.from(`${line}\r\n`));
      await new Promise((resolve) => setImmediate(resolve));
    };
    try {
      for (const line of ["EHLO a.test", "MAIL FROM:<a@example.org>", `RCPT TO:<${RECIPIENT}>`, "QUIT"])
        await say(line);
      dialogue.channel.onEnd();
      await dialogue.finished;
      const lines = dialogue.output.split("\r\n");
      assert.equal(lines.pop(), "", "output is lines");
      for (const line of lines) {
        assert.match(line, /^[2345]\d\d[ -]/);
        assert.ok(line.length <= 4096, "a reply line has a limit");
        assert.doesNotMatch(line, /[\0-\x08\x0a-\x1f\x7f]/, "nothing but text is said");
      }
      for (const text of stage.log) assert.ok(text.length < 20_000, "a log line has a limit");
      setLogSinks([]);
      const { transport, nexthop } = await resolveAddress("", RECIPIENT, route.route, route.resolve);
      assert.ok(transport.length + nexthop.length <= 2 * value.length + 200);
      for (const line of value.split("\n")) assert.ok(parseTcpReply(line).text.length <= line.length);
    } finally {
      process.env = environment;
    }
  },
};
