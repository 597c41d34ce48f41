/** Starting, reloading, stopping and ending hard, under load and not; the kinds of services; limits, throttling, changed tables, JSON logs. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import t from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { reference } from "../interop/support/reference.ts";
import {
  daemons,
  freePort,
  isAlive,
  logged,
  masterPid,
  PROGRAMS,
  processesOfGroup,
  queueFiles,
  runningInstance,
  troubles,
  until,
} from "./support/harness.ts";
import { CountingSink, submitLoad } from "./support/load.ts";

const sleep = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));
const mailbox = (instance: Instance): string => {
  const path = join(instance.mail, instance.who.recipient);
  return existsSync(path) ? readFileSync(path, "latin1") : "";
};
const message = (subject: string): string => `Subject: ${subject}\r\n\r\nbody of ${subject}\r\n`;

/** Changes a configuration file, as an editor that was closed a while ago. */
function edit(path: string, change: (text: string) => string): void {
  writeFileSync(path, change(readFileSync(path, "latin1")));
  const past = new Date(Date.now() - 10_000);
  utimesSync(path, past, past);
}

/** One SMTP connection whose greeting can be waited for. */
class Client {
  received = "";
  closed = false;
  readonly socket: Socket;
  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.setEncoding("latin1");
    this.socket.on("data", (chunk: string) => (this.received += chunk));
    this.socket.on("error", () => (this.closed = true)).on("close", () => (this.closed = true));
  }
  greeted(): Promise<boolean> {
    return until("a greeting", () => this.received.startsWith("220 "));
  }
}

const TRANSITIONS: Readonly<Record<string, (instance: Instance) => Promise<void>>> = {
  reload: async (instance) => {
    instance.must("postfix", ["reload"]);
  },
  "stop and start": async (instance) => {
    instance.must("postfix", ["stop"]);
    instance.must("postfix", ["start"]);
  },
  "abort and start": async (instance) => {
    const master = masterPid(instance);
    instance.must("postfix", ["abort"]);
    await until("the end of all daemons", () => !isAlive(master));
    await until("start", () => instance.run("postfix", ["start"]).status === 0);
  },
  "drain and start": async (instance) => {
    const master = masterPid(instance);
    instance.must("postfix", ["drain"]);
    await until("the end of master", () => !isAlive(master));
    await until("the end of the daemons", () => processesOfGroup(master).length === 0, 60);
    instance.must("postfix", ["start"]);
  },
};

const MESSAGES = 400;
const TIMES = 3;

for (const [name, transition] of Object.entries(TRANSITIONS))
  t.test(`${name} under load loses nothing`, async (t) => {
    const sink = new CountingSink();
    const port = await sink.listen();
    t.teardown(() => sink.close());
    const instance = await runningInstance(t, {
      mainCf: `relayhost = [127.0.0.1]:${port}\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\nipc_timeout = 20s\n`,
    });
    let loading = true;
    let times = 0;
    const changes = (async () => {
      while (loading && times < TIMES) {
        await sleep(400);
        await transition(instance);
        times++;
      }
    })();
    const load = submitLoad({
      port: instance.smtpPort,
      messages: MESSAGES,
      sessions: 10,
      size: 2048,
      from: "s@example.org",
      to: (index) => `u${index % 20}@far.test`,
      perConnection: 10,
      failureLimit: 5000,
    });
    const { accepted, failures } = await load;
    await changes;
    loading = false;
    // a message that a delivery agent still had when the queue manager changed waits for a minute, but for a flush
    let flushed = Date.now();
    const flushing = (): boolean => {
      if (Date.now() - flushed > 3000) {
        instance.run("postqueue", ["-f"]);
        flushed = Date.now();
      }
      return false;
    };
    await until(
      "everything accepted to arrive",
      () => [...accepted].every((id) => sink.arrivals.has(id)) || flushing(),
      90,
    );
    t.ok(
      accepted.size >= MESSAGES,
      `${accepted.size} accepted, ${failures} refused or broken, ${times} times ${name}, ${sink.duplicates} duplicates`,
    );
    if (name === "reload") t.equal(sink.duplicates, 0, "no duplicates");
    if (name === "reload") t.equal(failures, 0, "and no client sees anything of it");
    await until(
      "an empty queue",
      () =>
        ["incoming", "active", "deferred"].every((queue) => queueFiles(instance, queue).length === 0) ||
        flushing(),
      30,
    );
    const bad = troubles(instance).filter((line) => /panic|fatal: (?!open lock file)|throttling/.test(line));
    t.same(bad, [], "no daemon failed");
  });

