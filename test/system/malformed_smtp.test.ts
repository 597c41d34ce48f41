/** SMTP clients that misbehave. The replies and log lines were seen on a real Postfix. */
import { existsSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import t from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { NEEDS_ROOT, queueFiles, runningInstance, until } from "./support/harness.ts";
import { bytes, linesAfter, randomBytes, randomSource, stillWorks } from "./support/hostile.ts";

/** Text is sent; a number waits for as many reply lines that are no continuation; END half-closes; RST resets. */
type Step = string | number | "END" | "RST";

const MAIN_CF = `smtpd_error_sleep_time = 0
message_size_limit = 200000
smtpd_timeout = 5s
smtpd_forbid_bare_newline_exclusions =
smtpd_client_connection_count_limit = 0
`;
const SILENCE_MS = 700;

/** Plays one client; gives its final reply lines (codes 200 of the greeting left out) without queue ids. */
function play(instance: Instance, steps: ReadonlyArray<Step>, early = false): Promise<string[]> {
  return new Promise((resolve) => {
    let text = "";
    let wake = (): void => undefined;
    const socket = connect({ port: instance.smtpPort, host: "127.0.0.1", allowHalfOpen: true });
    const finals = (): string[] => text.split("\r\n").filter((line) => /^\d{3} /.test(line));
    let closed = false;
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      wake();
    });
    socket.on("error", () => socket.destroy());
    socket.on("end", () => socket.end());
    socket.on("close", () => {
      closed = true;
      wake();
      resolve(
        finals()
          .slice(1)
          .map((line) => line.replace(/\b[0-9A-F]{10,12}\b/g, "ID")),
      );
    });
    const replies = async (count: number): Promise<void> => {
      const deadline = Date.now() + 5000;
      while (!closed && finals().length < count && Date.now() < deadline)
        await new Promise<void>((resolveWait) => {
          wake = resolveWait;
          setTimeout(resolveWait, 100);
        });
    };
    void (async () => {
      let expected = early ? 0 : 1;
      await replies(expected);
      for (const step of steps) {
        if (typeof step === "number") {
          expected += step;
          await replies(expected);
        } else if (step === "END") socket.end();
        else if (step === "RST") socket.resetAndDestroy();
        else socket.write(bytes(step));
      }
      socket.setTimeout(SILENCE_MS, () => socket.destroy());
    })();
  });
}

const HELLO = ["EHLO t\r\n", 1] as const;
const ENVELOPE = [...HELLO, "MAIL FROM:<a@example.org>\r\nRCPT TO:<nobody@localhost>\r\n", 2] as const;
const DATA = [...ENVELOPE, "DATA\r\n", 1] as const;
const EHLO_OK = "250 CHUNKING";
const BEGUN = [EHLO_OK, "250 2.1.0 Ok", "250 2.1.5 Ok"];
const OPEN = [...BEGUN, "354 End data with <CR><LF>.<CR><LF>"];
const BYE = "221 2.0.0 Bye";
const QUEUED = "250 2.0.0 Ok: queued as ID";
const SYNC = "554 5.5.0 Error: SMTP protocol synchronization";
const RULES = "221 2.7.0 Error: I can break rules, too. Goodbye.";

/** Name, steps, replies after the banner, a log line. */
const CASES: ReadonlyArray<
  readonly [string, ReadonlyArray<Step>, ReadonlyArray<string>, RegExp | undefined]
