/** Known faults of the log, of counters and of commands that log: lines that forge others, clients that vanish, output that fails. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import t from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { daemons, isRoot, logged, runningInstance, until } from "../system/support/harness.ts";
import { bytes, crashes, exchange, stillWorks } from "../system/support/hostile.ts";

t.setTimeout(120_000);

/** Sends datagrams, one a line of hexadecimal digits; perl is there on every Debian. */
const SEND_DATAGRAMS =
  'use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; connect(S, pack_sockaddr_un($ARGV[0])) or die "$!"; while (<STDIN>) { chomp; defined send(S, pack("H*", $_), 0) or warn "$!" }';
const hasPerl = spawnSync("perl", ["-MSocket", "-e", "1"]).status === 0;

function sendDatagrams(path: string, datagrams: ReadonlyArray<Buffer>): void {
  const input = datagrams.map((datagram) => `${datagram.toString("hex")}\n`).join("");
  const result = spawnSync("perl", ["-MSocket", "-e", SEND_DATAGRAMS, path], { input });
  if (result.status !== 0) throw new Error(result.stderr.toString());
}

const isUtf8 = (text: string): boolean => {
  const raw = Buffer.from(text, "latin1");
  return Buffer.from(raw.toString("utf8"), "utf8").equals(raw);
};
const linesFrom = (instance: Instance, position: number): string[] =>
  instance.maillog().slice(position).split("\n").slice(0, -1);
