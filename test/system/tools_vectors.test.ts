/** postfix, postqueue and the submission of mail on a machine of its own: what a real one said and did (recorded sessions). */
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { isAlive, NEEDS_ROOT, processesOfGroup, ROOT, until } from "./support/harness.ts";
import { Machine, TESTUSER } from "./support/machine.ts";

t.setTimeout(240_000);
// each test needs options of its own: tap keeps its state of a test in them
t.jobs = 3;

interface Case {
  readonly name: string;
  readonly argv: ReadonlyArray<string>;
  readonly user: "root" | "testuser";
  readonly stdin: string;
  readonly rc: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly env?: Readonly<Record<string, string>>;
}
const load = (name: string): ReadonlyMap<string, Case> =>
  new Map(
    (JSON.parse(readFileSync(join(ROOT, "test/vectors/tools", `${name}.json`), "utf8")) as Case[]).map(
      (entry) => [entry.name, entry],
    ),
  );

const MAIN_CF = (directory: string): string => `myhostname = mail.example.com
myorigin = example.com
maillog_file = ${directory}/maillog
maillog_file_prefixes = ${directory}
`;

/** What differs from run to run. */
const settled = (text: string): string =>
  text
    .replace(/PID: \d+/g, "PID: N")
    .replace(/\b[0-9A-F]{10,12}\b/g, "QUEUEID")
    .replace(/\b\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d\b/g, "DATE")
    // a file has a digit more or less for its microseconds
    .replace(/QUEUEID +\d+ DATE/g, "QUEUEID SIZE DATE")
    .replace(/"message_size": \d+/, '"message_size": SIZE')
    .replace(/"arrival_time": \w+/, '"arrival_time": TIME')
    .replace(/maildrop\/\d+\.\d+/g, "maildrop/TEMPORARY");

class Stage {
  readonly machine: Machine;
  readonly #t: Test;
  constructor(t: Test, mainCf = "") {
    this.#t = t;
    this.machine = new Machine(t, { setgid: true });
    this.machine.write("main.cf", this.machine.read("main.cf") + MAIN_CF(this.machine.directory) + mainCf);
    t.teardown(() => {
      const file = join(this.machine.directory, "spool/pid/master.pid");
      const pid = existsSync(file) ? Number(readFileSync(file, "latin1")) : 0;
      if (pid > 1 && isAlive(pid)) for (const child of processesOfGroup(pid)) process.kill(child, "SIGKILL");
    });
  }

  real(text: string): string {
    const { directory, programs } = this.machine;
    return text
      .replaceAll("$command_directory", `${programs}/sbin`)
      .replaceAll("$daemon_directory", `${programs}/libexec`)
      .replaceAll("$queue_directory", `${directory}/spool`)
      .replaceAll("$data_directory", `${directory}/data`)
      .replaceAll("$meta_directory", "/etc/postfix");
  }

  /** Runs a recorded case; `change` is what we do otherwise. */
  async replay(recorded: Case | undefined, change: Partial<Case> = {}): Promise<void> {
    if (recorded === undefined) throw new Error("no such case");
    const expected = { ...recorded, ...change };
    const { status, stdout, stderr } = await this.machine.run(
      expected.argv.map((word) => this.real(word)),
      {
        input: Buffer.from(expected.stdin, "latin1"),
        ...(expected.env === undefined ? {} : { environment: expected.env }),
        ...(expected.user === "testuser" ? { user: TESTUSER.uid } : {}),
      },
    );
    this.#t.same(
      { rc: status, stdout: settled(stdout), stderr: settled(stderr) },
      {
        rc: expected.rc,
        stdout: settled(this.real(expected.stdout)),
        stderr: settled(this.real(expected.stderr)),
      },
      expected.name,
    );
  }

  /** Cases that leave nothing behind, side by side. */
  async replayAll(cases: ReadonlyMap<string, Case>, names: ReadonlyArray<string>): Promise<void> {
    await Promise.all(names.map((name) => this.replay(cases.get(name))));
  }

  async must(...argv: string[]): Promise<void> {
    const { status, stderr } = await this.machine.run(argv);
    if (status !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
  }

  /** Runs work with other lines at the end of main.cf. */
  async with(lines: string, work: () => Promise<void>): Promise<void> {
    const before = this.machine.read("main.cf");
    this.machine.write("main.cf", before + lines);
    await work();
    this.machine.write("main.cf", before);
  }
}