> = [
  [
    "bytes that are no command",
    ["\x01\x02\xff garbage\r\n", 1, "QUIT\r\n"],
    ["500 5.5.2 Error: bad UTF-8 syntax", BYE],
    /disconnect from localhost\[127\.0\.0\.1\] quit=1 unknown=0\/1 commands=1\/2$/,
  ],
  [
    "a NUL in a command",
    ["NO\0OP x\r\n", 1, "QUIT\r\n"],
    ["500 5.5.2 Error: command not recognized", BYE],
    undefined,
  ],
  ["only a NUL", ["\0\r\n", 1, "QUIT\r\n"], ["500 5.5.2 Error: bad syntax", BYE], undefined],
  [
    "8-bit text that is no UTF-8",
    ["EHLO \xe9\xff\r\n", 1, "QUIT\r\n"],
    ["500 5.5.2 Error: bad UTF-8 syntax", BYE],
    undefined,
  ],
  ["a bare CR", ["NOOP\rNOOP\r\n", 1, "QUIT\r\n"], ["250 2.0.0 Ok", BYE], undefined],
  [
    "commands ended by bare LF",
    [
      "EHLO t\n",
      1,
      "MAIL FROM:<a@example.org>\n",
      1,
      "RCPT TO:<nobody@localhost>\n",
      1,
      "RSET\n",
      1,
      "QUIT\n",
    ],
    [...BEGUN, "250 2.0.0 Ok", BYE],
    undefined,
  ],
  [
    "empty lines",
    ["\r\n\r\n\r\n", 3, "QUIT\r\n"],
    [...Array.from({ length: 3 }, () => "500 5.5.2 Error: bad syntax"), BYE],
    undefined,
  ],
  [
    "a web browser",
    ["GET / HTTP/1.0\r\nHost: x\r\n\r\n"],
    [RULES],
    /warning: non-SMTP command from localhost\[127\.0\.0\.1\]: GET \/ HTTP\/1\.0$/,
  ],
  [
    "a long line",
    [...HELLO, `MAIL FROM:<${"a".repeat(3000)}@x>\r\n`, 1, "QUIT\r\n"],
    [EHLO_OK, "500 5.5.2 mail.posthaste.test Error: command too long", BYE],
    /warning: localhost\[127\.0\.0\.1\]: request longer than 2048: MAIL FROM:<a{19}\.\.\.$/,
  ],
  [
    "an endless line",
    // no more than the sockets hold: a client that is still writing when the server hangs up sees the reset before the reply
    ["x".repeat(60_000)],
    ["500 5.5.2 mail.posthaste.test Error: command too long"],
    /request longer than 2048: x{30}\.\.\.$/,
  ],
  [
    "pipelined garbage",
    [...HELLO, "MAIL\r\nRCPT\r\nDATA\r\nBDAT\r\nFOO\r\n"],
    [EHLO_OK, "501 5.5.4 Syntax: MAIL FROM:<address>", "503 5.5.1 Error: need MAIL command", SYNC],
    /improper command pipelining after DATA from localhost\[127\.0\.0\.1\]: BDAT\\r\\nFOO\\r\\n$/,
  ],
  [
    "pipelining without EHLO",
    ["HELO t\r\nMAIL FROM:<a@example.org>\r\n"],
    [SYNC],
    /improper command pipelining after HELO from localhost\[127\.0\.0\.1\]: MAIL FROM:<a@example\.org>\\r\\n$/,
  ],
  [
    "content before the reply to DATA",
    [...HELLO, "MAIL FROM:<a@example.org>\r\nRCPT TO:<nobody@localhost>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"],
    [...BEGUN, SYNC],
    /improper command pipelining after DATA from localhost\[127\.0\.0\.1\]: x\\r\\n\.\\r\\nQUIT\\r\\n$/,
  ],
  [
    "the end in DATA",
    [...DATA, "x\r\n", "END"],
    OPEN,
    /lost connection after DATA \(3 bytes\) from localhost\[127\.0\.0\.1\]$/,
  ],
  [
    "a reset in DATA",
    [...DATA, "x\r\n", "RST"],
    OPEN,
    /lost connection after DATA \(\d bytes\) from localhost\[127\.0\.0\.1\]$/,
  ],
  [
    "the end in a command",
    [...HELLO, "MAIL FR", "END"],
    [EHLO_OK],
    /NOQUEUE: lost connection after EHLO from localhost\[127\.0\.0\.1\]$/,
  ],
  [
    "silence in DATA",
    [...DATA],
    OPEN,
    /lost connection after DATA \(0 bytes\) from localhost\[127\.0\.0\.1\]$/,
  ],
  [
    "a message over the limit",
    [...DATA, `${"z".repeat(78)}\r\n`.repeat(3000), ".\r\n", 1, "QUIT\r\n"],
    [...OPEN, "552 5.3.4 Error: message file too big", BYE],
    /warning: [0-9A-F]+: queue file size limit exceeded$/,
  ],
  [
    "sizes that are none",
    [
      ...HELLO,
      "MAIL FROM:<a@example.org> SIZE=99999999999999999999\r\n",
      1,
      "MAIL FROM:<a@example.org> SIZE=300000\r\n",
      1,
      "QUIT\r\n",
    ],
    [
      EHLO_OK,
      "552 5.3.4 Message size exceeds file system imposed limit",
      "552 5.3.4 Message size exceeds fixed limit",
      BYE,
    ],
    undefined,
  ],
  [
    "a chunk size that is none",
    [...ENVELOPE, "BDAT 99999999999999999999\r\n"],
    [...BEGUN, "521 5.5.4 Syntax: BDAT count [LAST]"],
    /warning: [0-9A-F]+: malformed BDAT command syntax from localhost\[127\.0\.0\.1\]: BDAT 99999999999999999999$/,
  ],
  [
    "a chunk that does not come",
    [...ENVELOPE, "BDAT 100 LAST\r\nxx", "END"],
    BEGUN,
    /lost connection after BDAT/,
  ],
  [
    "DATA within BDAT",
    [...ENVELOPE, "BDAT 3\r\nabc", 1, "DATA\r\n", 1, "QUIT\r\n"],
    [...BEGUN, "250 2.0.0 Ok: 3 bytes", "503 5.5.1 Error: DATA after BDAT", BYE],
    undefined,
  ],
  [
    "recipients that name files and commands",
    [
      ...HELLO,
      "MAIL FROM:<a@example.org>\r\n",
      1,
      "RCPT TO:<|id>\r\n",
      1,
      "RCPT TO:</etc/passwd>\r\n",
      1,
      "RCPT TO:<:include:/etc/passwd>\r\n",
      1,
      "QUIT\r\n",
    ],
    [
      EHLO_OK,
      "250 2.1.0 Ok",
      "550 5.1.1 <|id>: Recipient address rejected: User unknown in local recipient table",
      "550 5.1.1 </etc/passwd>: Recipient address rejected: User unknown in local recipient table",
      "550 5.1.1 <:include:/etc/passwd>: Recipient address rejected: User unknown in local recipient table",
      BYE,
    ],
    undefined,
  ],
  [
    "NOTIFY that is none",
    [...HELLO, "MAIL FROM:<a@example.org>\r\n", 1, "RCPT TO:<nobody@localhost> NOTIFY=X\r\n", 1, "QUIT\r\n"],
    [EHLO_OK, "250 2.1.0 Ok", "501 5.5.4 Error: Bad NOTIFY parameter syntax", BYE],
    /warning: unknown DSN NOTIFY command value "X" in "X"$/,
  ],
  [
    "errors without end",
    ["X\r\n".repeat(30)],
    [
      ...Array.from({ length: 20 }, () => "500 5.5.2 Error: command not recognized"),
      "421 4.7.0 mail.posthaste.test Error: too many errors",
    ],
    /NOQUEUE: too many errors after UNKNOWN from localhost\[127\.0\.0\.1\]$/,
  ],
];

