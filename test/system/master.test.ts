/** What master promises its children and its admin (docs/daemons.md; ipc.md 1): descriptors, environment, texts, odd ends of processes. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import t from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import {
  daemons,
  freePort,
  isAlive,
  logged,
  masterPid,
  NEEDS_ROOT,
  PROGRAMS,
  runningInstance,
  until,
} from "./support/harness.ts";

t.setTimeout(240_000);

const LIBEXEC = join(PROGRAMS.multicall, "libexec");
const MESSAGE = "Subject: x\r\n\r\nbody\r\n";

function edit(path: string, change: (text: string) => string): void {
  writeFileSync(path, change(readFileSync(path, "latin1")));
  const past = new Date(Date.now() - 10_000);
  utimesSync(path, past, past);
}

/** A folder with our programs and others. */
function withPrograms(folder: string, others: Readonly<Record<string, string>>): void {
  mkdirSync(folder);
  for (const name of readdirSync(LIBEXEC)) symlinkSync(join(LIBEXEC, name), join(folder, name));
  for (const [name, text] of Object.entries(others)) {
    writeFileSync(join(folder, name), text);
    chmodSync(join(folder, name), 0o755);
  }
}

const mailbox = (instance: Instance): string => {
  const path = join(instance.mail, instance.who.recipient);
  return existsSync(path) ? readFileSync(path, "latin1") : "";
};

t.test(
  "a child gets its arguments, descriptors, environment and directory as the contract says",
  async (t) => {
    const port = await freePort();
    const report = { file: "" };
    const instance = await runningInstance(t, {
      mainCf: (directory) => {
        report.file = join(directory, "report");
        withPrograms(join(directory, "libexec"), {
          probe: `#!/bin/sh
{ echo "args:$0 $*"; echo "pwd:$PWD"; umask; ls /proc/self/fd | tr '\\n' ' '; echo; env; } >${report.file}.new
mv ${report.file}.new ${report.file}
sleep 60
`,
        });
        return `daemon_directory = ${directory}/libexec\n`;
      },
      masterCf: `127.0.0.1:${port} inet n y n - 1 probe -o { x = a b } -v\n`,
    });
    const client = connect(port, "127.0.0.1").on("error", () => undefined);
    const lines = (
      await until("the report", () => existsSync(report.file) && readFileSync(report.file, "latin1"))
    ).split("\n");
    client.destroy();
    t.equal(
      lines[0],
      `args:${instance.directory}/libexec/probe -l -n 127.0.0.1:${port} -t inet -u -o x = a b -v`,
      "arguments in master's order",
    );
    t.equal(lines[1], `pwd:${instance.queue}`);
    t.equal(lines[2], "0077");
    // 7 is ls's own; a shell script has itself open on 10
    t.same(
      (lines[3] ?? "")
        .trim()
        .split(" ")
        .filter((fd) => Number(fd) < 7)
        .map(Number)
        .sort((a, b) => a - b),
      [0, 1, 2, 3, 4, 5, 6],
      "standard, flow, status and listening descriptors",
    );
    const names = lines
      .slice(4)
      .filter((line) => line.includes("="))
      .map((line) => line.split("=", 1)[0] ?? "");
    for (const name of [
      "MAIL_CONFIG",
      "MAIL_LOGTAG",
      "LANG",
      "POSTLOG_SERVICE",
      "POSTLOG_HOSTNAME",
      "GENERATION",
      "MASTER_STARTS_AHEAD",
    ])
      t.ok(names.includes(name), `${name} is set`);
    t.notOk(
      names.some(
        (name) =>
          ["PATH", "HOME", "USER"].includes(name) && !process.env.SHELL?.includes("dash") && name !== "PATH",
      ),
    );
    t.match(
      lines.find((line) => line.startsWith("GENERATION=")),
      /^GENERATION=[0-7]+$/,
    );
  },
);