t.test("postqueue", { ...NEEDS_ROOT }, async (t) => {
  const cases = load("postqueue");
  const stage = new Stage(t);
  await stage.must("postfix", "start");
  await stage.replayAll(cases, [...cases.keys()]);
});

t.test("non-bdb: what it sets, and what it refuses", { ...NEEDS_ROOT }, async (t) => {
  const stage = new Stage(t, "default_database_type = lmdb\ndefault_cache_db_type = lmdb\n");
  const { machine } = stage;
  const nonBdb = async (...words: string[]) => {
    const { status, stdout, stderr } = await machine.run(["postfix", "non-bdb", ...words]);
    return { status, stdout, stderr };
  };
  const done = { status: 0, stdout: "", stderr: "" };
  t.same(await nonBdb("enable-redirect"), done);
  t.same(await nonBdb("status"), { ...done, stdout: "enable-redirect\n" });
  t.same(await nonBdb("enable-reindex"), done);
  t.same(await nonBdb("status"), { ...done, stdout: "enable-reindex\n" });
  t.match(machine.read("master.cf"), /^nbdb_reindex +unix +y +n +n +- +1 +nbdb_reindexd$/m);
  t.same(await nonBdb("disable"), done);
  t.notMatch(machine.read("master.cf"), /nbdb_reindex/);
  t.same(await nonBdb("status"), { ...done, stdout: "disable\n" });
  await stage.with("default_cache_db_type = btree\n", async () => {
    const refused = await nonBdb("enable-redirect");
    t.equal(refused.status, 1);
    t.match(
      refused.stderr,
      "postlog: fatal: parameter default_cache_db_type specifies a Berkeley DB type: 'btree'\n",
    );
  });
});

t.test("quick-stop: the next start skips the checks", { ...NEEDS_ROOT }, async (t) => {
  const stage = new Stage(t);
  const spool = join(stage.machine.directory, "spool");
  await stage.must("postfix", "start");
  await stage.must("postfix", "quick-stop");
  t.ok(existsSync(join(spool, "quick-start")));
  // which only the checks would make again
  rmSync(join(spool, "trace"), { recursive: true });
  await stage.must("postfix", "start");
  t.notOk(existsSync(join(spool, "quick-start")));
  t.notOk(existsSync(join(spool, "trace")));
});