t.test(
  "a client that is left when the mail system is drained gets what can still be had, and nobody waits for the dead",
  async (t) => {
    const instance = await runningInstance(t);
    const client = new Client(instance.smtpPort);
    await client.greeted();
    const master = masterPid(instance);
    instance.must("postfix", ["drain"]);
    await until("the end of master", () => !isAlive(master));
    client.socket.write("EHLO x.test\r\n");
    await until("the reply to EHLO", () => /^250 /m.test(client.received));
    // trivial-rewrite(8) never ran, and there is nobody to start it
    client.socket.write(`MAIL FROM:<a@example.org>\r\nRCPT TO:<${instance.who.recipient}@localhost>\r\n`);
    await until("the end of the session", () => client.closed, 10);
    await until("the end of all daemons", () => processesOfGroup(master).length === 0, 10);
    t.match(client.received, /^220 [\s\S]*\n250 [^\n]*\r\n(?:4[^\n]*\r\n)*$/, "nothing was promised");
  },
);

t.test("commands, texts and exit codes", async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  const postfix = (...args: string[]): { status: number | null; text: string } => {
    const result = instance.run("postfix", args);
    return { status: result.status, text: result.stderr.toString("latin1") };
  };
  t.same(postfix("status"), { status: 1, text: "postlog: the Postfix mail system is not running\n" });
  for (const command of ["stop", "abort", "drain", "reload"])
    t.same(
      postfix(command),
      { status: 1, text: "postlog: fatal: the Postfix mail system is not running\n" },
      command,
    );
  t.equal(postfix("flush").status, 69);
  t.same(postfix("check"), { status: 0, text: "" });
  t.match(postfix("nonsense"), {
    status: 1,
    text: /^postlog: fatal: unknown command: 'nonsense'\. Usage: postfix start \(or stop, reload, /,
  });
  t.same(postfix("start"), { status: 0, text: "postlog: starting the Postfix mail system\n" });
  const pid = masterPid(instance);
  t.equal(readFileSync(join(instance.queue, "pid/master.pid"), "latin1"), `${String(pid).padStart(32)}\n`);
  t.match(postfix("status"), {
    status: 0,
    text: new RegExp(`^postlog: the Postfix mail system is running: PID: +${pid}\n$`),
  });
  t.same(postfix("start"), {
    status: 1,
    text: "postlog: fatal: the Postfix mail system is already running\n",
  });
  t.same(postfix("reload"), { status: 0, text: "postlog: refreshing the Postfix mail system\n" });
  await logged(
    instance,
    new RegExp(`/master\\[${pid}\\]: reload -- version [^,]+, configuration ${instance.config}\n`),
  );
  t.equal(postfix("flush").status, 0);
  t.match(postfix("stop"), { status: 0, text: /^postlog: stopping the Postfix mail system\n/ });
  await until("the end of all processes", () => processesOfGroup(pid).length === 0);
  t.match(
    instance.maillog(),
    new RegExp(
      `postfix-script\\[\\d+\\]: starting the Postfix mail system\n.*/master\\[${pid}\\]: daemon started -- version \\d[^,]*, configuration ${instance.config}\n`,
      "s",
    ),
  );

  t.match(postfix("start"), { status: 0 });
  t.match(postfix("quick-stop"), { status: 0 });
  t.ok(existsSync(join(instance.queue, "quick-start")));
  t.match(postfix("start"), { status: 0 });
  t.notOk(existsSync(join(instance.queue, "quick-start")), "used up");
  t.match(postfix("abort"), { status: 0, text: "postlog: aborting the Postfix mail system\n" });
  await until("the end", () => postfix("status").status === 1);

  // a configuration that cannot be used
  const good = readFileSync(join(instance.config, "master.cf"), "latin1");
  edit(join(instance.config, "master.cf"), (text) => `${text}broken unix - - x - - smtpd\n`);
  const broken = postfix("start");
  t.equal(broken.status, 1);
  t.match(
    broken.text,
    /postconf: fatal: invalid chroot field "x" .*\npostlog: fatal: cannot execute .*\/postconf!\n$/,
  );
  edit(join(instance.config, "master.cf"), () => good.replace(/^postlog .*$/m, ""));
  t.match(postfix("start"), {
    status: 1,
    text: /fatal: missing 'postlog' service in master\.cf - run 'postfix upgrade-configuration'\n/,
  });
});

