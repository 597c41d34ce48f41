/** The programs that scripts use: postlog, postkick, postlock. Texts, statuses and what is left behind, as a real Postfix has them. */
import { type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { PROGRAMS, runningInstance, until } from "./support/harness.ts";

t.setTimeout(240_000);

const SBIN = join(PROGRAMS.multicall, "sbin");
const POSTLOCK = join(SBIN, "postlock");
const errors = (result: SpawnSyncReturns<Buffer>): string => result.stderr.toString("latin1");
const seconds = (work: () => void): number => {
  const start = performance.now();
  work();
  return (performance.now() - start) / 1000;
};

t.test("postlog", async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  const logged = (): string[] =>
    instance
      .maillog()
      .split("\n")
      .filter((line) => line !== "")
      // Mon dd hh:mm:ss host
      .map((line) => line.replace(/^\w{3} \d\d \d\d:\d\d:\d\d mail /, "").replace(/\[\d+\]: /, ": "));
  const run = (args: string[], input = "") => instance.run("postlog", args, input);

  // nobody listens: it writes the file itself
  t.equal(run(["one", "two"]).status, 0);
  t.equal(
    errors(run(["-p", "Warn", "-t", "my\ttag", "text\twith\ncontrols"])),
    "postlog: warning: text?with?controls\n",
  );
  t.equal(run(["-i", "-t", ""], "a\n\nb\r\nlast").status, 0);
  t.same(logged(), [
    "postfix/postlog: one two",
    "my?tag: warning: text?with?controls",
    ...["a", "", "b?", "last"].map((text) => `: ${text}`),
  ]);
  for (const [priority, word] of [
    ["info", ""],
    ["warning", "warning: "],
    ["err", "error: "],
    ["ERROR", "error: "],
  ] as const)
    t.equal(errors(run(["-p", priority, "x"])), `postlog: ${word}x\n`);
  for (const [priority, word] of [
    ["fatal", "fatal"],
    ["crit", "fatal"],
    ["panic", "panic"],
  ] as const) {
    const taken = seconds(() => {
      const result = run(["-p", priority, "x"]);
      t.equal(result.status, 0, `${priority} is somebody else's end`);
      t.equal(errors(result), `postlog: ${word}: x\n`);
    });
    t.ok(taken >= 1, "and takes a second");
  }
  t.equal(
    errors(run(["-p", "error"], "e\n".repeat(20))),
    "postlog: error: e\n".repeat(20),
    "many errors do not end it",
  );
  t.equal(errors(run(["-p", "bogus", "x"])), 'postlog: fatal: bad severity: "bogus"\n');
  const usage = "postlog: fatal: usage: postlog [-c config_dir] [-i] [-p priority] [-t tag] [-v] [text]\n";
  t.equal(errors(run(["-Z"])), `postlog: invalid option -- 'Z'\n${usage}`);
  t.equal(errors(run(["-p"])), `postlog: option requires an argument -- 'p'\n${usage}`);
  const long = run([], `${"x".repeat(200_000)}\nnext\n`);
  t.match(errors(long), /x\npostlog: next\n$/, "a line of any length is one record");

  instance.start();
  run(["by postlogd"]);
  await until("the record", () => logged().includes("postfix/postlog: by postlogd"));
});

t.test("postkick", async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  instance.must("postfix", ["check"]);
  const kick = (...args: string[]) => instance.run("postkick", args);
  const down = (name: string): string =>
    `postkick: warning: Cannot contact class public service ${name} - perhaps the mail system is down\n`;
  const refused = (name: string, text: string): void => {
    const result = kick("public", name, "W");
    t.equal(result.status, 1, name);
    t.equal(errors(result), text + down(name));
  };
  refused("nosuch", "postkick: warning: unable to look up public/nosuch: No such file or directory\n");
  writeFileSync(join(instance.queue, "public/plain"), "");
  refused("plain", "postkick: warning: public/plain is not a socket or a fifo\n");
  spawnSync("mkfifo", [join(instance.queue, "public/unread")]);
  refused("unread", "");
  const usage = "postkick: fatal: usage: postkick [-c config_dir] [-v] class service request\n";
  t.equal(errors(kick("public", "pickup")), usage);
  t.equal(errors(kick("public", "pickup", "W", "more")), usage);
  t.equal(errors(kick("-Z", "a", "b", "c")), `postkick: invalid option -- 'Z'\n${usage}`);

  // a service takes the request and a NUL, and closes when it is done
  let received = "";
  const server = createServer((socket) => {
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1");
      setTimeout(() => socket.end(), 300);
    });
  });
  await new Promise<void>((resolve) => server.listen(join(instance.queue, "public/mine"), () => resolve()));
  const start = performance.now();
  const child = spawn(instance.program("postkick"), ["public", "mine", "FADI"], {
    env: instance.environment,
  });
  t.equal(await new Promise((resolve) => child.on("close", resolve)), 0);
  t.equal(received, "FADI\0");
  t.ok(performance.now() - start >= 300, "it waits for the close");
  server.close();
  t.equal(instance.maillog().includes("postkick"), false, "it does not log");
  instance.start();
  t.equal(kick("public", "pickup", "W").status, 0);
  t.equal(kick("public", "qmgr", "W").status, 0);
});

