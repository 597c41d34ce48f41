import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const bun = join(root, "node_modules/bun/bin/bun.exe");
const runner = join(root, "test/unit/postfix/run.ts");
const isRoot = process.getuid?.() === 0;
/** root needs another mail owner; everybody else owns the instance. */
const owner = isRoot ? "daemon" : userInfo().username;

const instance = (): string => {
  const home = mkdtempSync(join(tmpdir(), "postfix-test-"));
  chmodSync(home, 0o755);
  for (const name of ["etc", "spool", "data", "sbin", "libexec"])
    mkdirSync(join(home, name), { mode: 0o755 });
  for (const name of ["sbin/postconf", "sbin/postsuper", "sbin/postqueue", "libexec/master"]) {
    writeFileSync(join(home, name), `#!/bin/sh\necho "${name} $*" >> ${home}/calls\n`);
    chmodSync(join(home, name), 0o755);
  }
  const settings = {
    compatibility_level: "3.11",
    queue_directory: `${home}/spool`,
    command_directory: `${home}/sbin`,
    daemon_directory: `${home}/libexec`,
    data_directory: `${home}/data`,
    meta_directory: `${home}/etc`,
    mail_owner: owner,
    setgid_group: "tty",
    inet_interfaces: "127.0.0.1",
    maillog_file: `${home}/log`,
    maillog_file_prefixes: tmpdir(),
  };
  const write = (name: string, text: string): void => {
    writeFileSync(join(home, name), text, { mode: 0o644 });
    utimesSync(join(home, name), 1_700_000_000, 1_700_000_000);
  };
  write(
    "etc/main.cf",
    Object.entries(settings)
      .map(([name, value]) => `${name} = ${value}\n`)
      .join(""),
  );
  write("etc/master.cf", "postlog unix-dgram n - n - 1 postlogd\n");
  if (isRoot) chownSync(join(home, "data"), 1, 1);
  return home;
};

function run(home: string, ...args: string[]): { rc: number | null; stdout: string; stderr: string } {
  const env = { PATH: process.env.PATH, HOME: home };
  const child = spawnSync(bun, ["run", runner, "-c", `${home}/etc`, ...args], { encoding: "utf8", env });
  return { rc: child.status, stdout: child.stdout, stderr: child.stderr };
}

const calls = (home: string): string[] => readFileSync(join(home, "calls"), "utf8").trimEnd().split("\n");
const says = (rc: number, stderr: string, stdout = "") => ({ rc, stdout, stderr });

t.test("commands of an instance that does not run", { timeout: 120_000 }, async (t) => {
  const home = instance();
  t.teardown(() => rmSync(home, { recursive: true }));
  const usage =
    "Usage: postfix start (or stop, reload, abort, flush, check, status, set-permissions, upgrade-configuration, logrotate, tls, non-bdb)";
  const down = "postlog: fatal: the Postfix mail system is not running\n";
  t.same(run(home), says(1, `postlog: fatal: unknown command: ''. ${usage}\n`));
  t.same(run(home, "bogus"), says(1, `postlog: fatal: unknown command: 'bogus'. ${usage}\n`));
  for (const command of ["stop", "abort", "drain", "reload"])
    t.same(run(home, command), says(1, down), command);
  t.same(run(home, "status"), says(1, "postlog: the Postfix mail system is not running\n"));
  t.same(run(home, "start_msg"), says(0, "", "Start postfix\n"));
  t.same(run(home, "non-bdb", "status"), says(0, "", "disable\n"));
  t.same(run(home, "logrotate", "x"), says(1, "postlog: fatal: usage postfix logrotate (no arguments)\n"));
  const { stdout } = run(home, "/bin/sh", "-c", "pwd; env");
  const lines = stdout.split("\n");
  t.equal(lines[0], `${home}/spool`);
  t.notOk(lines.some((line) => line.startsWith("HOME=")));
  for (const line of [
    "LANG=C",
    "PATH=/bin:/usr/bin:/sbin:/usr/sbin",
    `MAIL_CONFIG=${home}/etc`,
    `mail_owner=${owner}`,
    "MAIL_LOGTAG=postfix",
  ])
    t.ok(lines.includes(line), line);
});

