/** TAB-05: while the user database cannot be read, nobody is "unknown". */
import { spawn } from "node:child_process";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { daemons, logged, NEEDS_ROOT, queueFiles, runningInstance, until } from "./support/harness.ts";
import { NEEDS_STRACE } from "./support/traced_programs.ts";

t.setTimeout(120_000);

/** A call that strace changes is none that the filter knows. */
const TRACED = "sandbox = off\n";
const MESSAGE = "Subject: x\r\n\r\nbody\r\n";
const send = (instance: Instance, to: string): Promise<string> =>
  sendMail(instance.smtpPort, "a@example.org", to, MESSAGE).catch((error: Error) => error.message);

/** From now on a running program cannot open /etc/passwd; the function ends that. */
async function withoutPasswords(t: Test, instance: Instance, program: string): Promise<() => Promise<void>> {
  const [pid] = await until(
    program,
    () => daemons(instance, program).length === 1 && daemons(instance, program),
  );
  const tracer = spawn(
    "strace",
    ["-f", "-p", String(pid), "-P", "/etc/passwd", "-e", "trace=openat", "-e", "inject=openat:error=EIO"],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const ended = new Promise<void>((resolve) => tracer.on("close", () => resolve()));
  t.teardown(() => tracer.kill("SIGKILL"));
  let said = "";
  tracer.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString("latin1");
  });
  await until("strace", () => said.includes("attached"));
  return async () => {
    tracer.kill("SIGINT");
    await ended;
    t.match(said, /openat\(.*"\/etc\/passwd".*\(INJECTED\)/, `${program} asked for it`);
  };
}

const SKIP = "skip" in NEEDS_ROOT ? NEEDS_ROOT : NEEDS_STRACE;

t.test("local puts mail off", { ...SKIP }, async (t) => {
  const instance = await runningInstance(t, { mainCf: `${TRACED}local_recipient_maps =\nalias_maps =\n` });
  t.match(await send(instance, `${instance.who.recipient}@localhost`), /^250 /);
  await logged(instance, /status=sent \(delivered to mailbox\)/);
  const mend = await withoutPasswords(t, instance, "local");
  t.match(await send(instance, "nosuchuser@localhost"), /^250 /);
  await logged(instance, /to=<nosuchuser@localhost>.* dsn=4\.0\.0, status=deferred \(user lookup error\)/);
  await mend();
  instance.must("postqueue", ["-f"]);
  await logged(
    instance,
    /to=<nosuchuser@localhost>.* dsn=5\.1\.1, status=bounced \(unknown user: "nosuchuser"\)/,
  );
  await until("an empty queue", () => queueFiles(instance, "deferred").length === 0);
});

t.test("smtpd, over proxymap, asks to come again", { ...SKIP }, async (t) => {
  const instance = await runningInstance(t, {
    mainCf: `${TRACED}local_recipient_maps = proxy:unix:passwd.byname\n`,
  });
  t.match(await send(instance, "nosuchuser@localhost"), /got 550 5\.1\.1 /);
  const mend = await withoutPasswords(t, instance, "proxymap");
  t.match(await send(instance, "nosuchuser@localhost"), /got 451 4\.3\.0 /);
  await mend();
  t.match(await send(instance, "nosuchuser@localhost"), /got 550 5\.1\.1 /);
});