t.test("postlock", async (t) => {
  const instance: Instance = await runningInstance(t, {
    stopped: true,
    mainCf: "deliver_lock_attempts = 3\ndeliver_lock_delay = 1s\nstale_lock_time = 500s\n",
  });
  const folder = join(instance.directory, "work");
  mkdirSync(folder);
  const box = join(folder, "box");
  const run = (args: string[], program = POSTLOCK) =>
    spawnSync(program, args, { env: { ...instance.environment }, cwd: folder, timeout: 60_000 });
  const script = (name: string, text: string, mode = 0o755): string => {
    writeFileSync(join(folder, name), text);
    chmodSync(join(folder, name), mode);
    return `./${name}`;
  };
  const fatal = (text: string): string => `${POSTLOCK}: fatal: ${text}\n`;

  const usage = fatal(`usage: ${POSTLOCK} [-c config_dir] [-l lock_style] [-v] folder command...`);
  let taken = seconds(() => {
    const result = run([]);
    t.equal(result.status, 75);
    t.equal(errors(result), usage);
  });
  t.ok(taken < 0.9, "without the second of other programs");
  t.equal(errors(run(["-Z", box, "true"])), `${POSTLOCK}: invalid option -- 'Z'\n${usage}`);
  const bogus = run(["-l", "fcntl bogus", box, "true"]);
  t.equal(bogus.status, 75);
  t.equal(errors(bogus), fatal('unknown mailbox_delivery_lock value "bogus" in "fcntl bogus"'));

  t.equal(run([box, "sh", "-c", "ls; exit 7"]).status, 7, "the command's status");
  t.equal(run([box, "ls"]).stdout.toString(), "box\nbox.lock\n", "the dot lock is there meanwhile");
  t.equal(run(["-l", "flock", box, "ls"]).stdout.toString(), "box\n", "and only when wanted");
  t.equal(run([box, "sh", "-c", "kill -9 $$"]).status, 1, "1 for a signal");
  for (const [name, reason] of [
    ["nosuchcommand", "No such file or directory"],
    [script("text", "x\n", 0o644), "Permission denied"],
  ] as const) {
    taken = seconds(() => {
      const result = run([box, name]);
      t.equal(result.status, 1, `${name} cannot be executed`);
      t.equal(errors(result), fatal(`execvp ${name}: ${reason}`));
    });
    t.ok(taken >= 1);
    t.notOk(existsSync(`${box}.lock`), "and leaves no lock");
  }
  t.equal(run([box, script("noshebang", "echo a script $1\n"), "x"]).stdout.toString(), "a script x\n");

  linkSync(box, join(folder, "second"));
  t.equal(errors(run([box, "true"])), fatal(`open file ${box}: file has 2 hard links`));
  spawnSync("rm", [join(folder, "second")]);
  t.equal(errors(run([folder, "true"])), fatal(`open file ${folder}: cannot open file: Is a directory`));
  t.equal(
    errors(run(["/nonexistent/box", "true"])),
    fatal(
      "open file /nonexistent/box: unable to create lock file /nonexistent/box.lock: No such file or directory",
    ),
  );
  mkdirSync(join(folder, "open"));
  chmodSync(join(folder, "open"), 0o777);
  symlinkSync(box, join(folder, "open/link"));
  t.equal(
    errors(run(["-l", "fcntl", join(folder, "open/link"), "true"])),
    fatal(`open file ${join(folder, "open/link")}: file is a symbolic link`),
  );

  writeFileSync(`${box}.lock`, "");
  taken = seconds(() => {
    const result = run([box, "true"]);
    t.equal(result.status, 75);
    t.equal(errors(result), fatal(`open file ${box}: unable to create lock file ${box}.lock: File exists`));
  });
  t.ok(taken >= 1.4 && taken < 4, `three attempts with two pauses of a second: ${taken}`);
  spawnSync("rm", [`${box}.lock`]);
  const holder = spawn("flock", [box, "sleep", "30"], { stdio: "ignore", detached: true });
  t.teardown(() => {
    if (holder.pid !== undefined) process.kill(-holder.pid, "SIGKILL");
  });
  await until(
    "the lock of another",
    () => run(["-l", "fcntl", box, "flock", "-n", box, "true"]).status !== 0,
  );
  t.equal(
    errors(run(["-l", "flock, dotlock", box, "true"])),
    fatal(`open file ${box}: unable to lock for exclusive access: Resource temporarily unavailable`),
  );
  t.notOk(existsSync(`${box}.lock`), "the dot lock that was taken first is gone again");
  const marker = openSync(join(folder, "done"), "w");
  closeSync(marker);
  utimesSync(join(folder, "done"), 0, 0);
  t.equal(run(["-l", "fcntl", box, "true"]).status, 0, "fcntl locks are another thing");
  t.equal(readFileSync(box, "latin1"), "", "the folder is as it was");
});
