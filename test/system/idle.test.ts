/** JS-14: times that no timer of the runtime can hold, and daemons that have nothing to do. */
import { readFileSync } from "node:fs";
import t from "tap";
import { PARAMETERS } from "../../lib/config/parameters.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { allDaemons, queueFiles, runningInstance, troubles, until } from "./support/harness.ts";

t.setTimeout(120_000);

/** User and system time of a process in milliseconds; 0 when it has ended. */
function cpuTime(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10;
  } catch {
    // it ended meanwhile
    return 0;
  }
}

/** Pauses whose length is part of what is waited for here. */
const KEPT =
  /^(?:queue_run_delay|.*queue_lifetime|.*rate_delay|.*pause.*|fork_delay|.*_sleep_time|in_flow_delay|daemon_timeout|.*poll_delay|.*_lock_delay|.*_try_.*|trigger_timeout|.*retry_pause)$/;

for (const length of ["25d", "3650d"])
  t.test(`JS-14 every time limit at ${length}: nothing expires, and idle is idle`, async (t) => {
    const times = Object.entries(PARAMETERS)
      .filter(([name, row]) => row[0] === "time" && !KEPT.test(name))
      .map(([name]) => name);
    t.ok(times.length > 90, `${times.length} parameters`);
    const instance = await runningInstance(t, {
      mainCf: `${times.map((name) => `${name} = ${length}`).join("\n")}
default_transport = discard:far
address_verify_map =
smtpd_recipient_restrictions = check_recipient_access inline:{ { probe.test = reject_unverified_recipient } }, permit
transport_maps = inline:{ { probe.test = discard:probe } }
`,
    });
    t.match(await sendMail(instance.smtpPort, "a@b.test", "x@far.test", "x\r\n"), /^250 /);
    await sendMail(instance.smtpPort, "a@b.test", "x@probe.test", "x\r\n").catch(String);
    await until("an empty queue", () =>
      ["incoming", "active"].every((queue) => queueFiles(instance, queue).length === 0),
    );
    // what has started settles
    await new Promise((resolve) => setTimeout(resolve, 500));
    const before = allDaemons(instance).map(({ pid, command }) => ({ pid, command, used: cpuTime(pid) }));
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const busy = before.flatMap(({ pid, command, used }) => {
      const more = cpuTime(pid) - used;
      return more > 100 ? [`${command} used ${more} ms`] : [];
    });
    t.same(busy, []);
    const gone = before.filter(({ pid }) => !allDaemons(instance).some((entry) => entry.pid === pid));
    t.same(
      gone.map(({ command }) => command),
      [],
      "nobody left before its time",
    );
    t.same(
      troubles(instance).filter((line) => !/smaller than|compatib/.test(line)),
      [],
    );
  });
