/** Independent clients and destinations: swaks, smtp-source, a pipelining client of ours; smtp-server and smtp-sink behind a relay. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { reference } from "../interop/support/reference.ts";
import { freePort, isRoot, logged, queueFiles, runningInstance, troubles, until } from "./support/harness.ts";
import { CountingSink } from "./support/load.ts";

const programs = reference();
const needsReference = "missing" in programs ? { skip: programs.missing } : {};
const needsSwaks = existsSync("/usr/bin/swaks") ? {} : { skip: "no swaks" };
const tool = (name: string): string => ("missing" in programs ? name : join(programs.sbin, name));

/** An instance with a mailbox, a Maildir, an alias and a virtual alias. */
async function mailboxes(t: Test, mainCf = ""): Promise<Instance> {
  const uid = isRoot ? 65534 : process.getuid?.();
  return runningInstance(t, {
    mainCf: (directory) => `
virtual_alias_domains = valias.test
virtual_alias_maps = inline:{ { info@valias.test = you@vbox.test } { both@valias.test = you@vbox.test mbox@vbox.test } { far@valias.test = far@elsewhere.test } }
virtual_mailbox_domains = vbox.test
virtual_mailbox_base = ${directory}/mail
virtual_mailbox_maps = inline:{ { you@vbox.test = vbox/ } { mbox@vbox.test = vmbox } }
virtual_uid_maps = static:${uid}
virtual_gid_maps = static:${isRoot ? 65534 : process.getgid?.()}
virtual_minimum_uid = 1
${mainCf}`,
  });
}

const mailbox = (instance: Instance, name = instance.who.recipient): string => {
  const path = join(instance.mail, name);
  return existsSync(path) ? readFileSync(path, "latin1") : "";
};
const maildir = (instance: Instance): string[] => {
  const folder = join(instance.mail, "vbox", "new");
  return existsSync(folder)
    ? readdirSync(folder).map((name) => readFileSync(join(folder, name), "latin1"))
    : [];
};

/** A program that runs beside the test, whose event loop goes on meanwhile. */
function run(
  command: string,
  args: ReadonlyArray<string>,
): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString("latin1")));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString("latin1")));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, output }));
  });
}

/** A session by hand: what is written, and the replies as they come. */
async function session(
  port: number,
  steps: ReadonlyArray<{ readonly send: string; readonly until: RegExp }>,
): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.setEncoding("latin1");
  let received = "";
  let failure: Error | undefined;
  socket.on("data", (chunk: string) => (received += chunk));
  socket.on("error", (error) => (failure = error));
  try {
    let from = 0;
    for (const step of [{ send: "", until: /^220 [^\n]*\n/ }, ...steps]) {
      socket.write(step.send, "latin1");
      const match = await until(
        `${step.until} after ${JSON.stringify(step.send.slice(0, 200))}; received ${JSON.stringify(received)}`,
        () => {
          if (failure !== undefined) throw failure;
          return step.until.exec(received.slice(from)) ?? undefined;
        },
      );
      from += match.index + match[0].length;
    }
    return received;
  } finally {
    socket.destroy();
  }
}