t.test("postfix: up, down and damaged", { ...NEEDS_ROOT }, async (t) => {
  const cases = load("postfix-command");
  const stage = new Stage(t);
  const { machine } = stage;
  await stage.must("postfix", "start");
  await stage.replayAll(cases, [
    "nonroot",
    "badopt",
    "relative-c",
    "noargs",
    "unknown",
    "start-running",
    "status-up",
    "check-ok",
    "start-fg-running",
    "logrotate-extra",
    "tls-usage",
    "non-bdb-usage",
    "non-bdb-status",
    "start_msg",
  ]);
  await stage.replay(cases.get("reload"));
  await stage.replay(cases.get("flush"));
  const recorded = cases.get("internal-cmd");
  const { stdout } = await machine.run(recorded?.argv ?? []);
  // the shell's own variables are no concern of ours
  const lines = (text: string): string[] =>
    text.split("\n").filter((line) => !/^(PWD|OLDPWD|SHLVL|TZ|_)=/.test(line));
  const own = (line: string): string => line.replace(/^manpage_directory=.*/, "manpage_directory=");
  t.same(lines(stdout).map(own), lines(stage.real(recorded?.stdout ?? "")).map(own), "internal-cmd");

  const log = join(machine.directory, "maillog");
  await stage.replay(cases.get("logrotate"));
  t.ok(
    readdirSync(machine.directory).some((name) => /^maillog\.\d{8}-\d{6}\.gz$/.test(name)),
    "renamed and compressed",
  );
  await until("a new log", () => existsSync(log));
  await stage.replay(cases.get("stop"));

  await stage.replayAll(cases, [
    "stop-down",
    "abort-down",
    "reload-down",
    "status-down",
    "flush-down",
    "drain-down",
    "down-mailq-root",
    "down-mailq-user",
    "down-j-user",
    "down-f-user",
    "down-f-root",
    "down-i",
    "down-s",
    "down-kick",
  ]);
  for (const name of ["down-sendmail", "down-mailq-2", "down-mailq-3"]) await stage.replay(cases.get(name));

  const masterCf = machine.path("/etc/postfix/master.cf");
  renameSync(masterCf, `${masterCf}.away`);
  await stage.replay(cases.get("check-no-master-cf"));
  await stage.replay(cases.get("start-no-master-cf"));
  renameSync(`${masterCf}.away`, masterCf);
  const text = machine.read("master.cf");
  machine.write("master.cf", text.replace(/^postlog.*\n/m, ""));
  await stage.replay(cases.get("no-postlog-service"));
  machine.write("master.cf", text);
  const program = join(machine.programs, "libexec/master");
  renameSync(program, `${program}.away`);
  await stage.replay(cases.get("no-master"));
  renameSync(`${program}.away`, program);

  rmSync(join(machine.directory, "spool/trace"), { recursive: true });
  await stage.replay(cases.get("check-creates-missing"));
  await stage.replay(cases.get("created-dir"));
  await stage.replay(cases.get("check-clean"));
  const spool = join(machine.directory, "spool");
  damage(machine, spool);
  // there the configuration has a second name; here it does not
  const seen = cases.get("check-warnings");
  const once = (seen?.stderr ?? "")
    .split("\n")
    .filter((line) => !line.includes("$meta_directory"))
    .join("\n");
  await stage.replay(seen, { stderr: once });
  renameSync(spool, `${spool}.away`);
  await stage.replay(cases.get("no-queue-dir"));
  renameSync(`${spool}.away`, spool);
});

/** What the recorded check complained of. */
function damage(machine: Machine, spool: string): void {
  const etc = machine.path("/etc/postfix");
  const chown = (path: string): void => chownSync(path, TESTUSER.uid, 0);
  chown(join(spool, "pid"));
  chmodSync(join(spool, "pid"), 0o777);
  writeFileSync(join(etc, "transport"), "");
  chown(join(etc, "transport"));
  chmodSync(join(etc, "main.cf"), 0o664);
  writeFileSync(join(machine.directory, "data/foo"), "");
  chown(join(machine.directory, "data/foo"));
  chmodSync(join(machine.directory, "data"), 0o777);
  writeFileSync(join(spool, "saved/junk"), "");
  chown(join(spool, "saved/junk"));
  chownSync(join(spool, "public"), statSync(join(spool, "public")).uid, 0);
  chmodSync(join(machine.programs, "sbin/postdrop"), 0o755);
  mkdirSync(join(spool, "etc"));
  writeFileSync(join(spool, "etc/services"), readFileSync("/etc/services"));
  chown(join(spool, "etc/services"));
  writeFileSync(join(spool, "etc/hosts"), "other\n");
  writeFileSync(join(spool, "corrupt/ABC123"), "");
  const { uid } = statSync(join(spool, "corrupt"));
  chownSync(join(spool, "corrupt/ABC123"), uid, 0);
}