t.test("a program that is not there is said once and throttles its service alone", async (t) => {
  const port = await freePort();
  const instance = await runningInstance(t, { masterCf: `127.0.0.1:${port} inet n - n - - nosuchprogram\n` });
  const client = connect(port, "127.0.0.1").on("error", () => undefined);
  const path = join(LIBEXEC, "nosuchprogram");
  await logged(
    instance,
    new RegExp(
      `/master\\[\\d+\\]: fatal: master_spawn: exec ${path}: No such file or directory\n.*warning: ${path}: bad command startup -- throttling\n`,
    ),
  );
  client.destroy();
  t.match(
    await sendMail(instance.smtpPort, "a@example.org", `${instance.who.recipient}@localhost`, MESSAGE),
    /^250 /m,
  );
});

t.test("a process that a signal stops stays on the books", async (t) => {
  const instance = await runningInstance(t);
  const [pickup = 0] = await until(
    "pickup",
    () => daemons(instance, "pickup").length === 1 && daemons(instance, "pickup"),
  );
  process.kill(pickup, "SIGSTOP");
  await logged(
    instance,
    new RegExp(`warning: process ${LIBEXEC}/pickup pid ${pickup} stopped by signal 19\n`),
  );
  process.kill(pickup, "SIGCONT");
  t.same(daemons(instance, "pickup"), [pickup]);
});

t.test("a process that says it is available and takes no clients gets company", async (t) => {
  const instance = await runningInstance(t);
  const send = () =>
    sendMail(instance.smtpPort, "a@example.org", `${instance.who.recipient}@localhost`, MESSAGE);
  t.match(await send(), /^250 /m);
  const [stuck = 0] = daemons(instance, "smtpd");
  process.kill(stuck, "SIGSTOP");
  t.teardown(() => process.kill(stuck, "SIGCONT"));
  const client = connect(instance.smtpPort, "127.0.0.1");
  const greeting = await new Promise<string>((resolve) => {
    client.once("data", (data) => resolve(data.toString("latin1")));
  });
  client.destroy();
  t.match(greeting, /^220 /);
  t.match(await logged(instance, /service "\S+" \(\S+\): clients wait for an available process/), {});
  t.equal(daemons(instance, "smtpd").length, 2);
});

t.test("signals that come while master looks for clients interrupt nothing", async (t) => {
  const instance = await runningInstance(t);
  const master = masterPid(instance);
  for (let burst = 0; burst < 200; burst++) {
    for (let signal = 0; signal < 200; signal++) process.kill(master, "SIGIO");
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.match(
    await sendMail(instance.smtpPort, "a@example.org", `${instance.who.recipient}@localhost`, MESSAGE),
    /^250 /m,
  );
  t.equal(masterPid(instance), master);
  t.notMatch(instance.maillog(), /fatal: poll/);
});

t.test("what cannot change while the system runs keeps its value", async (t) => {
  const instance = await runningInstance(t);
  // the daemons believe main.cf: with another queue_directory none of them would start
  edit(join(instance.config, "main.cf"), (text) =>
    text.replace(/^inet_protocols = .*$/m, "inet_protocols = ipv4, ipv6"),
  );
  process.kill(masterPid(instance), "SIGHUP");
  await logged(instance, /warning: ignoring inet_protocols parameter value change\n/);
  await logged(instance, /warning: old value: "ipv4", new value: "ipv4, ipv6"\n/);
  await logged(instance, /warning: to change inet_protocols, stop and start Postfix\n/);
  process.kill(masterPid(instance), "SIGHUP");
  await until("the same news again", () => instance.maillog().split("ignoring inet_protocols").length === 3);
  t.match(
    await sendMail(instance.smtpPort, "a@example.org", `${instance.who.recipient}@localhost`, MESSAGE),
    /^250 /m,
  );
});

t.test("the lock says that the system runs, and a second master is refused", async (t) => {
  const instance = await runningInstance(t);
  const file = readFileSync(join(instance.queue, "pid/master.pid"), "latin1");
  t.match(file, /^ +\d+\n$/);
  t.equal(file.length, 33);
  t.equal(instance.run("master", ["-t"]).status, 1, "it runs");
  // main.cf is not read yet: only the environment says where the line goes
  const environment = { ...instance.environment, POSTLOG_SERVICE: join(instance.queue, "public/postlog") };
  t.equal(spawnSync(join(LIBEXEC, "master"), ["-w"], { env: environment }).status, 1);
  await logged(
    instance,
    /fatal: open lock file pid\/master\.pid: unable to set exclusive lock: Resource temporarily unavailable\n/,
  );
  t.equal(instance.run("master", ["-t", "-w"]).status, 1);
  t.equal(instance.run("master", ["extra"]).status, 1);
  instance.stop();
  t.equal(instance.run("master", ["-t"]).status, 0, "it does not run");
});

t.test("-e ends master after a time, and its children follow", async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  instance.must("postfix", ["check"]);
  t.equal(instance.run("master", ["-w", "-e", "2"]).status, 0);
  const master = masterPid(instance);
  await logged(instance, /master exit time has arrived\n/);
  await until("the end", () => !isAlive(master));
  await until("the end of the children", () => daemons(instance, "qmgr").length === 0);
});