t.test("kinds of services: inet, unix, unix-dgram, and queue manager and pickup on FIFOs", async (t) => {
  const instance = await runningInstance(t, {
    masterCf: "pickup fifo n - n 60 1 pickup\nqmgr fifo n - n 300 1 qmgr\n",
    stopped: true,
  });
  const master = join(instance.config, "master.cf");
  edit(master, (text) => text.replace(/^(?:pickup|qmgr) unix .*\n/gm, ""));
  instance.start();
  for (const name of ["public/qmgr", "public/pickup"]) {
    const stat = statSync(join(instance.queue, name));
    t.ok(stat.isFIFO(), name);
    t.equal(stat.mode & 0o7777, 0o622);
  }
  t.ok(statSync(join(instance.queue, "public/cleanup")).isSocket());
  t.equal(statSync(join(instance.queue, "public/cleanup")).mode & 0o7777, 0o666);
  t.ok(statSync(join(instance.queue, "public/postlog")).isSocket());
  const to = `${instance.who.recipient}@localhost`;
  await sendMail(instance.smtpPort, "a@example.org", to, message("by SMTP"));
  instance.must("sendmail", ["-f", "a@example.org", to], "Subject: by sendmail\n\nbody of by sendmail\n");
  await until(
    "delivery",
    () => mailbox(instance).includes("body of by SMTP") && mailbox(instance).includes("body of by sendmail"),
    20,
  );
  instance.must("postqueue", ["-f"]);
  instance.must("postfix", ["reload"]);
  await logged(instance, /reload -- version/);
  await sendMail(instance.smtpPort, "a@example.org", to, message("after reload"));
  await until("delivery", () => mailbox(instance).includes("body of after reload"), 20);
  t.same(troubles(instance), []);
});

const programs = reference();
t.test(
  "smtpd on descriptors that a real postscreen passes",
  "missing" in programs ? { skip: programs.missing } : {},
  async (t) => {
    if ("missing" in programs) return;
    const port = await freePort();
    const instance = await runningInstance(t, {
      mainCf: (directory) => {
        mixedPrograms(join(directory, "libexec"), { postscreen: join(programs.libexec, "postscreen") });
        return `daemon_directory = ${directory}/libexec\npostscreen_cache_map =\npostscreen_greet_action = ignore\nsmtpd_client_connection_count_limit = 0\n`;
      },
      masterCf: `127.0.0.1:${port} inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\n`,
    });
    const to = `${instance.who.recipient}@localhost`;
    for (const subject of ["one", "two", "three"])
      await sendMail(port, "a@example.org", to, message(`passed ${subject}`));
    await until("delivery", () =>
      ["one", "two", "three"].every((subject) => mailbox(instance).includes(`body of passed ${subject}`)),
    );
    await logged(instance, /\/postscreen\[\d+\]: CONNECT from \[127\.0\.0\.1\]:\d+ to \[127\.0\.0\.1\]:\d+/);
    await logged(instance, /\/smtpd\[\d+\]: connect from localhost\[127\.0\.0\.1\]/);
    t.ok(statSync(join(instance.queue, "private/smtpd")).isSocket());
  },
);

/** A folder with our daemons, some replaced. */
function mixedPrograms(folder: string, others: Readonly<Record<string, string>>): void {
  mkdirSync(folder, { recursive: true });
  const ours = join(PROGRAMS.multicall, "libexec");
  for (const name of readdirSync(ours))
    if (others[name] === undefined) symlinkSync(join(ours, name), join(folder, name));
  for (const [name, path] of Object.entries(others)) symlinkSync(path, join(folder, name));
}

t.test("a process limit holds clients back until one leaves", async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  edit(join(instance.config, "master.cf"), (text) =>
    text.replace(/^(127\.0\.0\.1:\d+ inet n - n -) - smtpd$/m, "$1 2 smtpd -o service_client_limit=1"),
  );
  instance.start();
  const clients = [new Client(instance.smtpPort), new Client(instance.smtpPort)] as const;
  for (const client of clients) await client.greeted();
  const third = new Client(instance.smtpPort);
  await sleep(700);
  t.equal(third.received, "", "the third one waits");
  t.equal(daemons(instance, "smtpd").length, 2);
  clients[0].socket.write("QUIT\r\n");
  await third.greeted();
  t.pass("and is served when another one leaves");
  t.equal(daemons(instance, "smtpd").length, 2, "by a process that is there");
  for (const client of [...clients, third]) client.socket.destroy();
});

