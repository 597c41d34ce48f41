/**
 * DUR-05: the clock is set while mail is on its way. Sessions that were open go on, what comes meanwhile arrives, what was deferred is tried again in
 * the usual time, nothing is returned as too old, and nobody burns the processor.
 */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import {
  allDaemons,
  daemons,
  freePort,
  queueFiles,
  runningInstance,
  terminate,
  until,
} from "./support/harness.ts";
import { CountingSink, Session } from "./support/load.ts";
import { NEEDS_COMPILER } from "./support/preloaded.ts";
import { SetClock } from "./support/set_clock.ts";

t.setTimeout(240_000);

const HOUR = 3600;
const DAY = 24 * HOUR;
/** Longest time between two attempts, and between two looks at the deferred queue. */
const BACKOFF = 2;
const SCAN = 1;
/** Processor time that all daemons together may take in a second, of a second. */
const BUSY = 0.9;
const TICKS = 100;
const QUEUES = ["maildrop", "incoming", "active", "deferred"];
const SENDER = "s@elsewhere.test";

const message = (id: string, end: string): string => `X-Load-Id: ${id}${end}${end}body${end}`;

function processorTime(instance: Instance): number {
  let ticks = 0;
  for (const { pid } of allDaemons(instance)) {
    const path = `/proc/${pid}/stat`;
    if (!existsSync(path)) continue;
    const stat = readFileSync(path, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS;
}

const pause = (seconds: number): Promise<void> => new Promise((done) => setTimeout(done, seconds * 1000));

function command({ instance, clock }: Mail, name: string, args: string[], input: string): Promise<void> {
  const env = { ...instance.environment, ...clock.environment };
  return new Promise((done, fail) => {
    const child = execFile(instance.program(name), args, { env }, (error) =>
      error === null ? done() : fail(error),
    );
    child.stdin?.end(input);
  });
}

/** Says everything but the end of a message; the result says the end. */
async function begin(port: number, to: string, id: string): Promise<() => Promise<void>> {
  const session = new Session(port);
  await session.expect("220");
  session.write("EHLO client.test\r\n");
  await session.expect("250");
  session.write(`MAIL FROM:<${SENDER}>\r\nRCPT TO:<${to}>\r\nDATA\r\n`);
  for (const code of ["250", "250", "354"]) await session.expect(code);
  session.write(message(id, "\r\n"));
  return async () => {
    session.write(".\r\n");
    await session.expect("250");
    session.close();
  };
}

/** How often each deferred message was tried, by queue ID. */
function attempts(instance: Instance): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [, id = ""] of instance.maillog().matchAll(/: (\w+): to=.* status=deferred/g))
    counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

interface Mail {
  readonly instance: Instance;
  readonly clock: SetClock;
  readonly sink: CountingSink;
  /** Of everything that was accepted. */
  readonly ids: Set<string>;
}

const arrived = ({ instance, sink }: Mail): ((id: string) => boolean) => {
  const path = join(instance.mail, instance.who.recipient);
  const text = existsSync(path) ? readFileSync(path, "latin1") : "";
  return (id) => sink.arrivals.has(id) || text.includes(`X-Load-Id: ${id}\n`);
};

async function allArrive(t: Test, mail: Mail, what: string, ids: ReadonlySet<string>): Promise<void> {
  const missing = (): string[] => {
    const here = arrived(mail);
    return [...ids].filter((id) => !here(id));
  };
  await until(what, () => missing().length === 0, 20).catch(() => undefined);
  t.same(missing(), [], what);
}

/** Sets the clock while two sessions are open; what they send and what comes after arrives. */
async function step(t: Test, mail: Mail, name: string, time: number): Promise<void> {
  const { instance, clock, ids } = mail;
  const own = `${instance.who.recipient}@localhost`;
  const begun = await Promise.all(
    [own, "y@far.test"].map(async (to, index) => {
      const id = `${name}-open${index}`;
      return { id, finish: await begin(instance.smtpPort, to, id) };
    }),
  );
  clock.set(time);
  const used = processorTime(instance);
  await pause(2);
  const busy = (processorTime(instance) - used) / 2;
  t.ok(busy < BUSY, `${name}: the daemons take ${busy.toFixed(2)} of a processor`);
  const now = new Set<string>();
  for (const { id, finish } of begun) {
    await finish();
    now.add(id);
  }
  for (const [id, to] of [
    [`${name}-local`, own],
    [`${name}-relay`, "y@far.test"],
  ] as const) {
    await sendMail(instance.smtpPort, SENDER, to, message(id, "\r\n"));
    now.add(id);
  }
  await command(mail, "sendmail", ["-f", SENDER, own], message(`${name}-command`, "\n"));
  now.add(`${name}-command`);
  await allArrive(t, mail, `${name}: everything arrives`, now);
  for (const id of now) ids.add(id);
}

t.test("DUR-05 the clock is set while mail is on its way", NEEDS_COMPILER, async (t) => {
  const sink = new CountingSink();
  const sinkPort = await sink.listen();
  const dead = await freePort();
  const made: { clock?: SetClock } = {};
  const instance = await runningInstance(t, {
    mainCf: (directory) => {
      made.clock = new SetClock(directory);
      return `${made.clock.setting}relayhost = [127.0.0.1]:${sinkPort}
smtp_connection_cache_destinations = 127.0.0.1
transport_maps = inline:{ { dead.test = smtp:[127.0.0.1]:${dead} } }
minimal_backoff_time = 1s
maximal_backoff_time = ${BACKOFF}s
queue_run_delay = ${SCAN}s
transport_retry_time = 1s
service_throttle_time = 1s
`;
    },
    masterCf: "qmgr unix n - n 2 1 qmgr\n",
    stopped: true,
  });
  t.teardown(() => sink.close());
  if (made.clock === undefined) throw new Error("no clock");
  const mail: Mail = { instance, clock: made.clock, sink, ids: new Set() };
  // the times of new files are in the past, but for 1970
  const begin = Date.now() / 1000 + 20 * HOUR;
  mail.clock.set(begin);
  instance.start();

  const steps: ReadonlyArray<readonly [string, number]> = [
    ["seven-hours-on", begin + 7 * HOUR],
    ["fourteen-hours-back", begin - 7 * HOUR],
    ["a-day-on", begin + 17 * HOUR],
    ["a-day-back", begin - 7 * HOUR],
  ];
  for (const [name, time] of steps) {
    const id = `${name}-deferred`;
    await sendMail(instance.smtpPort, SENDER, "x@dead.test", message(id, "\r\n"));
    mail.ids.add(id);
    await until(
      `${id} in the deferred queue`,
      () => attempts(instance).size === queueFiles(instance, "deferred").length,
    );
    const before = attempts(instance);
    await step(t, mail, name, time);
    // what a queue manager that begins now knows is the times of the files alone
    if (name.endsWith("back")) for (const pid of daemons(instance, "qmgr")) terminate(pid);
    const again = attempts(instance);
    for (const [queueId, count] of again)
      t.ok(count - (before.get(queueId) ?? 0) < 30, `${name}: ${queueId} was not tried in a burst`);
    await until(
      `${name}: all that is deferred is tried again`,
      () => [...attempts(instance)].every(([queueId, count]) => count > (again.get(queueId) ?? 0)),
      2 * BACKOFF + SCAN + 5,
    ).catch((error: unknown) => t.fail(String(error)));
  }

  const revived = new CountingSink(sink.arrivals);
  await revived.listen(dead);
  t.teardown(() => revived.close());
  await allArrive(t, mail, "what was deferred arrives as well", mail.ids);

  // nothing is old now
  for (const [name, time] of [
    ["in-2039", Date.UTC(2039, 0, 1) / 1000],
    ["in-1970", 90 * DAY],
    ["now", begin],
  ] as const)
    await step(t, mail, name, time);
  await until("an empty queue", () => QUEUES.every((queue) => queueFiles(instance, queue).length === 0));
  t.same(
    [...sink.arrivals].filter(([, count]) => count > 1),
    [],
    "none twice",
  );
  t.same(
    instance.maillog().match(/.*(?:status=(?:expired|bounced)|killed by signal (?!15\b)|panic:|fatal:).*/g) ??
      [],
    [],
  );
  const queueIds = [...instance.maillog().matchAll(/cleanup\[\d+\]: (\w+): message-id=/g)].map(
    ([, id]) => id,
  );
  t.equal(new Set(queueIds).size, queueIds.length, "no queue ID was given twice");
  t.equal(queueIds.length, mail.ids.size);
});