t.test("check and start make what is missing", { timeout: 120_000 }, async (t) => {
  const home = instance();
  t.teardown(() => rmSync(home, { recursive: true }));
  const { rc } = run(home, "check");
  t.equal(rc, 0);
  t.same(
    readdirSync(join(home, "spool")).sort(),
    "active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved spare tlstrace trace".split(
      " ",
    ),
  );
  const mode = (name: string): number => statSync(join(home, "spool", name)).mode & 0o7777;
  t.equal(mode("active"), 0o700);
  t.equal(mode("maildrop"), 0o730);
  t.equal(mode("public"), 0o710);
  t.equal(mode("pid"), 0o755);
  if (isRoot) t.equal(statSync(join(home, "spool/active")).uid, 1);

  rmSync(join(home, "calls"));
  t.equal(run(home, "start").rc, 0);
  t.same(calls(home), ["sbin/postconf ", "sbin/postsuper ", "libexec/master -w"]);
  writeFileSync(join(home, "spool/quick-start"), "");
  rmSync(join(home, "calls"));
  t.equal(run(home, "start").rc, 0);
  t.same(calls(home), ["libexec/master -w"]);
  t.match(run(home, "start-fg").stderr, "postlog: starting the Postfix mail system\n");
  t.equal(calls(home).at(-1), "libexec/master -s");
});

t.test("what is wrong with an instance", { timeout: 120_000 }, async (t) => {
  const home = instance();
  t.teardown(() => rmSync(home, { recursive: true }));
  run(home, "check");
  writeFileSync(join(home, "spool/corrupt/ABC123"), "");
  if (isRoot) chownSync(join(home, "spool/corrupt/ABC123"), 1, 1);
  chmodSync(join(home, "spool/pid"), 0o777);
  chmodSync(join(home, "etc/main.cf"), 0o664);
  const { rc, stderr } = run(home, "check");
  t.equal(rc, 0);
  for (const text of [
    `group or other writable: ${home}/spool/pid`,
    `group or other writable: ${home}/etc/./main.cf`,
    "damaged message: corrupt/ABC123",
  ])
    t.ok(stderr.includes(`postlog: warning: ${text}\n`), text);

  writeFileSync(join(home, "etc/master.cf"), "smtp inet n - n - - smtpd\n");
  utimesSync(join(home, "etc/master.cf"), 1_700_000_000, 1_700_000_000);
  t.same(
    run(home, "start"),
    says(
      1,
      "postlog: fatal: missing 'postlog' service in master.cf - run 'postfix upgrade-configuration'\n" +
        "postlog: fatal: Postfix integrity check failed!\n",
    ),
  );
  const upgrade = run(home, "upgrade-configuration");
  t.match(
    upgrade.stdout,
    `Editing ${home}/etc/master.cf, adding missing entry for postlog unix-domain datagram service\n`,
  );
  t.match(
    readFileSync(join(home, "etc/master.cf"), "latin1"),
    /^proxywrite unix - {7}- {7}n {7}- {7}1 {7}proxymap$/m,
  );
  rmSync(join(home, "etc/master.cf"));
  t.match(run(home, "check").stderr, `postlog: fatal: no ${home}/etc/master.cf file found\n`);
  rmSync(join(home, "libexec/master"));
  t.same(run(home, "start"), says(1, `postlog: fatal: no Postfix master program ${home}/libexec/master!\n`));
  t.same(
    run(home, "set-permissions", "queue_directory=x"),
    says(1, `postlog: fatal: no Postfix master program ${home}/libexec/master!\n`),
  );
});

t.test("who may run it", { skip: isRoot ? false : "needs root", timeout: 60_000 }, async (t) => {
  const home = instance();
  chownSync(home, 1, 1);
  t.teardown(() => rmSync(home, { recursive: true }));
  const as = (uid: number, ...args: string[]) => {
    const child = spawnSync(bun, ["run", runner, ...args], {
      encoding: "utf8",
      uid,
      gid: uid,
      env: { PATH: "/usr/bin:/bin", HOME: home },
    });
    return { rc: child.status, stderr: child.stderr };
  };
  const refused = {
    rc: 1,
    stderr:
      "postfix: error: to submit mail, use the Postfix sendmail command\npostfix: fatal: the postfix command is reserved for the superuser\n",
  };
  t.same(as(65534, "-c", `${home}/etc`, "status"), refused);
  t.same(as(1, "-c", `${home}/etc`, "status"), refused, "the queue of the whole system is root's");
  chownSync(join(home, "spool"), 1, 1);
  t.same(as(1, "-c", `${home}/etc`, "status").rc, 1);
  t.match(as(1, "-c", `${home}/etc`, "status").stderr, "the Postfix mail system is not running");
});
