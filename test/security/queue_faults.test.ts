/** Known faults of the queue, of submission and of what is looked up: times, unfinished files, requests to flush, loops, text with dollar signs. */
import { spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import t from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import {
  daemons,
  freePort,
  logged,
  NEEDS_ROOT,
  queueFiles,
  runningInstance,
  until,
} from "../system/support/harness.ts";
import { bytes, crashes, exchange } from "../system/support/hostile.ts";
import { CountingSink } from "../system/support/load.ts";
import { idOf, plant, queueFile, record } from "../system/support/queue_damage.ts";
import { NEEDS_STRACE } from "../system/support/traced_programs.ts";

t.setTimeout(120_000);

const mailbox = (instance: Instance, name = instance.who.recipient): string => {
  const path = join(instance.mail, name);
  return existsSync(path) ? readFileSync(path, "latin1") : "";
};

/** Times of T records: the first that a date cannot show, those that numbers cannot hold, and no times at all. */
const TIMES = [
  "99999999999999999999",
  "67768036191676800",
  "-1",
  "0",
  "4294967296",
  "8640000000001",
  "9007199254740993",
  "253402300800",
  "",
  "abc",
];

t.test("QUE-05 a time that no date can show stops nobody's mail", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t);
  const maildrop = join(instance.queue, "maildrop");
  await until("maildrop", () => existsSync(maildrop));
  const { uid, gid } = statSync(join(instance.queue, "active"));
  const to = `${instance.who.recipient}@localhost`;
  const submission = (time: string, subject: string): Buffer =>
    Buffer.concat([
      record("T", time),
      record("S", "games"),
      record("R", to),
      record("M", ""),
      record("N", `Subject: ${subject}`),
      record("X", ""),
      record("E", ""),
    ]);
  const put = (name: string, content: Buffer): void => {
    const path = join(maildrop, `.${name}`);
    writeFileSync(path, content);
    chownSync(path, 5, 60);
    chmodSync(path, 0o744);
  };
  const rename = (name: string): void => {
    const from = join(maildrop, `.${name}`);
    writeFileSync(join(maildrop, name), readFileSync(from), { mode: 0o600 });
    chownSync(join(maildrop, name), 5, 60);
    chmodSync(join(maildrop, name), 0o744);
  };
  for (const [index, time] of TIMES.entries()) put(idOf(index), submission(time, `odd ${index}`));
  for (let index = 0; index < 10; index++)
    put(idOf(100 + index), submission("1795340000 1", `good ${index}`));
  for (const name of readdirSync(maildrop)) if (name.startsWith(".")) rename(name.slice(1));
  // the same in the queue proper, for the queue manager, the lister and whoever delivers
  TIMES.forEach((time, index) => {
    const odd = (target: string): Buffer =>
      queueFile((records) => {
        for (const entry of records) {
          if (entry[0] === "T") entry[1] = time;
          if (entry[0] === "R") entry[1] = target;
          if (entry[0] === "S") entry[1] = to;
        }
      });
    plant(instance, "incoming", idOf(200 + index), odd(to));
    plant(instance, "deferred", idOf(300 + index), odd("nosuchuser@localhost"));
    plant(instance, "hold", idOf(400 + index), odd(to));
  });
  instance.must("postkick", ["public", "pickup", "W"]);
  instance.must("postqueue", ["-f"]);
  await until("the good ones", () =>
    Array.from({ length: 10 }, (_, index) => `Subject: good ${index}\n`).every((line) =>
      mailbox(instance).includes(line),
    ),
  );
  await until("nothing that is offered for ever", () =>
    readdirSync(maildrop).every((name) => name.startsWith(".")),
  );
  await until("the queue", () =>
    ["incoming", "active", "deferred"].every((queue) => queueFiles(instance, queue).length === 0),
  );
  t.match(instance.must("postqueue", ["-p"]), /Kbytes in 10 Requests|-- \d+ Kbytes in \d+ Requests?/);
  for (const line of instance.must("postqueue", ["-j"]).trim().split("\n")) JSON.parse(line);
  t.same(crashes(instance), []);
  t.equal(uid, statSync(maildrop).uid);
  t.ok(gid >= 0);
});