t.test("swaks", needsSwaks, async (t) => {
  const instance = await mailboxes(t);
  const to = `${instance.who.recipient}@localhost`;
  const swaks = async (args: ReadonlyArray<string>, what: string): Promise<string> => {
    const { status, output } = await run("swaks", [
      "--server",
      "127.0.0.1",
      "--port",
      String(instance.smtpPort),
      ...args,
    ]);
    t.equal(status, 0, `${what}${status === 0 ? "" : `\n${output}`}`);
    return output;
  };
  await swaks(
    [
      "--from",
      "s@example.org",
      "--to",
      to,
      "--header",
      "Subject: swaks-plain",
      "--body",
      "swaks body\n.\n..two dots",
    ],
    "a message",
  );
  await swaks(
    [
      "--from",
      "s@example.org",
      "--to",
      `${to},postmaster@localhost`,
      "--pipeline",
      "--h-Subject",
      "swaks-pipelined",
    ],
    "pipelined, two recipients",
  );
  await swaks(
    ["--protocol", "SMTP", "--from", "<>", "--to", to, "--h-Subject", "swaks-helo"],
    "HELO and the null sender",
  );
  await swaks(
    [
      "--from",
      "s@example.org",
      "--to",
      "both@valias.test",
      "--attach",
      "/etc/passwd",
      "--h-Subject",
      "swaks-attached",
    ],
    "with an attachment, to a virtual alias",
  );
  const quit = await swaks(
    ["--from", "s@example.org", "--to", to, "--quit-after", "RCPT"],
    "quitting after RCPT",
  );
  t.match(quit, /-> QUIT\n<- {2}221 2\.0\.0 Bye\n/);
  const refused = await run("swaks", [
    "--server",
    "127.0.0.1",
    "--port",
    String(instance.smtpPort),
    "--from",
    "s@example.org",
    "--to",
    "nosuchuser@localhost",
  ]);
  t.equal(refused.status, 24, "no recipient accepted");
  t.match(
    refused.output,
    /<\*\* 550 5\.1\.1 <nosuchuser@localhost>: Recipient address rejected: User unknown in local recipient table\n/,
  );
  const subjects = ["swaks-plain", "swaks-pipelined", "swaks-helo"];
  await until("delivery", () =>
    subjects.every((subject) => mailbox(instance).includes(`Subject: ${subject}\n`)),
  );
  await until(
    "delivery of both copies of the pipelined one",
    () => mailbox(instance).split("Subject: swaks-pipelined\n").length === 3,
  );
  await until(
    "delivery through the virtual alias",
    () => maildir(instance).length === 1 && mailbox(instance, "vmbox").includes("swaks-attached"),
  );
  t.match(mailbox(instance), /\n\nswaks body\n\.\n\.\.two dots\n/);
  t.match(mailbox(instance), /\nReturn-Path: <>\n/);
  t.match(
    mailbox(instance),
    /\nX-Original-To: postmaster@localhost\nDelivered-To: postmaster@localhost\n/,
    "through the alias",
  );
  t.match(maildir(instance)[0], /\nContent-Disposition: attachment[\s\S]*\n--[^\n]*--\n/);
  t.same(troubles(instance), []);
});

t.test("smtp-source into mbox and Maildir", needsReference, async (t) => {
  const instance = await mailboxes(t);
  for (const [to, messages] of [
    ["info@valias.test", 60],
    [`${instance.who.recipient}@localhost`, 40],
  ] as const) {
    const { status, output } = await run(tool("smtp-source"), [
      "-s",
      "5",
      "-m",
      String(messages),
      "-l",
      "4096",
      "-d",
      "-f",
      "s@example.org",
      "-t",
      to,
      `127.0.0.1:${instance.smtpPort}`,
    ]);
    t.equal(status, 0, output);
  }
  await until("Maildir delivery", () => maildir(instance).length === 60);
  await until(
    "mbox delivery",
    () => (mailbox(instance).match(/^From s@example\.org /gm)?.length ?? 0) === 40,
  );
  await until("an empty queue", () => instance.must("mailq").startsWith("Mail queue is empty"));
  const sizes = new Set(maildir(instance).map((text) => text.slice(text.indexOf("\n\n") + 2).length));
  // smtp-source counts CR LF
  const [size = 0] = sizes;
  t.ok(sizes.size === 1 && size > 4000 && size <= 4096, `bodies are whole: ${[...sizes].join(", ")}`);
  t.equal(
    new Set(maildir(instance).map((text) => /\nMessage-Id: (.*)\n/i.exec(text)?.[1])).size,
    60,
    "each of them once",
  );
  t.same(troubles(instance), []);
});

