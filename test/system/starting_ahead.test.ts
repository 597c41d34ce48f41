/** Services that a message will surely need are started before they are asked (docs/daemons.md). */
import { setTimeout as wait } from "node:timers/promises";
import t from "tap";
import { daemons, runningInstance, until } from "./support/harness.ts";
import { Session } from "./support/load.ts";

t.setTimeout(120_000);

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
  const begin = async (): Promise<void> => {
    const session = new Session(instance.smtpPort);
    t.teardown(() => session.close());
    await session.expect("220");
    for (const command of ["EHLO client.test", "MAIL FROM:<a@example.org>"]) {
      session.write(`${command}\r\n`);
      await session.expect("250");
    }
  };
  await begin();
  await until("the throttle", () => /cleanup: bad command startup -- throttling/.test(instance.maillog()));
  await begin();
  await wait(500);
  t.equal(instance.maillog().match(/bad command startup/g)?.length, 1);
  t.equal(daemons(instance, "trivial-rewrite").length, 1);
});
