/** The server's side of SMTP: whatever a client sends, every reply is one, each message that got its 250 is whole, and the session ends with its input. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { Stage } from "../../unit/smtpd/harness.ts";
import type { Target } from "../runner.ts";

const VECTORS = new URL("../../vectors/smtpd/", import.meta.url);

/** What the clients of recorded sessions sent. */
function recorded(): Buffer[] {
  const sessions: Buffer[] = [];
  for (const name of readdirSync(VECTORS).filter((file) => file.endsWith(".json"))) {
    const file = JSON.parse(readFileSync(new URL(name, VECTORS), "utf8")) as {
      scenarios?: ReadonlyArray<{ dialogue?: ReadonlyArray<{ c?: string | null; c_raw?: string }> }>;
    };
    for (const { dialogue } of file.scenarios ?? []) {
      const text = (dialogue ?? [])
        .map(({ c, c_raw }) => c_raw ?? (typeof c === "string" ? `${c}\r\n` : ""))
        .join("");
      if (text !== "" && text.length < 4000) sessions.push(Buffer.from(text, "utf8"));
    }
  }
  return sessions;
}

const MESSAGE =
  "EHLO a.test\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<root@localhost>\r\nDATA\r\nSubject: x\r\n\r\n..x\r\n.\r\n";
const CHUNKS =
  "EHLO a.test\r\nMAIL FROM:<a@example.org> BODY=8BITMIME\r\nRCPT TO:<root@localhost>\r\nBDAT 12\r\nSubject: x\r\nBDAT 4 LAST\r\n\r\nx\r\nQUIT\r\n";

let stage: Stage | undefined;

export const smtpServer: Target = {
  name: "smtp_server",
  seeds: [
    ...recorded(),
    Buffer.from(`${MESSAGE}QUIT\r\n`),
    Buffer.from(MESSAGE.repeat(3)),
    Buffer.from(CHUNKS),
  ],
  words: [
    ...[
      "\r\n",
      "\n",
      "\r",
      ".\r\n",
      "\r\n.\r\n",
      "\n.\n",
      "\n.\r\n",
      "\r.\r",
      "..",
      "\0",
      "\xff",
      "<",
      ">",
      '"',
      "@",
      " ",
      "[",
      "]",
    ],
    ...[
      "EHLO ",
      "HELO ",
      "MAIL FROM:",
      "RCPT TO:",
      "DATA\r\n",
      "BDAT ",
      " LAST",
      "RSET\r\n",
      "QUIT\r\n",
      "VRFY ",
      "ETRN ",
      "NOOP\r\n",
      "XCLIENT ",
      "XFORWARD ",
      "STARTTLS\r\n",
      "AUTH ",
    ],
    ...[
      " SIZE=",
      " BODY=8BITMIME",
      " SMTPUTF8",
      " RET=HDRS",
      " ENVID=",
      " NOTIFY=",
      " ORCPT=rfc822;",
      "999999999999",
      "-1",
      "x".repeat(500),
    ],
  ],
  async check(input) {
    stage ??= await Stage.open({
      smtpd_error_sleep_time: "0",
      smtpd_client_connection_rate_limit: "0",
      smtpd_client_connection_count_limit: "0",
    });
    stage.log.length = 0;
    stage.messages.length = 0;
    stage.notices.length = 0;
    const dialogue = stage.connect("192.0.2.200");
    const size = 1 + (input.length % 97) * 13;
    for (let at = 0; at < input.length; at += size) {
      if (!dialogue.closed) dialogue.channel.onData(Buffer.from(input.subarray(at, at + size)));
      if (at % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    dialogue.channel.onEnd();
    await dialogue.finished;
    const lines = dialogue.output.split("\r\n");
    assert.equal(lines.pop(), "", "output is lines");
    for (const line of lines) {
      assert.match(line, /^[2345]\d\d[ -]/);
      assert.ok(line.length <= 4096, "a reply line has a limit");
      assert.doesNotMatch(line, /[\0-\x08\x0a-\x1f\x7f]/, "nothing but text is said");
    }
    const promised = lines.filter((line) => line.startsWith("250 2.0.0 Ok: queued as")).length;
    assert.equal(
      stage.messages.filter(({ ended }) => ended).length,
      promised,
      "each whole message got its 250, and no other",
    );
    for (const text of stage.log) assert.ok(text.length < 5000, "a log line has a limit");
  },
};