t.test("IPC-05 a daemon that ends after each client serves the next one all the same", async (t) => {
  const port = await freePort();
  const instance = await runningInstance(t, {
    masterCf: `127.0.0.1:${port} inet n - n - - smtpd -o max_use=1 -o service_client_limit=1\n`,
  });
  for (let client = 0; client < 20; client++)
    t.match(
      await sendMail(
        port,
        "a@example.org",
        `${instance.who.recipient}@localhost`,
        message(`client ${client}`),
      ),
      /^250 /,
    );
  const log = instance.maillog();
  t.equal(new Set([...log.matchAll(/smtpd\[(\d+)\]: connect from/g)].map(([, pid]) => pid)).size, 20);
  t.notMatch(log, /throttling|exit status/);
});

t.test("IPC-05 a daemon that cannot start is throttled, the others go on", async (t) => {
  const port = await freePort();
  const starts = { file: "" };
  const instance = await runningInstance(t, {
    mainCf: (directory) => {
      starts.file = join(directory, "starts");
      const crasher = join(directory, "crasher");
      writeFileSync(crasher, `#!/bin/sh\necho x >>${starts.file}\nexit 3\n`);
      chmodSync(crasher, 0o755);
      mixedPrograms(join(directory, "libexec"), { crasher });
      return `daemon_directory = ${directory}/libexec\nservice_throttle_time = 2s\n`;
    },
    masterCf: `127.0.0.1:${port} inet n - n - - crasher\n`,
  });
  const path = join(instance.directory, "libexec/crasher");
  const client = new Client(port);
  await logged(
    instance,
    new RegExp(
      `/master\\[\\d+\\]: warning: process ${path} pid \\d+ exit status 3\n.*/master\\[\\d+\\]: warning: ${path}: bad command startup -- throttling\n`,
    ),
  );
  const count = (): number => readFileSync(starts.file, "latin1").length / 2;
  t.equal(count(), 1);
  await sleep(1000);
  t.equal(count(), 1, "no second start while it is throttled");
  await until("a second start", () => count() === 2, 10);
  client.socket.destroy();
  await sendMail(
    instance.smtpPort,
    "a@example.org",
    `${instance.who.recipient}@localhost`,
    message("meanwhile"),
  );
  await until("delivery", () => mailbox(instance).includes("body of meanwhile"));
  // a process that is killed at its work is replaced at once
  const [victim = 0] = daemons(instance, "qmgr");
  process.kill(victim, "SIGKILL");
  await logged(instance, new RegExp(`warning: process .*/qmgr pid ${victim} killed by signal 9`));
});

t.test("a changed table is taken up, and no client notices", async (t) => {
  const instance = await runningInstance(t, {
    mainCf: (directory) =>
      `smtpd_sender_restrictions = check_sender_access cdb:${directory}/access\ntransport_maps = cdb:${directory}/transport\n`,
    stopped: true,
  });
  const table = (name: string, text: string): void => {
    const path = join(instance.directory, name);
    writeFileSync(path, text);
    // a file time that differs from the one before, however fast the test is
    const before = existsSync(`${path}.cdb`) ? statSync(`${path}.cdb`).mtimeMs / 1000 : 1e9;
    instance.must("postmap", [`cdb:${path}`]);
    utimesSync(`${path}.cdb`, before + 10, before + 10);
  };
  table("access", "refused@example.org REJECT go away\n");
  table("transport", "trash.test discard:first\n");
  instance.start();
  const to = "x@trash.test";
  const changed = (program: string, name: string, times: number): Promise<boolean> =>
    until(
      `${program} to restart`,
      () =>
        instance
          .maillog()
          .split(new RegExp(`/${program}\\[\\d+\\]: table cdb:\\S+/${name}\\S* has changed -- restarting`))
          .length > times,
    );
  await t.rejects(sendMail(instance.smtpPort, "refused@example.org", to, message("x")), {
    message: /554 5\.7\.1 <refused@example\.org>: Sender address rejected: go away/,
  });
  await sendMail(instance.smtpPort, "ok@example.org", to, message("x"));
  await logged(instance, /to=<x@trash\.test>, relay=none, .*status=sent \(first\)/);
  table("access", "ok@example.org REJECT now you\n");
  await changed("smtpd", "access", 1);
  await sendMail(instance.smtpPort, "refused@example.org", to, message("x"));
  await t.rejects(sendMail(instance.smtpPort, "ok@example.org", to, message("x")), {
    message: /Sender address rejected: now you/,
  });
  const rewriters = daemons(instance, "trivial-rewrite");
  table("transport", "trash.test discard:second\n");
  await changed("trivial-rewrite", "transport", 1);
  // each of them looks every ten seconds
  await until("all of them to end", () =>
    daemons(instance, "trivial-rewrite").every((pid) => !rewriters.includes(pid)),
  );
  await sendMail(instance.smtpPort, "other@example.org", to, message("x"));
  await logged(instance, /to=<x@trash\.test>, relay=none, .*status=sent \(second\)/);
  // clients that come while the table changes are all served
  for (let round = 0; round < 8; round++) {
    table("access", `ok@example.org REJECT round ${round}\n`);
    await sendMail(instance.smtpPort, "refused@example.org", to, message("x"));
  }
  t.same(troubles(instance), []);
});

