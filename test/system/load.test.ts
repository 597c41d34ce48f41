/** 10,000 messages of 4 kB in 20 sessions through the server and out to another one: each arrives exactly once. */
import t from "tap";
import { queueFiles, runningInstance, troubles, until } from "./support/harness.ts";
import { CountingSink, submitLoad } from "./support/load.ts";

const MESSAGES = 10_000;

t.test("10,000 messages are relayed exactly once each", async (t) => {
  const sink = new CountingSink();
  const port = await sink.listen();
  t.teardown(() => sink.close());
  const instance = await runningInstance(t, {
    mainCf: `relayhost = [127.0.0.1]:${port}\nqmgr_clog_warn_time = 0\n`,
  });
  const result = await submitLoad({
    port: instance.smtpPort,
    messages: MESSAGES,
    sessions: 20,
    size: 4096,
    from: "sender@example.org",
    to: (index) => `user${index % 100}@elsewhere.test`,
    perConnection: 100,
    failureLimit: 0,
  });
  t.equal(result.accepted.size, MESSAGES);
  await until("all arrivals", () => sink.arrivals.size >= MESSAGES, 300);
  await until(
    "an empty queue",
    () => ["incoming", "active", "deferred"].every((queue) => queueFiles(instance, queue).length === 0),
    60,
  );
  t.equal(sink.arrivals.size, MESSAGES, "every message arrived");
  t.equal(sink.duplicates, 0, "none twice");
  t.same(troubles(instance), []);
});
