/** The mail system of an ordinary user: no root, no other user's id, nothing of the machine touched. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { freePort, NEEDS_ROOT, PROGRAMS, ROOT } from "../system/support/harness.ts";
import { USER } from "./support/ordinary_user.ts";

t.test("start, deliver, mailq, stop", NEEDS_ROOT, async (t) => {
  const home = mkdtempSync(join(tmpdir(), "posthaste-user-"));
  execFileSync("chown", [USER, home]);
  t.teardown(() => rmSync(home, { recursive: true, force: true }));
  const identity = [`--reuid=${USER}`, `--regid=${USER}`, "--clear-groups"];
  const environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", `HOME=${home}`, `TMPDIR=${home}`];
  const script = join(ROOT, "test/security/support/unprivileged_life.ts");
  const life = [
    process.execPath,
    "--import=tsx",
    script,
    join(home, "mail"),
    PROGRAMS.multicall,
    String(await freePort()),
  ];
  const { status, stdout, stderr } = spawnSync("setpriv", [...identity, ...environment, ...life], {
    cwd: ROOT,
    encoding: "latin1",
    timeout: 60_000,
  });
  t.equal(status, 0, stderr);
  t.match(stdout, /250 2\.0\.0 Ok: queued as [0-9A-F]+\r\n221 2\.0\.0 Bye/);
  for (const subject of ["by SMTP", "by sendmail", "by -bs"]) t.match(stdout, `\nSubject: ${subject}\n`);
  t.match(stdout, /\nMail queue is empty\n/);
  t.match(stdout, /\nstatus 0\nstatus 1\n/);
  t.notMatch(stdout, /\]: (?:warning|error|fatal|panic): /, "nothing went wrong");
});