t.test("reload: new and removed services, refused changes, new settings", async (t) => {
  const [port, other] = [await freePort(), await freePort()];
  const instance = await runningInstance(t, { masterCf: `127.0.0.1:${other} inet n - n - - smtpd\n` });
  const master = masterPid(instance);
  const old = new Client(other);
  await old.greeted();
  edit(join(instance.config, "master.cf"), (text) =>
    text.replace(`127.0.0.1:${other} `, `127.0.0.1:${port} `).replace(/^discard .*\n/m, ""),
  );
  edit(join(instance.config, "main.cf"), (text) => `${text}smtpd_banner = $myhostname changed\n`);
  instance.must("postfix", ["reload"]);
  await logged(instance, /reload -- version/);
  // that line comes before the work
  let client = new Client(port);
  await until("the new service", () => {
    if (client.closed) client = new Client(port);
    return client.received.startsWith("220 ");
  });
  t.equal(client.received, "220 mail.posthaste.test changed\r\n");
  t.equal(masterPid(instance), master);
  await until("the end of the removed service's clients", () => old.closed);
  const refused = new Client(other);
  await until("the removed service to refuse", () => refused.closed);
  edit(join(instance.config, "main.cf"), (text) => `${text}inet_protocols = all\n`);
  instance.must("postfix", ["reload"]);
  await logged(
    instance,
    /warning: ignoring inet_protocols parameter value change\n.*old value: "ipv4", new value: "all"\n.*to change inet_protocols, stop and start Postfix\n/,
  );
  client.socket.destroy();
});

t.test("JSON log lines", async (t) => {
  const instance = await runningInstance(t, {
    mainCf: "maillog_format = json\ntransport_maps = inline:{ { slow.test = retry:4.2.1 slow } }\n",
  });
  const to = `${instance.who.recipient}@localhost`;
  await sendMail(instance.smtpPort, "a@example.org", to, message("json"));
  instance.must("sendmail", ["-f", to, "nosuchuser@localhost", "x@slow.test"], "Subject: y\n\n\n");
  await t.rejects(sendMail(instance.smtpPort, "a@example.org", '"x\xe9\\"y"@nowhere.test', message("json")));
  await until("the bounce", () => mailbox(instance).includes("Undelivered Mail"));
  await logged(instance, /slow\.test/);
  instance.must("postfix", ["reload"]);
  await logged(instance, /reload -- version/);
  instance.stop();
  const lines = instance
    .maillog()
    .split("\n")
    .filter((line) => line !== "");
  const objects = lines.map((line) => {
    try {
      const value: Record<string, unknown> = JSON.parse(Buffer.from(line, "latin1").toString("utf8"));
      return value;
    } catch {
      t.fail(`not JSON: ${line}`);
      return {};
    }
  });
  t.ok(objects.length > 15, `${objects.length} lines`);
  for (const key of ["time", "level", "program", "pid", "event", "message"])
    t.ok(
      objects.every((object) => key in object),
      `each has ${key}`,
    );
  t.match(
    objects.find((object) => object.status === "sent"),
    { message: /: to=<\S+@localhost>, relay=local, /, level: "info" },
  );
  t.ok(
    ["master", "smtpd", "cleanup", "qmgr", "local", "bounce"].every((name) =>
      objects.some((object) => object.program === name),
    ),
    `programs: ${[...new Set(objects.map((object) => object.program))].join(" ")}`,
  );
});

t.test("start-fg stays in the foreground", async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  const { spawn } = await import("node:child_process");
  const child = spawn(instance.program("postfix"), ["start-fg"], {
    env: instance.environment,
    stdio: "ignore",
    detached: true,
  });
  const ended = new Promise<number | null>((resolve) => child.on("close", (status) => resolve(status)));
  await logged(instance, /daemon started -- version/);
  await sendMail(instance.smtpPort, "a@example.org", `${instance.who.recipient}@localhost`, message("fg"));
  await until("delivery", () => mailbox(instance).includes("body of fg"));
  t.equal(child.exitCode, null, "it runs");
  t.equal(instance.run("postfix", ["status"]).status, 0);
  instance.must("postfix", ["stop"]);
  t.not(await ended, 0, "ended by a signal");
});
