/** Known faults of masters: children that lie, limits and settings that change, things in the place of sockets, two systems on one directory, signals. */
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import t from "tap";
import { sendMail } from "../../packaging/smtp_hello.ts";
import {
  allDaemons,
  freePort,
  logged,
  masterPid,
  NEEDS_ROOT,
  runningInstance,
  until,
} from "./support/harness.ts";
import { crashes, stillWorks } from "./support/hostile.ts";
import { CountingSink, submitLoad } from "./support/load.ts";
import { TracedPrograms } from "./support/traced_programs.ts";

t.setTimeout(120_000);

function edit(path: string, change: (text: string) => string): void {
  writeFileSync(path, change(readFileSync(path, "latin1")));
  const past = new Date(Date.now() - 10_000);
  utimesSync(path, past, past);
}

class Client {
  received = "";
  closed = false;
  readonly socket: Socket;
  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1").setEncoding("latin1");
    this.socket.on("data", (chunk: string) => (this.received += chunk));
    this.socket.on("error", () => undefined).on("close", () => (this.closed = true));
  }
}

t.test("IPC-02 status records that are not true change nothing", async (t) => {
  const port = await freePort();
  const instance = await runningInstance(t, {
    mainCf: (directory) => {
      const { folder } = new TracedPrograms(directory, []);
      writeFileSync(
        join(folder, "liar"),
        `#!/bin/sh
le() { printf '\\\\%03o\\\\%03o\\\\%03o\\\\%03o' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)); }
generation=$((0$GENERATION))
printf "$(le $$)$(le $((generation + 7)))$(le 1)$(le 1)$(le 1)$(le 1)$(le $$)$(le $generation)$(le 99)abc" >&5
sleep 0.2
printf "$(le $$)$(le $generation)$(le 0)" >&5
sleep 60
`,
      );
      chmodSync(join(folder, "liar"), 0o755);
      return `daemon_directory = ${folder}\n`;
    },
    masterCf: `127.0.0.1:${port} inet n - n - 2 liar\n`,
  });
  const client = new Client(port);
  const [, pid] = await logged(
    instance,
    /master\[\d+\]: ignoring status update from child pid (\d+) generation \d+\n/,
  );
  await logged(
    instance,
    new RegExp(`warning: master_status_event: ignoring unknown status: ${pid} allegedly from pid: 99\n`),
  );
  await logged(
    instance,
    /warning: service 127\.0\.0\.1:\d+\(\S+\): child \(pid \d+\) sent partial status update \(3 bytes\)\n/,
  );
  // its true word is still understood: it is busy, and another one is started for the client that waits
  await until(
    "a second process",
    () => allDaemons(instance).filter(({ command }) => /^(?:sh|dash|liar)$/.test(command)).length >= 2,
  );
  client.socket.destroy();
  await stillWorks(t, instance);
});

t.test("IPC-03 IPC-04 limits and settings after a reload", async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  const [main, master] = [join(instance.config, "main.cf"), join(instance.config, "master.cf")];
  const limit = (count: number): void =>
    edit(master, (text) =>
      text.replace(/^(127\.0\.0\.1:\d+ inet n - n -) .*$/m, `$1 ${count} smtpd -o service_client_limit=1`),
    );
  limit(6);
  instance.start();
  let reloads = 0;
  const reload = async (): Promise<void> => {
    instance.must("postfix", ["reload"]);
    reloads++;
    await until("the reload", () => instance.maillog().split("reload -- version").length > reloads);
  };
  const clients = Array.from({ length: 6 }, () => new Client(instance.smtpPort));
  await until("six greetings", () => clients.every(({ received }) => received.startsWith("220 ")));
  limit(2);
  edit(main, (text) => `${text}smtpd_banner = $myhostname for a while\n`);
  await reload();
  const late = new Client(instance.smtpPort);
  await new Promise((resolve) => setTimeout(resolve, 500));
  t.equal(late.received, "", "the limit holds for who comes now");
  for (const { socket } of clients) socket.write("QUIT\r\n");
  await until("the greeting", () => late.received !== "");
  t.equal(late.received, "220 mail.posthaste.test for a while\r\n");
  late.socket.destroy();
  const banner = async (): Promise<string> => {
    const client = new Client(instance.smtpPort);
    await until("a greeting", () => client.received.includes("\n") || client.closed);
    client.socket.destroy();
    return client.received;
  };
  edit(main, (text) => text.replace(/^smtpd_banner .*\n/m, ""));
  edit(master, (text) => text.replace(" -o service_client_limit=1", " -o smtpd_banner=service"));
  await reload();
  let seen = "";
  for (let attempt = 0; attempt < 100 && seen !== "220 service\r\n"; attempt++) seen = await banner();
  t.equal(seen, "220 service\r\n");
  edit(master, (text) => text.replace(" -o smtpd_banner=service", ""));
  await reload();
  for (let attempt = 0; attempt < 100 && !/ESMTP/.test(seen); attempt++) seen = await banner();
  t.match(seen, /^220 mail\.posthaste\.test ESMTP/, "the default is back");
  t.same(crashes(instance), []);
});