t.test("a log file that cannot be written to costs lines, not mail", async (t) => {
  const instance = await runningInstance(t, { mainCf: "maillog_file = /dev/full\n" });
  const postlogd = await until("postlogd", () => daemons(instance, "postlogd")[0]);
  for (let round = 0; round < 20; round++) {
    const logger = instance.run("postlog", ["-p", "warn", `line ${round}`]);
    t.equal(logger.status, 0);
    t.equal(logger.stderr.toString(), `postlog: warning: line ${round}\n`);
  }
  const before = mailbox(instance).length;
  await sendMail(instance.smtpPort, "a@example.org", `${instance.who.recipient}@localhost`, MESSAGE);
  await until("delivery", () => mailbox(instance).length > before);
  t.same(daemons(instance, "postlogd"), [postlogd], "the same process");
});

t.test("debugger_command runs first in a daemon with -D", async (t) => {
  const instance = await runningInstance(t, {
    mainCf: (directory) =>
      `debugger_command = echo "$process_name $process_id" >${directory}/mail/debugged\n`,
    masterCf: "showq unix n - n - - showq -D\n",
  });
  instance.must("postqueue", ["-p"]);
  t.match(readFileSync(join(instance.mail, "debugged"), "latin1"), /^showq \d+\n$/);
});

t.test("IPC-10 process 1 of a container reaps what others leave behind", { ...NEEDS_ROOT }, async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  instance.must("postfix", ["check"]);
  const container = spawn("unshare", ["--pid", "--fork", "--mount-proc", join(LIBEXEC, "master"), "-i"], {
    env: instance.environment,
    stdio: "ignore",
    // a process group of its own: master ends its whole group
    detached: true,
  });
  const inside = (script: string): string =>
    execFileSync("nsenter", ["-t", String(first), "-p", "-m", "sh", "-c", script], { encoding: "latin1" });
  await logged(instance, /daemon started/);
  const first = Number(execFileSync("pgrep", ["-P", String(container.pid)], { encoding: "latin1" }));
  t.teardown(() => {
    if (isAlive(first)) process.kill(first, "SIGKILL");
  });
  inside("(sleep 0.3; true) & exit 0");
  const states = (): string => inside("cat /proc/[0-9]*/stat | cut -d' ' -f2-4");
  await new Promise((resolve) => setTimeout(resolve, 800));
  await until("no zombie", () => !/\) Z 1$/m.test(states()));
  process.kill(first, "SIGTERM");
  await until("the end", () => container.exitCode !== null || container.signalCode !== null);
  t.equal(container.exitCode, 0, "status 0 after SIGTERM");
});

t.test("an option that is not known is named, and how to use the program said", async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  const result = spawnSync(join(LIBEXEC, "master"), ["-Z"], {
    env: instance.environment,
    encoding: "latin1",
  });
  t.equal(result.status, 1);
  t.match(result.stderr, "invalid option -- 'Z'");
});