t.test("QMG-09 a file that is still written is left alone", async (t) => {
  const instance = await runningInstance(t);
  await until("the queue", () => existsSync(join(instance.queue, "active")));
  const zero = Buffer.concat([record("C", " ".repeat(95)), record("T", "1795340000 1")]);
  for (const [index, content] of [zero, Buffer.alloc(0), Buffer.alloc(200), queueFile()].entries()) {
    plant(instance, "incoming", idOf(index), content, 0o600);
    plant(instance, "hold", idOf(10 + index), content, 0o600);
  }
  instance.must("postkick", ["public", "qmgr", "ID"]);
  t.equal(instance.must("postqueue", ["-p"]), "Mail queue is empty\n");
  for (const index of [0, 1, 2, 3]) {
    const shown = instance.run("postcat", ["-q", idOf(index)]);
    t.equal(shown.signal, null, `postcat ${index}`);
  }
  instance.must("postsuper", ["-s"]);
  instance.must("postsuper", ["-p"]);
  t.same(queueFiles(instance, "incoming").length, 4, "too young to be removed");
  t.same(queueFiles(instance, "hold").length, 4);
  t.same(queueFiles(instance, "corrupt"), []);
  t.same(crashes(instance), []);
});

t.test("QMG-10 what ETRN and flush requests may name, and how often the queue is read", async (t) => {
  const instance = await runningInstance(t, {
    mainCf: "fast_flush_domains = static:all\nsmtpd_etrn_restrictions =\n",
  });
  const flush = join(instance.queue, "public/flush");
  const request = (...words: string[]): Promise<string> =>
    exchange(flush, bytes(`${words.join("\0")}\0\0`), { limit: 5000 });
  const before = readdirSync(instance.queue).sort();
  for (const site of [
    "../../../tmp/x",
    "/etc/passwd",
    "a/../b",
    "..",
    "x\ny",
    "\x01\x02",
    "x".repeat(1000),
  ]) {
    await request("request", "add", "site", site, "queue_id", "ABCDEF012345");
    await request("request", "send_site", "site", site);
    await exchange(instance.smtpPort, bytes(`EHLO x\r\nETRN ${site.replace("\n", " ")}\r\nQUIT\r\n`), {
      half: false,
      limit: 500,
    });
  }
  for (const id of ["../x", "", "A/B", "x".repeat(1000)])
    await request("request", "add", "site", "a.test", "queue_id", id);
  t.same(readdirSync(instance.queue).sort(), before, "nothing beside the flush directory");
  for (const name of queueFiles(instance, "flush")) t.match(name, /^[A-Za-z0-9_]+$/);
  t.same(crashes(instance), []);
});

t.test("QMG-10 a thousand requests to try one message, and a site during a scan", NEEDS_STRACE, async (t) => {
  const port = await freePort();
  const instance = await runningInstance(t, {
    mainCf: `transport_maps = inline:{ { dead.test = smtp:[127.0.0.1]:${port} } }
fast_flush_domains = dead.test
minimal_backoff_time = 300s
transport_retry_time = 1s
queue_run_delay = 300s
`,
  });
  const deferred = (): number => queueFiles(instance, "deferred").length;
  for (let n = 0; n < 20; n++) instance.must("sendmail", ["-f", "", `x${n}@dead.test`], "Subject: x\n\nx\n");
  await until("deferred mail", () => deferred() === 20);
  const [id = ""] = queueFiles(instance, "deferred");
  // from now on the server is there and says nothing: the message stays with the agent
  const clients = new Set<Socket>();
  const silent = createServer((client) => {
    clients.add(client.on("error", () => undefined));
  }).listen(port, "127.0.0.1");
  const attempts = (): number => instance.maillog().match(/status=deferred/g)?.length ?? 0;
  const before = attempts();
  const [qmgr = 0] = daemons(instance, "qmgr");
  const report = join(instance.directory, "scans");
  const calls = ["-f", "-qq", "-o", report, "-e", "trace=openat", "-p", String(qmgr)];
  const tracer = spawn("strace", calls, { stdio: "ignore" });
  const ended = new Promise((done) => tracer.once("exit", done));
  await until("strace", () => existsSync(report));
  await new Promise((done) => setTimeout(done, 500));
  const flush = join(instance.queue, "public/flush");
  const one = bytes(`request\0send_file\0queue_id\0${id}\0\0`);
  for (let n = 0; n < 20; n++)
    await Promise.all(Array.from({ length: 50 }, () => exchange(flush, one, { half: false })));
  await until("an attempt", () => clients.size > 0);
  tracer.kill("SIGTERM");
  await ended;
  const scans = readFileSync(report, "latin1").match(/"incoming"/g)?.length ?? 0;
  t.ok(scans > 0 && scans <= 4, `${scans} scans for 1000 requests`);
  t.equal(clients.size, 1, "one attempt");
  silent.close();
  for (const client of clients) client.destroy();
  await until("the end of the attempt", () => attempts() > before);

  // the queue is being read: what is asked for meanwhile is not forgotten
  const seen = attempts();
  instance.must("postqueue", ["-f"]);
  instance.must("postqueue", ["-s", "dead.test"]);
  await until("an attempt for each message of the site", () => attempts() - seen >= 20, 15);
});