const LINE = /^[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d mail postfix\/[a-z-]+(?:\/[a-z-]+)*\[\d+\]: /;

t.test(
  "IPC-11 a datagram is at most one line of the log",
  { skip: hasPerl ? false : "needs perl" },
  async (t) => {
    const instance = await runningInstance(t);
    const socket = join(instance.queue, "public/postlog");
    const position = instance.maillog().length;
    const forged = "Nov 29 01:02:03 mail postfix/smtpd[1]: ";
    const datagrams = [
      "",
      "\0\0\0\0",
      `${forged}one\n${forged}two\r\n${forged}three`,
      `${forged}%s%n%x`,
      `${forged}\x1b]0;owned\x07\x1b[2J`,
      `${forged}\xed\xa0\x80\xf4\x90\x80\x80\xc0\x8a\xff`,
      `${forged}${"x".repeat(64 * 1024)}`,
      `${"\n".repeat(5000)}`,
      `${forged}na\xc3\xafve`,
      "no header at all",
    ].map(bytes);
    sendDatagrams(socket, datagrams);
    await logged(instance, /^no header at all$/m);
    const lines = linesFrom(instance, position);
    t.ok(lines.length <= datagrams.length, `${lines.length} lines`);
    t.ok(lines.includes(`${forged}one?${forged}two??${forged}three`));
    t.ok(lines.includes(`${forged}%s%n%x`));
    t.ok(lines.includes(`${forged}?]0;owned??[2J`));
    t.ok(lines.includes(`${forged}??????????`));
    t.ok(lines.includes(`${forged}na\xc3\xafve`));
    for (const line of lines) {
      t.notMatch(line, /[\x00-\x1f\x7f]/);
      t.ok(isUtf8(line));
      t.ok(line.length <= 4096, `${line.length} bytes`);
    }
    // a sender that still has the old setting: what it says goes to syslog, and the process lives
    instance.must("postconf", ["-e", "maillog_file ="]);
    sendDatagrams(socket, datagrams);
    t.same(crashes(instance), []);
    t.equal(daemons(instance, "postlogd").length, 1);
  },
);

/** One SMTP session that sends each line and waits for its reply. */
async function session(port: number, lines: ReadonlyArray<string>): Promise<string[]> {
  const socket = connect(port, "127.0.0.1").setEncoding("latin1");
  let received = "";
  socket.on("data", (chunk: string) => (received += chunk)).on("error", () => undefined);
  const count = (): number => (received.match(/^\d{3} .*\r\n/gm) ?? []).length;
  let closed = false;
  socket.on("close", () => (closed = true));
  await until("a greeting", () => count() > 0 || closed);
  for (const [index, line] of lines.entries()) {
    socket.write(Buffer.from(`${line}\r\n`, "latin1"));
    await until(`a reply to ${JSON.stringify(line.slice(0, 40))}`, () => count() > index + 1 || closed);
  }
  socket.destroy();
  return received.split("\r\n");
}

t.test("IPC-12 text from outside makes no line of its own, and no other address", async (t) => {
  const instance = await runningInstance(t, {
    mainCf: `header_checks = regexp:{{/^X-Warn:/ WARN seen} {/^X-Info:/ INFO seen}}
smtpd_recipient_restrictions = check_recipient_access regexp:{{/^refuse/ {REJECT text of a table}}}, permit_mynetworks, reject
strict_smtputf8 = no
disable_vrfy_command = no
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
smtpd_client_port_logging = no
`,
  });
  const all = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).filter(
    (char) => char !== "\n" && char !== "\r",
  );
  const odd = [
    "\xed\xa0\x80",
    "\xf4\x90\x80\x80",
    "\xc0\x8a",
    "\xe2\x80\xae",
    "\xe2\x80\xa8",
    "\r",
    "\xc2\x85",
  ];
  const fake = "from=<x> 554 5.7.1 unknown[10.0.0.1]";
  const pieces = [all.slice(0, 64), all.slice(64, 128), all.slice(128, 192), all.slice(192), odd].map(
    (part) => part.join(""),
  );
  const position = instance.maillog().length;
  for (const piece of pieces) {
    await session(instance.smtpPort, [
      `EHLO ${piece}`,
      `EHLO x ${fake}`,
      `MAIL FROM:<"${piece}"@x.test>`,
      "RSET",
      `MAIL FROM:<"${fake}"@x.test>`,
      `RCPT TO:<"refuse${piece.replace(/["\\]/g, "")}"@x.test>`,
      `RCPT TO:<"refuse ${fake}"@x.test>`,
      `NOOP ${piece}`,
      `FOO ${piece}`,
      `VRFY ${piece}`,
    ]);
    await session(instance.smtpPort, [
      "EHLO client.test",
      "MAIL FROM:<a@b.test>",
      `RCPT TO:<${instance.who.recipient}@localhost>`,
      "DATA",
      `X-Warn: ${piece}\r\nX-Info: ${fake}\r\nX-Info: \xe2\x80\xa8NOQUEUE: reject: RCPT from evil[10.0.0.1]: 554\r\nMessage-Id: <${piece.replace(/[<>]/g, "")}@x>\r\n\r\nbody\r\n.`,
    ]);
  }
  await logged(instance, /warning: header X-Warn: /);
  await until("five deliveries", () => instance.maillog().split("status=sent").length > 5);
  const lines = linesFrom(instance, position);
  t.ok(lines.length > 50, `${lines.length} lines`);
  for (const line of lines) {
    t.match(line, LINE);
    t.notMatch(line, /[\x00-\x1f\x7f]/);
    t.ok(isUtf8(line), line);
  }
  // as fail2ban's postfix filter: the first address in brackets after the fixed words
  const banned = lines
    .map(
      (line) =>
        /postfix\/smtpd\[\d+\]: NOQUEUE: reject: \S+ from [^[\]]*\[([^\]]*)\](?::\d+)?: [45]\d\d /.exec(
          line,
        )?.[1],
    )
    .filter((address) => address !== undefined);
  t.ok(banned.length >= 5, `${banned.length} rejects`);
  t.same([...new Set(banned)], ["127.0.0.1"]);
  t.same(crashes(instance), []);
});

