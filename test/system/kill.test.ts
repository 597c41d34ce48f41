/** Daemons die by SIGKILL in the middle of their work, twenty times each: whatever was acknowledged arrives. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { CountingSink, submitLoad } from "./support/load.ts";
import { daemons, queueFiles, runningInstance, until } from "./support/harness.ts";

const VICTIMS = ["smtpd", "cleanup", "trivial-rewrite", "qmgr", "smtp", "bounce", "postlogd"] as const;
const KILLS = 20;
const MESSAGES = 400;

const mainCf = (instance: Instance): string => readFileSync(join(instance.config, "main.cf"), "latin1");

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
transport_maps = inline:{ { dead.test = smtp:[127.0.0.1]:1 } }
`,
    });
    const accepted = new Set<string>();
    let failures = 0;
    let kills = 0;
    let loading = true;
    const killer = (async () => {
      while (loading) {
        const [pid] = daemons(instance, victim);
        if (pid !== undefined && kills < KILLS) {
          process.kill(pid, "SIGKILL");
          kills++;
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    })();
    for (let round = 0; kills < KILLS; round++) {
      const result = await submitLoad({
        port: instance.smtpPort,
        messages: MESSAGES,
        sessions: 10,
        size: 4096,
        from: "sender@example.org",
        to: (index) => `user${index % 10}@${victim === "bounce" && index % 2 === 0 ? "dead" : "elsewhere"}.test`,
        perConnection: 5,
        failureLimit: 5000,
        prefix: `r${round}.`,
      });
      failures += result.failures;
      for (const id of result.accepted) accepted.add(id);
    }
    loading = false;
    await killer;
    // with the dead destination back, what was deferred goes out as well
    writeFileSync(join(instance.config, "main.cf"), mainCf(instance).replace(/^transport_maps.*$/m, ""));
    instance.must("postfix", ["reload"]);
    await until("everything accepted to arrive", () => [...accepted].every((id) => sink.arrivals.has(id)), 180);
    t.equal(kills, KILLS, `${victim} was killed ${kills} times`);
    const lost = [...accepted].filter((id) => !sink.arrivals.has(id));
    t.same(lost, [], "nothing acknowledged was lost");
    t.comment(`${victim}: ${kills} kills, ${accepted.size} accepted, ${failures} refused or broken, ${sink.duplicates} duplicates`);
    await until("an empty queue", () => ["active", "deferred"].every((queue) => queueFiles(instance, queue).length === 0), 120);
  });