t.test("CFG-04 text from outside is never expanded", NEEDS_ROOT, async (t) => {
  const tricks = ["$mynetworks", "${mynetworks}", "${x?y}", "%s%n", "$1", "${${}}", "${mail_name?{a}:{b}}"];
  const instance = await runningInstance(t, {
    mainCf: (
      dir,
    ) => `smtpd_sender_restrictions = check_sender_access regexp:{{/^bad/ REJECT $mynetworks of a table}}
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 100
allow_percent_hack = no
transport_maps = inline:{ { pipe.test = pipeout: } }
header_checks = regexp:{{/^X-Trick: (.*)/ WARN value $1}}
alias_maps = inline:{ { tricky = "|cat > ${dir}/mail/$home" } }
`,
    masterCf: "pipeout unix - n n - - pipe flags= user=nobody argv=/bin/echo ${sender} ${recipient}\n",
  });
  for (const trick of tricks) {
    const refused = await sendMail(
      instance.smtpPort,
      `"${trick}"@x.test`,
      `"${trick}"@localhost`,
      "x\r\n",
    ).then(
      () => "",
      (error: unknown) => String(error),
    );
    t.ok(refused.includes(trick), `${trick} in ${refused}`);
    await sendMail(
      instance.smtpPort,
      `"${trick}"@x.test`,
      `${instance.who.recipient}@localhost`,
      `X-Trick: ${trick}\r\n\r\n${trick}\r\n`,
    );
    await until(`delivery of ${trick}`, () =>
      mailbox(instance).includes(`

${trick}
`),
    );
    t.ok(
      mailbox(instance).includes(`X-Trick: ${trick}
`),
      trick,
    );
    t.ok(
      /^Return-Path: <"?(.*?)"?@x\.test>$/m.exec(mailbox(instance).split("\nFrom ").at(-1) ?? "")?.[1] ===
        trick,
      trick,
    );
    t.ok(instance.maillog().includes(`warning: header X-Trick: ${trick} from `), trick);
  }
  // configuration text is expanded, once, and says what is wrong
  instance.must("postconf", ["-e", "loop_a = $loop_b", "loop_b = $loop_a", "smtpd_banner = $loop_a"]);
  const looping = instance.run("postmap", ["-q", "a", "inline:{a=b}"]);
  t.equal(looping.signal, null);
  instance.must("postconf", ["-X", "loop_a", "loop_b"]);
  instance.must("postconf", ["-e", `smtpd_banner = ${"${x?".repeat(10_000)}${"}".repeat(10_000)}`]);
  const nested = instance.run("postconf", ["-hx", "smtpd_banner"]);
  t.equal(nested.signal, null);
});

t.test("DLV-01 :include: files in a chain and in a ring end", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t, {
    mainCf: (dir) =>
      `alias_maps = inline:{ { chain = :include:${dir}/inc/0 } { one = two } { two = one } { self = self } { ring = :include:${dir}/inc/a } }\n`,
  });
  const folder = join(instance.directory, "inc");
  mkdirSync(folder);
  for (let index = 0; index < 150; index++)
    writeFileSync(join(folder, String(index)), index < 149 ? `:include:${folder}/${index + 1}\n` : "root\n");
  writeFileSync(join(folder, "a"), `:include:${folder}/b\n`);
  writeFileSync(join(folder, "b"), `:include:${folder}/a\nnobody\n`);
  const fds = (): number => {
    const [pid = 0] = daemons(instance, "local");
    return readdirSync(`/proc/${pid}/fd`).length;
  };
  const bounceTo = "nobody@localhost";
  const deliver = (name: string): void => {
    instance.must("sendmail", ["-f", bounceTo, `${name}@localhost`], `Subject: to ${name}\n\n`);
  };
  deliver("nobody");
  await until("delivery", () => mailbox(instance, "nobody").includes("Subject: to nobody"));
  const start = fds();
  deliver("chain");
  await logged(instance, /warning: :include: nesting limit exceeded for \S+\/inc\/97\n/);
  await logged(instance, /to=<chain@localhost>, .*dsn=5\.4\.6, status=bounced/);
  deliver("one");
  await logged(instance, /warning: recipient nesting limit exceeded for (?:one|two)/);
  await logged(instance, /to=<one@localhost>, .*dsn=5\.4\.6, status=bounced/);
  deliver("self");
  await logged(instance, /to=<self@localhost>, .*status=bounced \(unknown user: "self"\)/);
  deliver("ring");
  await logged(instance, /to=<(?:ring|nobody)@localhost>, (?:orig_to=<ring@localhost>, )?.*status=/);
  await until("an idle queue", () =>
    ["incoming", "active"].every((queue) => queueFiles(instance, queue).length === 0),
  );
  // connections that are kept go after some seconds
  await until("no more descriptors than before", () => fds() <= start + 2);
  t.same(crashes(instance), []);
});