t.test("submission: who may, what is too big, and SMTP by -bs", { ...NEEDS_ROOT }, async (t) => {
  const cases = load("submission-errors");
  const stage = new Stage(t);
  const { machine } = stage;
  await stage.must("postfix", "start");
  await stage.with(
    "authorized_submit_users = root\nauthorized_mailq_users = root\nauthorized_flush_users = root\n",
    () =>
      stage.replayAll(cases, [
        "submit-denied",
        "submit-denied-postdrop",
        "bs-denied",
        "mailq-denied",
        "flush-denied",
        "site-denied",
        "id-denied",
      ]),
  );
  const big = `Subject: x\n\n${`${"x".repeat(70)}\n`.repeat(30000)}`;
  await stage.with("message_size_limit = 100000\n", () => stage.replay(cases.get("too-big"), { stdin: big }));
  await stage.with("local_login_sender_maps = inline:{ { testuser = testuser@example.com } }\n", () =>
    stage.replayAll(cases, ["sender-denied", "sender-denied-default", "sender-ok"]),
  );
  await stage.replayAll(cases, ["bs-user", "bs-root"]);
  const postdrop = join(machine.programs, "sbin/postdrop");
  chmodSync(postdrop, 0o755);
  await Promise.all([
    stage.replay(cases.get("no-setgid"), { stdin: "Subject: x\n\nhi\n" }),
    noPostdrop(t, cases.get("no-postdrop")),
  ]);
  const maildrop = join(machine.directory, "spool/maildrop");
  await until("delivery of what was accepted", () => readdirSync(maildrop).length === 0).catch(
    (error: unknown) => {
      const left = readdirSync(maildrop).map(
        (name) => `${name} ${statSync(join(maildrop, name)).mode.toString(8)}`,
      );
      const log = readFileSync(join(machine.directory, "maillog"), "latin1").split("\n").slice(-30);
      throw new Error(`${error instanceof Error ? error.message : error}\n${[...left, ...log].join("\n")}`);
    },
  );
});

async function noPostdrop(t: Test, recorded: Case | undefined): Promise<void> {
  const stage = new Stage(t);
  await stage.must("postfix", "check");
  rmSync(join(stage.machine.programs, "sbin/postdrop"));
  await stage.replay(recorded);
}

t.test("postkick, postlock and postlog", { ...NEEDS_ROOT }, async (t) => {
  const stage = new Stage(t);
  const { machine } = stage;
  const { directory } = machine;
  await stage.must("postfix", "start");
  const kicks = load("postkick");
  await stage.replayAll(kicks, [...kicks.keys()]);

  mkdirSync(join(directory, "lk"));
  const place = (text: string): string =>
    // argv[0] has no directory here, since the shell finds the program
    text.replaceAll("$base", directory);
  for (const recorded of load("postlock").values()) {
    const box = join(directory, "lk/mbox");
    if (recorded.name === "symlink-rootowned") symlinkSync(box, join(directory, "lk/link"));
    if (recorded.name === "hardlink") linkSync(box, join(directory, "lk/second"));
    await stage.replay({
      ...recorded,
      argv: recorded.argv.map(place),
      stdout: place(recorded.stdout),
      stderr: place(recorded.stderr),
    });
  }

  const { cases, logfile } = JSON.parse(
    readFileSync(join(ROOT, "test/vectors/tools/postlog.json"), "utf8"),
  ) as { cases: Case[]; logfile: string[] };
  const log = join(directory, "maillog");
  const already = readFileSync(log, "latin1").split("\n").length - 1;
  for (const recorded of cases) await stage.replay({ ...recorded, user: "testuser" });
  const records = (): string[] =>
    readFileSync(log, "utf8")
      .split("\n")
      .slice(already, -1)
      // Mon dd hh:mm:ss
      .map((line) => line.slice(16).replace(/\[\d+\]/, "[N]"))
      // the recorded length is that of the line with a header of 45 bytes
      .map((line) => line.replace(/x{1000,}/, (run) => `${"x".repeat(15)}...(${45 + run.length} bytes)`));
  await until("all records", () => records().length >= logfile.length);
  t.same(
    records(),
    logfile.map((line) => line.replace(/\[\d+\]/, "[N]")),
  );
});
