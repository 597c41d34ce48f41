/**
 * The cage of each daemon (docs/security.md): what it must deny is tried from inside, by executables of the test build; and the
 * ordinary executables' threads are looked at from outside.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { PROGRAMS as EXECUTABLES } from "../../packaging/programs.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import {
  allDaemons,
  logged,
  masterPid,
  NEEDS_ROOT,
  PROGRAMS,
  ROOT,
  runningInstance,
  until,
} from "../system/support/harness.ts";
import { CountingSink } from "../system/support/load.ts";

interface Row {
  readonly daemon: string;
  readonly root: boolean;
  readonly writes: boolean;
  readonly internet: boolean;
  readonly actsAsUsers: boolean;
  readonly executes: boolean;
}

/** The table of docs/security.md. */
const ROWS: ReadonlyArray<Row> = [
  ...readFileSync(join(ROOT, "docs/security.md"), "utf8").matchAll(
    /^\| ([a-z_-]+) \| (root|mail_owner) \| (read|write) \| (yes|no) \| (yes|no) \| (yes|no) \|$/gm,
  ),
].map(([, daemon = "", user, files, internet, acts, executes]) => ({
  daemon,
  root: user === "root",
  writes: files === "write",
  internet: internet === "yes",
  actsAsUsers: acts === "yes",
  executes: executes === "yes",
}));

/** The wrapper only lives with the daemons: postfix(1) runs it as a command. */
const DAEMONS = EXECUTABLES.filter(
  ({ directory, name }) => directory === "libexec" && name !== "postfix-wrapper",
).map(({ name }) => name);
const PROBE = join(ROOT, "dist-probe");
const MACHINE = process.arch === "x64" || process.arch === "arm64";
const skip = MACHINE ? NEEDS_ROOT : { skip: "no filters for this machine" };

/** Has every daemon at work. */
async function everyDaemon(t: Test, programs: string, masterCf = ""): Promise<Instance> {
  const sink = new CountingSink();
  const port = await sink.listen();
  t.teardown(() => sink.close());
  const instance = await runningInstance(t, {
    programs,
    mainCf: (directory) => `
relayhost = [127.0.0.1]:${port}
smtp_connection_cache_destinations = 127.0.0.1
smtp_client_limit = 1
smtpd_recipient_restrictions = warn_if_reject reject_unverified_recipient
address_verify_poll_count = 1
smtpd_client_event_limit_exceptions =
smtpd_client_connection_rate_limit = 1000
proxy_read_maps = proxy:unix:passwd.byname proxy:texthash:${directory}/config/aliases
alias_maps =
transport_maps = inline:{ { trash.test = discard:x } { broken.test = error:5.2.1 broken } { pipe.test = pipe: } }
relay_domains = trash.test, broken.test, pipe.test, elsewhere.test
fast_flush_domains = elsewhere.test
virtual_mailbox_domains = vbox.test
virtual_mailbox_base = ${directory}/mail
virtual_mailbox_maps = inline:{ { you@vbox.test = vbox } }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
canonical_maps = proxy:texthash:${directory}/config/aliases
`,
    masterCf: (directory) =>
      `pipe unix - n n - - pipe user=nobody argv=/bin/true\nspawned unix - n n - - spawn user=nobody argv=/bin/cat\nnbdb_reindex unix y n n - 1 nbdb_reindexd\n${masterCf.replaceAll("DIRECTORY", directory)}`,
    stopped: true,
  });
  writeFileSync(join(instance.config, "aliases"), "nothing: nothing\n");
  instance.start();
  for (const to of ["nobody@localhost", "you@vbox.test", "a@trash.test", "a@far.test"])
    await sendMail(instance.smtpPort, "a@example.org", to, "Subject: x\r\n\r\nx\r\n");
  instance.must("sendmail", ["-f", "nobody@localhost", "a@broken.test", "a@pipe.test"], "Subject: x\n\nx\n");
  instance.must("mailq");
  instance.must("postqueue", ["-s", "elsewhere.test"]);
  for (const service of ["spawned", "nbdb_reindex"]) {
    const socket = connect(join(instance.queue, "private", service));
    t.teardown(() => socket.destroy());
  }
  for (const { daemon } of ROWS)
    await until(`${daemon} to run`, () => allDaemons(instance).some(({ command }) => command === daemon));
  return instance;
}