t.test("IPC-06 what is in the place of sockets and lock files is not followed", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t);
  instance.stop();
  const outside = join(instance.directory, "outside");
  writeFileSync(outside, "precious", { mode: 0o600 });
  const { uid, gid } = statSync(join(instance.queue, "active"));
  const pid = join(instance.queue, "pid/master.pid");
  const replace = (path: string): void => {
    rmSync(path, { force: true, recursive: true });
    symlinkSync(outside, path);
    // links of root's are root's own doing
    lchownSync(path, uid, gid);
  };
  replace(pid);
  t.not(instance.run("postfix", ["start"]).status, 0);
  await logged(instance, /fatal: open lock file pid\/master\.pid: /);
  rmSync(pid);
  replace(join(instance.directory, "data/master.lock"));
  t.not(instance.run("postfix", ["start"]).status, 0);
  await logged(instance, /fatal: open lock file \S+\/master\.lock: /);
  rmSync(join(instance.directory, "data/master.lock"));
  rmSync(pid, { force: true });
  replace(join(instance.queue, "private/rewrite"));
  instance.start();
  t.ok(statSync(join(instance.queue, "private/rewrite")).isSocket());
  await stillWorks(t, instance);
  instance.stop();
  rmSync(join(instance.queue, "private/bounce"), { force: true });
  mkdirSync(join(instance.queue, "private/bounce"));
  chownSync(join(instance.queue, "private/bounce"), uid, gid);
  t.not(instance.run("postfix", ["start"]).status, 0);
  await logged(instance, /fatal: bind: private\/bounce: /);
  t.equal(readFileSync(outside, "latin1"), "precious");
  t.equal(statSync(outside).mode & 0o7777, 0o600);
  t.equal(statSync(outside).uid, 0);
});

t.test("IPC-07 two systems with one data directory", async (t) => {
  const first = await runningInstance(t);
  const second = await runningInstance(t, {
    stopped: true,
    mainCf: `data_directory = ${first.directory}/data\n`,
  });
  t.not(second.run("postfix", ["start"]).status, 0);
  await logged(
    second,
    /fatal: open lock file \S+\/data\/master\.lock: unable to set exclusive lock: Resource temporarily unavailable\n/,
  );
  t.ok(existsSync(`/proc/${masterPid(first)}`));
  await stillWorks(t, first);
});

t.test("IPC-08 signals at any time cost no mail and no half line", async (t) => {
  const sink = new CountingSink();
  const port = await sink.listen();
  t.teardown(() => sink.close());
  const instance = await runningInstance(t, {
    mainCf: `relayhost = [127.0.0.1]:${port}\nservice_throttle_time = 1s\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n`,
  });
  const master = masterPid(instance);
  const signals = (async () => {
    for (let count = 0; count < 1000; count++) {
      if (count % 50 === 0) process.kill(master, "SIGHUP");
      const all = allDaemons(instance).filter(({ pid, command }) => pid !== master && command !== "postlogd");
      const victim = all[(count * 7) % Math.max(1, all.length)]?.pid;
      try {
        if (victim !== undefined) process.kill(victim, count % 20 === 0 ? "SIGTERM" : "SIGHUP");
      } catch {
        // it ended meanwhile
      }
      if (count % 4 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  const { accepted } = await submitLoad({
    port: instance.smtpPort,
    messages: 150,
    sessions: 5,
    size: 1000,
    from: "a@b.test",
    to: () => "x@far.test",
    perConnection: 5,
    failureLimit: 5000,
  });
  await signals;
  let flushed = 0;
  await until(
    "everything accepted",
    () => {
      if (Date.now() - flushed > 2000) {
        instance.run("postqueue", ["-f"]);
        flushed = Date.now();
      }
      return [...accepted].every((id) => sink.arrivals.has(id));
    },
    60,
  );
  t.equal(masterPid(instance), master);
  t.match(await sendMail(instance.smtpPort, "a@b.test", "x@far.test", "X-Load-Id: last\r\n\r\n"), /^250 /);
  for (const line of instance.maillog().split("\n").slice(0, -1))
    t.match(line, /^[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d mail postfix\/[a-z-]+(?:\/[a-z-]+)*\[\d+\]: /);
  t.notMatch(instance.maillog(), /panic|killed by signal (?!15\b|1\b)/);
});
