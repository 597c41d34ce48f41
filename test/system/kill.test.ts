/** Daemons die by SIGKILL in the middle of their work, twenty times each: whatever was acknowledged arrives. */
import t from "tap";
import { CountingSink, submitLoad } from "./support/load.ts";
import { daemons, isAlive, queueFiles, runningInstance, until } from "./support/harness.ts";

const VICTIMS = ["smtpd", "cleanup", "trivial-rewrite", "qmgr", "smtp", "bounce", "postlogd"] as const;
const KILLS = 20;
const MESSAGES = 400;

for (const victim of VICTIMS)
  t.test(`no mail is lost when ${victim} is killed ${KILLS} times`, async (t) => {
    const sink = new CountingSink();
    const port = await sink.listen();
    t.teardown(() => sink.close());
    const instance = await runningInstance(t, {
      mainCf: `
relayhost = [127.0.0.1]:${port}
service_throttle_time = 1s
transport_retry_time = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
ipc_timeout = 20s
`,
    });
    let kills = 0;
    let loading = true;
    const killer = (async () => {
      while (kills < KILLS && (loading || kills === 0 || victim !== "smtpd")) {
        const [pid] = daemons(instance, victim);
        if (pid !== undefined && isAlive(pid)) {
          process.kill(pid, "SIGKILL");
          kills++;
        } else if (!loading && queueFiles(instance, "active").length + queueFiles(instance, "deferred").length === 0) break;
        await new Promise((resolve) => setTimeout(resolve, 60));
      }
    })();
    let accepted = new Set<string>();
    let failures = 0;
    // bounce works for mail that fails: a part of the load goes to a destination that cannot be reached
    const deferred = victim === "bounce";
    do {
      const result = await submitLoad({
        port: instance.smtpPort,
        messages: MESSAGES,
        sessions: 10,
        size: 4096,
        from: "sender@example.org",
        to: (index) => `user${index % 10}@elsewhere.test`,
        perConnection: 5,
        failureLimit: 5000,
      });
      failures += result.failures;
      accepted = new Set([...accepted, ...[...result.accepted].map((id) => id)]);
    } while (kills < KILLS && deferred === false && victim === "smtpd");
    loading = false;
    await killer;
    await until("everything accepted to arrive", () => [...accepted].every((id) => sink.arrivals.has(id)), 180);
    t.ok(kills > 0, `${victim} was killed ${kills} times`);
    const lost = [...accepted].filter((id) => !sink.arrivals.has(id));
    t.same(lost, [], "nothing acknowledged was lost");
    t.comment(`${victim}: ${kills} kills, ${accepted.size} accepted, ${failures} refused or broken, ${sink.duplicates} duplicates`);
    await until("an empty queue", () => ["active", "deferred"].every((queue) => queueFiles(instance, queue).length === 0), 120);
  });