t.test("a pipelining client", async (t) => {
  const instance = await mailboxes(t, "message_size_limit = 100000\n");
  const to = `${instance.who.recipient}@localhost`;
  const text = await session(instance.smtpPort, [
    { send: "EHLO client.posthaste.test\r\n", until: /^250 [^\n]*\n/m },
    {
      send: `MAIL FROM:<one@example.org> BODY=8BITMIME SIZE=500\r\nRCPT TO:<${to}>\r\nRCPT TO:<nosuchuser@localhost>\r\nRCPT TO:<info@valias.test>\r\nDATA\r\n`,
      until: /^354 [^\n]*\n/m,
    },
    {
      send: `Subject: first\r\n\r\n..\r\n..two\r\n.\r\nMAIL FROM:<two@example.org>\r\nRCPT TO:<nosuchuser@localhost>\r\nDATA\r\n`,
      until: /^554 [^\n]*\n/m,
    },
    { send: `RSET\r\nMAIL FROM:<three@example.org>\r\nRCPT TO:<${to}>\r\nDATA\r\n`, until: /^354 [^\n]*\n/m },
    { send: "Subject: second\r\n\r\nbody\r\n.\r\nRSET\r\nQUIT\r\n", until: /^221 [^\n]*\n/m },
  ]);
  t.match(text, /\n250-PIPELINING\r\n250-SIZE 100000\r\n/);
  t.match(
    text.replaceAll("\r", ""),
    /\n250 2\.1\.0 Ok\n250 2\.1\.5 Ok\n550 5\.1\.1 <nosuchuser@localhost>: [^\n]*\n250 2\.1\.5 Ok\n354 End data with <CR><LF>\.<CR><LF>\n250 2\.0\.0 Ok: queued as \w+\n250 2\.1\.0 Ok\n550 5\.1\.1 [^\n]*\n554 5\.5\.1 Error: no valid recipients\n250 2\.0\.0 Ok\n250 2\.1\.0 Ok\n250 2\.1\.5 Ok\n354 [^\n]*\n250 2\.0\.0 Ok: queued as \w+\n250 2\.0\.0 Ok\n221 2\.0\.0 Bye\n$/,
  );
  await until(
    "delivery",
    () => mailbox(instance).includes("Subject: second\n") && maildir(instance).length === 1,
  );
  t.match(mailbox(instance), /\n\n\.\n\.two\n\n/, "dots unstuffed");

  // one byte at a time, and the end of data in pieces
  const slow = connect(instance.smtpPort, "127.0.0.1");
  slow.setNoDelay(true).setEncoding("latin1");
  let received = "";
  slow.on("data", (chunk: string) => (received += chunk));
  const piecemeal = async (lines: string, reply: RegExp): Promise<void> => {
    for (const byte of lines) {
      slow.write(byte, "latin1");
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await until(`${reply}`, () => reply.test(received));
  };
  await until("the greeting", () => received.startsWith("220 "));
  await piecemeal("EHLO x.test\r\n", /\n250 /);
  await piecemeal(`MAIL FROM:<slow@example.org>\r\nRCPT TO:<${to}>\r\n`, /2\.1\.5 Ok/);
  await piecemeal("DATA\r\n", /\n354 /);
  await piecemeal("Subject: piecemeal\r\n\r\nx\r\n.y\r\n\r.\r\n.\r\n", /queued as/);
  slow.destroy();
  await until("delivery", () => mailbox(instance).includes("Subject: piecemeal\n"));

  // sizes
  const sizes = await session(instance.smtpPort, [
    { send: "EHLO client.posthaste.test\r\n", until: /^250 [^\n]*\n/m },
    { send: "MAIL FROM:<x@example.org> SIZE=100001\r\n", until: /^552 [^\n]*\n/m },
    { send: "MAIL FROM:<x@example.org> SIZE=junk\r\n", until: /^501 [^\n]*\n/m },
    { send: `MAIL FROM:<x@example.org> SIZE=10\r\nRCPT TO:<${to}>\r\nDATA\r\n`, until: /^354 [^\n]*\n/m },
    { send: `Subject: big\r\n\r\n${`${"y".repeat(98)}\r\n`.repeat(2000)}.\r\n`, until: /^552 [^\n]*\n/m },
    { send: "QUIT\r\n", until: /^221/m },
  ]);
  t.match(sizes, /\n552 5\.3\.4 Message size exceeds fixed limit\r\n/);
  t.match(sizes, /\n501 5\.5\.4 Bad message size syntax\r\n/);
  t.match(sizes, /\n552 5\.3\.4 Error: message file too big\r\n/);
  t.notMatch(mailbox(instance), /Subject: big/);
  await until("no remains in the queue", () => queueFiles(instance, "incoming").length === 0);

  // commands behind DATA, and before the greeting's end of a session without EHLO, are not allowed
  const improper = await session(instance.smtpPort, [
    { send: "HELO x.test\r\nMAIL FROM:<x@example.org>\r\n", until: /^554 [^\n]*\n/m },
  ]);
  t.match(improper, /\n?554 5\.5\.0 Error: SMTP protocol synchronization\r\n$/);
  await logged(
    instance,
    /improper command pipelining after HELO from unknown\[127\.0\.0\.1\]: MAIL FROM:<x@example\.org>|improper command pipelining after HELO from \S+\[127\.0\.0\.1\]: MAIL/,
  );
});

interface Sink {
  readonly port: number;
  /** Dumped messages. */
  readonly messages: () => string[];
}

/** smtp-sink with a dump of each message. */
async function smtpSink(t: Test, args: ReadonlyArray<string> = []): Promise<Sink> {
  const folder = mkdtempSync(join(tmpdir(), "posthaste-sink-"));
  chmodSync(folder, 0o755);
  const dumps = join(folder, "dumps");
  mkdirSync(dumps);
  if (isRoot) chownSync(dumps, 65534, 65534);
  const port = await freePort();
  const child: ChildProcess = spawn(
    tool("smtp-sink"),
    [...(isRoot ? ["-u", "nobody"] : []), ...args, "-d", `${dumps}/%H%M%S.`, `127.0.0.1:${port}`, "100"],
    { stdio: "ignore", cwd: dumps },
  );
  t.teardown(() => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  await until("smtp-sink", () => canConnect(port));
  return {
    port,
    messages: () =>
      readdirSync(dumps)
        .map((name) => readFileSync(join(dumps, name), "latin1"))
        .filter((text) => text !== ""),
  };
}

const canConnect = (port: number): boolean =>
  spawnSync("bash", ["-c", `exec 3<>/dev/tcp/127.0.0.1/${port}`], { stdio: "ignore" }).status === 0;

const BINARY = Buffer.from(Array.from({ length: 128 }, (_, index) => 128 + index)).toString("latin1");
const LONG = "z".repeat(5000);
const BODY = `.\r\n..\r\n.dot\r\n${BINARY}\r\n${LONG}\r\n\r\nlast\r\n`;
const stuffed = BODY.replace(/^\./gm, "..");

async function submit(
  instance: Instance,
  to: ReadonlyArray<string>,
  options = " BODY=8BITMIME",
): Promise<void> {
  await session(instance.smtpPort, [
    { send: "EHLO client.posthaste.test\r\n", until: /^250 [^\n]*\n/m },
    {
      send: `MAIL FROM:<s@example.org>${options}\r\n${to.map((address) => `RCPT TO:<${address}>\r\n`).join("")}DATA\r\n`,
      until: /^354 [^\n]*\n/m,
    },
    {
      send: `From: s@example.org\r\nSubject: relayed\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n${stuffed}.\r\n`,
      until: /^250 [^\n]*\n/m,
    },
    { send: "QUIT\r\n", until: /^221/m },
  ]);
}

t.test("a relay to smtp-sink keeps 8-bit text and dots", needsReference, async (t) => {
  const sink = await smtpSink(t);
  const instance = await mailboxes(t, `relayhost = [127.0.0.1]:${sink.port}\n`);
  await submit(instance, ["a@elsewhere.test"]);
  const [message = ""] = await until("the message", () =>
    sink.messages().some((text) => text.includes("\nlast\n")) ? sink.messages() : undefined,
  );
  t.match(message, /\nX-Mail-Args: <s@example\.org>(?: SIZE=\d+)? BODY=8BITMIME\n/);
  t.match(message, /\nX-Rcpt-Args: <a@elsewhere\.test>/);
  const body = message.slice(message.indexOf("\n\n", message.indexOf("Subject: relayed")) + 2);
  t.ok(body.startsWith(`.\n..\n.dot\n${BINARY}\n`), "dots and bytes above 127 as they were");
  t.match(body, /\nz{990,998}\n z{990,997}\n/, "a long line is folded at smtp_line_length_limit");
  t.equal(body.replace(/\n (?=z)/g, "").includes(`\n${LONG}\n\nlast\n`), true, "and nothing of it is lost");
  await logged(
    instance,
    /to=<a@elsewhere\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:\d+, .*, dsn=2\.0\.0, status=sent \(250 2\.0\.0 Ok\)/,
  );
  t.same(troubles(instance), []);
});

t.test("a server without 8BITMIME gets quoted-printable", needsReference, async (t) => {
  const sink = await smtpSink(t, ["-8"]);
  const instance = await mailboxes(t, `relayhost = [127.0.0.1]:${sink.port}\n`);
  await submit(instance, ["a@elsewhere.test"]);
  const [message = ""] = await until("the message", () =>
    sink.messages().some((text) => text.includes("\nlast\n")) ? sink.messages() : undefined,
  );
  t.match(message, /\nContent-Transfer-Encoding: quoted-printable\n/);
  const body = message.slice(message.indexOf("\n\n", message.indexOf("Subject: relayed")) + 2);
  t.notMatch(message, /[\x80-\xff]/);
  t.notOk(
    body.split("\n").some((line) => line.length > 76),
    "lines of at most 76 characters",
  );
  const decoded = body
    .replace(/=\n/g, "")
    .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  t.ok(decoded.includes(`.\n..\n.dot\n${BINARY}\n${LONG}\n\nlast\n`), "it decodes to what was sent");
});

t.test("200 recipients go out in groups", needsReference, async (t) => {
  const sink = await smtpSink(t);
  const instance = await mailboxes(t, `relayhost = [127.0.0.1]:${sink.port}\n`);
  const recipients = Array.from({ length: 200 }, (_, index) => `user${index}@elsewhere.test`);
  await submit(instance, recipients);
  const arrived = (): string[] =>
    sink
      .messages()
      .flatMap((text) => [...text.matchAll(/^X-Rcpt-Args: <([^>]*)>/gm)].map((match) => match[1] ?? ""));
  await until("all recipients", () => arrived().length >= 200);
  t.same(arrived().sort(), [...recipients].sort(), "each once");
  t.equal(sink.messages().length, 4, "50 recipients each");
  await logged(instance, /nrcpt=200 \(queue active\)/);
  await until(
    "the log lines",
    () => instance.maillog().match(/to=<user\d+@elsewhere\.test>, .*status=sent/g)?.length === 200,
  );
  await logged(instance, /: removed/);
  t.same(troubles(instance), []);
});

t.test("a relay to smtp-server: through a virtual alias in many sessions", needsReference, async (t) => {
  const sink = new CountingSink();
  const port = await sink.listen();
  t.teardown(() => sink.close());
  const instance = await mailboxes(t, `relayhost = [127.0.0.1]:${port}\n`);
  const { status, output } = await run(tool("smtp-source"), [
    "-s",
    "10",
    "-m",
    "100",
    "-l",
    "2000",
    "-f",
    "s@example.org",
    "-t",
    "far@valias.test",
    "-S",
    "x",
    `127.0.0.1:${instance.smtpPort}`,
  ]);
  t.equal(status, 0, output);
  await until("100 messages", () => (sink.arrivals.get("unknown") ?? 0) === 100);
  await until(
    "100 log lines",
    () =>
      instance
        .maillog()
        .match(
          /to=<far@elsewhere\.test>, orig_to=<far@valias\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:\d+, .*status=sent/g,
        )?.length === 100,
  );
  await until("an empty queue", () => instance.must("mailq").startsWith("Mail queue is empty"));
  t.same(troubles(instance), []);
});

t.test("long lines and odd bytes reach a mailbox unchanged", async (t) => {
  const instance = await mailboxes(t);
  await submit(instance, ["info@valias.test", `${instance.who.recipient}@localhost`]);
  const expected = BODY.replaceAll("\r\n", "\n");
  await until("delivery", () => maildir(instance).length === 1 && mailbox(instance).includes("\nlast\n"));
  const text = maildir(instance)[0] ?? "";
  t.equal(text.slice(text.indexOf("\n\n") + 2), expected, "Maildir");
  const box = mailbox(instance);
  t.equal(box.slice(box.indexOf("\n\n") + 2), `${expected}\n`, "mbox");
  // From_ lines of the message are quoted in an mbox, and only there
  instance.must(
    "sendmail",
    ["-f", "s@example.org", `${instance.who.recipient}@localhost`, "info@valias.test"],
    "Subject: from lines\n\nFrom here\n>From there\n\nFrom after\n",
  );
  await until("delivery", () => maildir(instance).length === 2 && mailbox(instance).includes("from lines"));
  t.match(mailbox(instance), /\n\n>From here\n>From there\n\n>From after\n\n$/);
  t.ok(maildir(instance).some((each) => each.endsWith("\n\nFrom here\n>From there\n\nFrom after\n")));
  t.same(troubles(instance), []);
});