t.same(
  ROWS.map(({ daemon }) => daemon).sort(),
  DAEMONS.filter((name) => name !== "master").sort(),
  "docs/security.md has every daemon",
);

t.test("what each daemon's sandbox denies, tried from inside", skip, async (t) => {
  const instance = await everyDaemon(t, PROBE);
  for (const row of ROWS) {
    const [, text = "{}"] = await logged(
      instance,
      new RegExp(`postfix/${row.daemon}\\[\\d+\\]: sandbox probe: (.*)\\n`),
    );
    const outcome = new Map<string, string>(Object.entries(JSON.parse(text)));
    const denied = [...outcome].filter(([, result]) => result === "EPERM").map(([name]) => name);
    t.same(denied.sort(), expectedDenials(row).sort(), row.daemon);
    t.equal(outcome.get("unix socket"), "done");
    if (!row.executes) t.equal(outcome.get("vfork by clone3"), "ENOSYS");
    if (!row.root) t.equal(outcome.get("read a file of root"), "EACCES");
  }
});

const NEVER = [
  "ptrace",
  "read another process's memory",
  "mount",
  "bpf",
  "io_uring",
  "userfaultfd",
  "perf_event_open",
  "keyctl",
  "make a device",
  "take another process's descriptor",
  "enter a namespace",
];
const NOT_WITHOUT_COMMANDS = [
  ...["execve", "execveat", "fork", "signal another process", "chroot", "unshare", "memfd_create"],
  ...["prctl other than names", "ioctl other than sizes", "netlink socket", "packet socket"],
  ...["have the kernel signal another process", "make a set-uid file", "make a file set-uid"],
];
const WRITING = ["make a file", "remove a file", "rename a file"];
const ACTING = ["setuid(0)", "setresuid(0)", "change an owner"];
const INTERNET = ["IPv4 socket", "IPv6 socket"];

function expectedDenials(row: Row): string[] {
  if (row.executes) return NEVER;
  return [
    ...NEVER,
    ...NOT_WITHOUT_COMMANDS,
    ...(row.writes ? [] : WRITING),
    ...(row.actsAsUsers ? [] : ACTING),
    ...(row.internet ? [] : INTERNET),
  ];
}

/** Status of each thread of a process. */
const threads = (pid: number): ReadonlyMap<string, string>[] =>
  readdirSync(`/proc/${pid}/task`).map(
    (thread) =>
      new Map(
        readFileSync(`/proc/${pid}/task/${thread}/status`, "latin1")
          .split("\n")
          .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]),
      ),
  );

t.test("the ordinary daemons from outside", skip, async (t) => {
  const instance = await everyDaemon(t, PROGRAMS.multicall);
  t.notMatch(instance.maillog(), /sandbox/);
  t.notOk(
    readFileSync(join(PROGRAMS.multicall, "libexec/smtpd")).includes("sandbox probe"),
    "the ordinary build has no probe",
  );
  const running = allDaemons(instance);
  for (const row of ROWS) {
    const found = running.find(({ command }) => command === row.daemon);
    if (found === undefined) {
      t.fail(`${row.daemon} does not run`);
      continue;
    }
    const all = threads(found.pid);
    t.ok(all.length > 1, "it has threads");
    t.same(
      [...new Set(all.map((thread) => thread.get("Seccomp")))],
      ["2"],
      `${row.daemon}: every thread has the filter`,
    );
    t.same(
      [...new Set(all.map((thread) => thread.get("NoNewPrivs")))],
      [row.executes ? "0" : "1"],
      `${row.daemon}: no_new_privs`,
    );
    const [main] = all;
    if (!row.root) {
      t.match(main?.get("Uid"), /^(?!0\t)(\d+)\t\1\t\1\t\1$/, `${row.daemon}: user`);
      t.equal(main?.get("CapEff"), "0000000000000000", `${row.daemon}: capabilities`);
      t.equal(main?.get("CapPrm"), "0000000000000000");
    }
    // files of a process that may not be dumped belong to root
    t.equal(statSync(`/proc/${found.pid}/environ`).uid, 0, `${row.daemon}: not dumpable`);
    t.match(readFileSync(`/proc/${found.pid}/limits`, "latin1"), /^Max core file size +0 +0 /m);
  }
});