t.test("each misbehaviour gets Postfix's reply and log line", async (t) => {
  const instance = await runningInstance(t, { mainCf: MAIN_CF });
  const position = instance.maillog().length;
  for (const [name, steps, replies] of CASES) t.same(await play(instance, steps), replies, name);
  for (const [name, , , line] of CASES)
    if (line !== undefined)
      await until(name, () => linesAfter(instance, position).some((text) => line.test(text)), 8).then(
        () => t.pass(`${name}: log line`),
        () => t.match(linesAfter(instance, position).join("\n"), line, `${name}: log line`),
      );
  const early = await play(instance, ["EHLO t\r\nMAIL FROM:<a@example.org>\r\nQUIT\r\n"], true);
  t.ok(early.length === 0 || early[0] === SYNC, "a client that speaks first is refused");
  await until(
    "improper pipelining",
    () => /improper command pipelining after (CONNECT|EHLO) from/.test(instance.maillog()),
    5,
  );
  await stillWorks(t, instance);
});

t.test("no second message can be smuggled in", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t, { mainCf: MAIN_CF });
  const evil = "MAIL FROM:<evil@example.org>\r\nRCPT TO:<nobody@localhost>\r\nDATA\r\nevil\r\n";
  const ends = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r\n.\r",
    "\r.\r\n",
    "\n.\r",
    "\0\r\n.\0\r\n",
    "\r\n.\r\r\n",
    "\r\r\n.\r\n".slice(0, 2),
  ];
  for (const end of ends) {
    const replies = await play(instance, [...DATA, `x${end}${evil}`, ".\r\n", 1, "QUIT\r\n"]);
    t.same(replies, [...OPEN, QUEUED, BYE], JSON.stringify(end));
  }
  await until(
    "delivery",
    () => queueFiles(instance, "incoming").length + queueFiles(instance, "active").length === 0,
  );
  t.notMatch(instance.maillog(), /from=<evil@example\.org>/);
  const mailbox = readFileSync(join(instance.mail, "nobody"), "latin1");
  t.equal(mailbox.match(/^From a@example\.org /gm)?.length, ends.length);
  await stillWorks(t, instance);
});

t.test("floods", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t, { mainCf: MAIN_CF });
  const random = randomSource(11);
  const flood = (input: Buffer): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect(instance.smtpPort, "127.0.0.1", () => socket.end(input));
      socket.on("error", () => socket.destroy()).on("close", () => resolve());
      // it never reads replies
      setTimeout(() => socket.destroy(), 3000);
    });
  const noise = randomBytes(200_000, random);
  const inputs = [
    noise,
    bytes(noise.toString("latin1").replace(/.{40}/gs, "$&\r\n")),
    bytes("NOOP\r\n".repeat(200_000)),
    bytes(`EHLO t\r\n${"RSET\r\n".repeat(200_000)}`),
    bytes(`EHLO t\r\n${"EHLO t\r\n".repeat(100_000)}`),
    bytes(`EHLO t\r\nMAIL FROM:<a@b.c>\r\n${"RCPT TO:<nobody@localhost>\r\n".repeat(20_000)}`),
    bytes(`EHLO t\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<nobody@localhost>\r\n${"BDAT 1\r\nx".repeat(50_000)}`),
    bytes("\n".repeat(500_000)),
    bytes("\0".repeat(500_000)),
  ];
  await Promise.all(inputs.flatMap((input) => [flood(input), flood(input)]));
  await stillWorks(t, instance);
  await until(
    "nothing left",
    () => queueFiles(instance, "incoming").length + queueFiles(instance, "active").length === 0,
    20,
  );
  t.ok(existsSync(join(instance.mail, "nobody")));
});