t.test("QMG-04 reload, flush and a killed queue manager deliver nothing twice", async (t) => {
  const sink = new CountingSink();
  const port = await sink.listen();
  t.teardown(() => sink.close());
  const held: { release?: () => void } = {};
  const gate = new Promise<void>((resolve) => {
    held.release = resolve;
  });
  const { createServer, connect } = await import("node:net");
  // between us and the sink: the reply to the end of data waits
  const relay = createServer((client) => {
    const server = connect(port, "127.0.0.1");
    client.pipe(server);
    client.on("error", () => server.destroy());
    server.on("error", () => client.destroy());
    server.on("data", (chunk: Buffer) => {
      const text = chunk.toString("latin1");
      if (sink.arrivals.size > 0 && text.startsWith("250 ")) void gate.then(() => client.write(chunk));
      else client.write(chunk);
    });
  });
  await new Promise<void>((done) => relay.listen(0, "127.0.0.1", done));
  t.teardown(() => relay.close());
  const address = relay.address();
  const instance = await runningInstance(t, {
    mainCf: `relayhost = [127.0.0.1]:${typeof address === "object" && address !== null ? address.port : 0}
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
`,
  });
  await sendMail(instance.smtpPort, "a@b.test", "x@far.test", "X-Load-Id: once\r\n\r\nbody\r\n");
  await until("its arrival", () => sink.arrivals.get("once") === 1);
  for (let round = 0; round < 3; round++) {
    instance.must("postfix", ["reload"]);
    instance.must("postqueue", ["-f"]);
    await until("the queue manager", () => daemons(instance, "qmgr").length > 0);
  }
  for (const pid of daemons(instance, "qmgr")) process.kill(pid, "SIGKILL");
  instance.must("postqueue", ["-f"]);
  await until("a new queue manager", () => daemons(instance, "qmgr").length > 0);
  instance.must("postqueue", ["-f"]);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  t.equal(sink.arrivals.get("once"), 1, "not again while the delivery is under way");
  held.release?.();
  await logged(instance, /to=<x@far\.test>, .*status=sent/);
  await until("an empty queue", () => {
    instance.run("postqueue", ["-f"]);
    return ["incoming", "active", "deferred"].every((queue) => queueFiles(instance, queue).length === 0);
  });
  t.equal(sink.arrivals.get("once"), 1);
});

t.test("CLN-12 a message keeps its SMTPUTF8 flag however often it is requeued", async (t) => {
  const instance = await runningInstance(t, {
    mainCf: "relayhost = [127.0.0.1]:1\n",
  });
  const flags = (id: string): string =>
    /^message_size:.* (\d+)$/m.exec(instance.must("postcat", ["-eq", id]))?.[1] ?? "none";
  for (const utf8 of [true, false]) {
    const position = instance.maillog().length;
    const from = utf8 ? "a@b.test> SMTPUTF8 ENVID=x" : "a@b.test";
    await sendMail(instance.smtpPort, from, "x@far.test", "Subject: x\r\n\r\nbody\r\n");
    let id = await until(
      "the queue ID",
      () => /qmgr\[\d+\]: (\w+): from=<a@b\.test>/.exec(instance.maillog().slice(position))?.[1],
    );
    await until("deferral", () => queueFiles(instance, "deferred").includes(id));
    const first = flags(id);
    t.equal(first, utf8 ? "1" : "0");
    for (let round = 0; round < 4; round++) {
      const before = instance.maillog().length;
      instance.must("postsuper", ["-r", id]);
      instance.must("postkick", ["public", "pickup", "W"]);
      id = await until(
        "the new queue ID",
        () => /qmgr\[\d+\]: (\w+): from=<a@b\.test>/.exec(instance.maillog().slice(before))?.[1],
      );
      await until("deferral", () => queueFiles(instance, "deferred").includes(id));
      t.equal(flags(id), first, `round ${round}`);
    }
    instance.must("postsuper", ["-d", "ALL"]);
  }
});