t.test("IPC-13 where the log file may be, and what its lines are tagged with", async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  const other = join(instance.directory, "elsewhere");
  instance.must("postconf", ["-e", `maillog_file = ${other}`, "maillog_file_prefixes = /var, /dev/stdout"]);
  const refused = instance.run("postlog", ["text"]);
  t.equal(refused.status, 1);
  t.match(
    refused.stderr.toString(),
    `fatal: maillog_file value '${other}' does not match any prefix in maillog_file_prefixes`,
  );
  t.notOk(existsSync(other));
  instance.must("postconf", ["-e", "maillog_file_prefixes = /", "maillog_file_permissions = 0600"]);
  t.equal(instance.run("postlog", ["-t", "a\nDec 24 01:02:03 mail postfix/smtpd[1]", "text"]).status, 0);
  const environment = { ...instance.environment, MAIL_LOGTAG: "x\ny" };
  spawnSync(instance.program("postlog"), ["more\ntext"], { env: environment });
  const lines = readFileSync(other, "latin1").split("\n").slice(0, -1);
  t.equal(lines.length, 2, lines.join("\n"));
  t.match(lines[0], / a\?Dec 24 01:02:03 mail postfix\/smtpd\[1\](?:\[\d+\])?: text$/);
  t.match(lines[1], /: more\?text$/);
  if (isRoot) t.equal(spawnSync("stat", ["-c", "%a", other]).stdout.toString(), "600\n");
});

t.test("IPC-14 a log that fails stops no command, however much it is to say", async (t) => {
  const instance = await runningInstance(t, { mainCf: "maillog_file = /dev/full\n" });
  const commands: ReadonlyArray<readonly [string, ...string[]]> = [
    ["postqueue", "-v", "-v", "-v", "-p"],
    ["postsuper", "-v", "-v", "-v", "-s"],
    ["postmap", "-v", "-v", "-v", "-q", "a", "inline:{a=b}"],
    ["postalias", "-v", "-v", "-v", "-q", "a", "inline:{a=b}"],
    ["postconf", "-v", "-v", "-v", "myhostname"],
    ["postlog", "-v", "-v", "-v", "text"],
    ["postkick", "-v", "-v", "-v", "public", "pickup", "W"],
    ["sendmail", "-v", "-v", "-v", instance.who.recipient],
  ];
  for (const running of [true, false]) {
    if (!running) instance.stop();
    for (const [name, ...args] of commands) {
      const full = spawnSync("sh", ["-c", 'exec "$0" "$@" 2>/dev/full', instance.program(name), ...args], {
        env: instance.environment,
        input: "Subject: x\n\n",
        timeout: 20_000,
      });
      t.equal(full.signal, null, `${name} ${running}`);
      const closed = spawnSync("sh", ["-c", 'exec "$0" "$@" 2>&-', instance.program(name), ...args], {
        env: instance.environment,
        input: "Subject: x\n\n",
        timeout: 20_000,
      });
      t.equal(closed.signal, null, `${name} ${running}`);
      const works = running || !["postqueue", "postkick"].includes(name);
      if (works) t.same([full.status, closed.status], [0, 0], `${name} ${running}`);
    }
  }
});

t.test("IPC-16 clients of anvil that vanish count no more", async (t) => {
  const instance = await runningInstance(t);
  const path = join(instance.queue, "private/anvil");
  const request = (name: string): Buffer => bytes(`request=${name}\nident=smtp:192.0.2.1\n\n`);
  const countOf = async (): Promise<number> =>
    Number(/count=(\d+)/.exec(await exchange(path, request("connect"), { limit: 5000 }))?.[1] ?? Number.NaN);
  t.equal(await countOf(), 1);
  const clients: Socket[] = [];
  let replies = 0;
  for (let index = 0; index < 300; index++)
    clients.push(
      connect(path)
        .on("data", (chunk) => {
          if (chunk.includes("rate")) replies++;
        })
        .on("error", () => undefined),
    );
  for (const [index, client] of clients.entries()) {
    client.write(request("connect"));
    if (index % 3 === 0) client.write(request("message"));
    if (index % 5 === 0) client.write(request("disconnect"));
    if (index % 10 === 0) client.write(request("disconnect"));
  }
  await until("their replies", () => replies >= clients.length);
  // in no order, some in the middle of a request
  for (const [index, client] of clients.entries()) if (index % 7 === 0) client.write("request=conn");
  for (const step of [3, 1])
    for (let index = 0; index < clients.length; index += step) clients[index]?.destroy();
  let last = Number.NaN;
  for (let attempt = 0; attempt < 100 && last !== 1; attempt++) last = await countOf();
  t.equal(last, 1, "only the one that asks");
  t.match(await exchange(path, request("disconnect"), { limit: 5000 }), /status=0/);
  t.same(crashes(instance), []);
  await stillWorks(t, instance);
});