t.test("sandbox = off, warn, nonsense, for one service each", skip, async (t) => {
  const instance = await runningInstance(t, {
    masterCf: `rewrite unix - - n - - trivial-rewrite -o sandbox=off
cleanup unix n - n - 0 cleanup -o sandbox=warn
showq unix n - n - - showq -o sandbox=nonsense
`,
  });
  await sendMail(instance.smtpPort, "a@example.org", "nobody@localhost", "Subject: x\r\n\r\nx\r\n");
  const mode = (name: string): ReadonlyArray<string | undefined> => {
    const found = allDaemons(instance).find(({ command }) => command === name);
    const [main] = threads(found?.pid ?? masterPid(instance));
    return [main?.get("Seccomp"), main?.get("NoNewPrivs")];
  };
  t.same(mode("trivial-rewrite"), ["0", "0"]);
  t.same(mode("cleanup"), ["2", "1"]);
  t.same(mode("smtpd"), ["2", "1"]);
  const asking = connect(join(instance.queue, "public/showq"));
  t.teardown(() => asking.destroy());
  await logged(instance, /postfix\/showq\[\d+\]: fatal: bad string value: sandbox = nonsense/);
});

t.test("a table on a server lets its daemon reach the server", skip, async (t) => {
  const asked: string[] = [];
  const server = createServer((socket) =>
    socket.on("data", (chunk) => {
      asked.push(chunk.toString("latin1"));
      socket.write("200 nobody@localhost\n");
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  t.teardown(() => server.close());
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const instance = await runningInstance(t, {
    mainCf: `virtual_alias_domains = v.test\nvirtual_alias_maps = tcp:127.0.0.1:${port}\n`,
  });
  await sendMail(instance.smtpPort, "a@example.org", "x@v.test", "Subject: through a server\r\n\r\nx\r\n");
  await until("delivery", () => {
    const mailbox = join(instance.mail, "nobody");
    return existsSync(mailbox) && readFileSync(mailbox, "latin1").includes("through a server");
  });
  t.ok(asked.includes("get x@v.test\n"));
});

t.test("a kernel without filters: one warning of each process, and the rest holds", skip, async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  const bun = join(ROOT, "node_modules/bun/bin/bun.exe");
  const script = join(ROOT, "test/security/support/without_filters.ts");
  const { status, stderr } = spawnSync(bun, [script, instance.program("postfix"), "start"], {
    env: instance.environment,
    encoding: "latin1",
  });
  t.equal(status, 0, stderr);
  await sendMail(instance.smtpPort, "a@example.org", "nobody@localhost", "Subject: x\r\n\r\nx\r\n");
  await logged(instance, /to=<nobody@localhost>, .*status=sent/);
  const lines = instance
    .maillog()
    .split("\n")
    .filter((line) => line.includes("sandbox"));
  for (const name of ["smtpd", "cleanup", "qmgr", "trivial-rewrite"]) {
    const [found] = allDaemons(instance).filter(({ command }) => command === name);
    const said = lines.filter((line) => line.includes(`[${found?.pid}]`));
    t.match(
      said.join("\n"),
      /^\S+ +\d+ \S+ \S+ \S+: warning: sandbox: no filter of system calls on this kernel$/,
    );
    const [main] = threads(found?.pid ?? 0);
    t.equal(main?.get("NoNewPrivs"), "1", name);
    t.match(main?.get("Uid"), /^(?!0\t)/, name);
    t.match(readFileSync(`/proc/${found?.pid}/limits`, "latin1"), /^Max core file size +0 +0 /m);
    t.equal(statSync(`/proc/${found?.pid}/environ`).uid, 0, `${name}: not dumpable`);
  }
});
