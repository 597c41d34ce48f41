/** Services that a message will surely need are started before they are asked (docs/daemons.md). */
import { setTimeout as wait } from "node:timers/promises";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { daemons, queueFiles, runningInstance, until } from "./support/harness.ts";
import { Session } from "./support/load.ts";

t.setTimeout(120_000);

/** A session after its MAIL command. */
async function begin(t: Test, instance: Instance): Promise<Session> {
  const session = new Session(instance.smtpPort);
  t.teardown(() => session.close());
  await session.expect("220");
  for (const command of ["EHLO client.test", "MAIL FROM:<a@example.org>"]) {
    session.write(`${command}\r\n`);
    await session.expect("250");
  }
  return session;
}

t.test("a client's MAIL command starts cleanup and trivial-rewrite, its greeting does not", async (t) => {
  const instance = await runningInstance(t);
  const session = new Session(instance.smtpPort);
  t.teardown(() => session.close());
  await session.expect("220");
  session.write("EHLO client.test\r\n");
  await session.expect("250");
  await wait(500);
  const running = (): number[] =>
    ["cleanup", "trivial-rewrite"].map((name) => daemons(instance, name).length);
  t.same(running(), [0, 0], "no message, no process");
  session.write("MAIL FROM:<a@example.org>\r\n");
  await session.expect("250");
  await until("both", () => running().every((count) => count === 1));
  session.write("RSET\r\nMAIL FROM:<a@example.org>\r\n");
  await session.expect("250");
  await session.expect("250");
  session.write(`RCPT TO:<${instance.who.recipient}@localhost>\r\nDATA\r\n`);
  await session.expect("250");
  await session.expect("354");
  session.write("Subject: x\r\n\r\nx\r\n.\r\n");
  await session.expect("250");
  t.same(running(), [1, 1], "the same ones serve the message");
  t.notMatch(instance.maillog(), /unknown status|panic|fatal/);
});

t.test("a process that runs is not doubled, one that does not start is throttled as ever", async (t) => {
  const instance = await runningInstance(t, {
    masterCf: "cleanup unix n - n - 0 cleanup -o { no_such_parameter_for_it = x } surplus\n",
  });
  await begin(t, instance);
  await until("the throttle", () => /cleanup: bad command startup -- throttling/.test(instance.maillog()));
  await begin(t, instance);
  await wait(500);
  t.equal(instance.maillog().match(/bad command startup/g)?.length, 1);
  t.equal(daemons(instance, "trivial-rewrite").length, 1);
});

t.test("a flush starts the usual delivery agent before trivial-rewrite has answered", async (t) => {
  const instance = await runningInstance(t, { mainCf: "relayhost = [127.0.0.1]:1\n" });
  const session = await begin(t, instance);
  for (const [line, code] of [
    ["RCPT TO:<b@elsewhere.test>", "250"],
    ["DATA", "354"],
    ["Subject: x\r\n\r\nx\r\n.", "250"],
  ] as const) {
    session.write(`${line}\r\n`);
    await session.expect(code);
  }
  await until("the deferral", () => queueFiles(instance, "deferred").length === 1);
  instance.stop();
  instance.start();
  await begin(t, instance);
  const [rewrite = 0] = await until("trivial-rewrite", () => {
    const pids = daemons(instance, "trivial-rewrite");
    return pids.length === 1 && pids;
  });
  process.kill(rewrite, "SIGSTOP");
  t.teardown(() => process.kill(rewrite, "SIGCONT"));
  await wait(500);
  t.same(daemons(instance, "smtp"), [], "it is not due");
  instance.must("postqueue", ["-f"]);
  await until("the agent", () => daemons(instance, "smtp").length === 1);
});
