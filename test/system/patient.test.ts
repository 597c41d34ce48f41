/** Programs whose work nobody waits for do not take the processor from others, and what they do for users is not among it (docs/daemons.md). */
import { chmodSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { daemons, freePort, logged, NEEDS_ROOT, runningInstance, until } from "./support/harness.ts";

t.setTimeout(120_000);

const SCHED_OTHER = 0;
const SCHED_BATCH = 3;

/** proc_pid_stat(5): the 41st field. */
const policyOf = (stat: string): number => Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[38]);

t.test("postlogd, qmgr and smtp are patient, what a client waits for is not", async (t) => {
  const instance = await runningInstance(t, { mainCf: `relayhost = [127.0.0.1]:${await freePort()}\n` });
  t.match(await sendMail(instance.smtpPort, "a@b.test", "x@far.test", "x\r\n"), /^250 /);
  await logged(instance, /status=deferred/);
  const policies = (name: string): number[] =>
    daemons(instance, name).map((pid) => policyOf(readFileSync(`/proc/${pid}/stat`, "latin1")));
  for (const name of ["postlogd", "qmgr", "smtp"]) t.same(policies(name), [SCHED_BATCH], name);
  for (const name of ["master", "smtpd", "cleanup"]) t.same(policies(name), [SCHED_OTHER], name);
});

t.test("a user's command has the ordinary policy", NEEDS_ROOT, async (t) => {
  const folder = t.testdir();
  const left = join(folder, "stat");
  const instance = await runningInstance(t, {
    mainCf: `mailbox_command_maps =\nmailbox_command = cat >/dev/null; cat /proc/self/stat >${left}\n`,
  });
  chmodSync(folder, 0o777);
  await sendMail(instance.smtpPort, "a@b.test", `${instance.who.recipient}@localhost`, "x\r\n");
  const stat = await until("the command's policy", () =>
    existsSync(left) && readFileSync(left, "latin1").includes(")") ? readFileSync(left, "latin1") : undefined,
  );
  t.equal(policyOf(stat), SCHED_OTHER);
});
