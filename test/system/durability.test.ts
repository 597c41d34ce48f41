/**
 * Errors and death at the n-th system call of one operation, for every n (known faults DUR-01 to DUR-03): what was acknowledged arrives, what was
 * not leaves nothing that counts, and a second copy comes only from a death between a delivery and its mark.
 */
import { execFile } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { daemons, isAlive, queueFiles, runningInstance, terminate, until } from "./support/harness.ts";
import { CountingSink } from "./support/load.ts";
import { NEEDS_STRACE, TracedPrograms } from "./support/traced_programs.ts";

t.setTimeout(240_000);

type Kind = "smtp" | "sendmail" | "bounce" | "relay";
interface Victim {
  readonly program: string;
  /** The messages that give it work. */
  readonly kinds: ReadonlyArray<Kind>;
  /** Calls with which it changes files or tells others of it. */
  readonly calls: ReadonlyArray<string>;
}
const FILE_CALLS: ReadonlyArray<Victim> = [
  {
    program: "cleanup",
    kinds: ["smtp"],
    calls: ["rename", "fallocate", "pwrite64", "ftruncate", "fchmod", "fsync"],
  },
  { program: "bounce", kinds: ["bounce"], calls: ["write", "fsync", "unlink"] },
  { program: "local", kinds: ["smtp"], calls: ["write", "pwrite64", "fsync"] },
  { program: "qmgr", kinds: ["smtp"], calls: ["rename", "chmod", "unlink"] },
  { program: "pickup", kinds: ["sendmail"], calls: ["unlink"] },
  { program: "smtp", kinds: ["relay"], calls: ["write", "pwrite64"] },
];
const MESSAGES: ReadonlyArray<Victim> = FILE_CALLS.map((victim) => ({ ...victim, calls: ["sendto"] }));
/** strace makes a call fail by asking the kernel for one that does not exist, for which the sandbox kills. */
const SKIPPED_CALLS = "sandbox = off";
/** The threads that sync for local tell of it by write(), which no machine lets fail. Its other writes: full_disk.test.ts. */
const isTold = (program: string, call: string): boolean => program === "local" && call === "write";
/** n goes up until the work is done without the fault, at most to here. */
const LIMIT = 8;
/** A second copy: of mail whose delivery or removal was not marked yet. */
const MAY_DOUBLE: ReadonlySet<string> = new Set(["local", "pickup", "bounce", "smtp"]);

interface Sent {
  readonly id: string;
  readonly acknowledged: boolean;
  readonly victim: string;
}

/** True when it was acknowledged. The sender is the recipient: what is returned arrives as well. */
async function send(instance: Instance, kind: Kind, id: string): Promise<boolean> {
  const own = `${instance.who.recipient}@localhost`;
  const text = `Subject: x\nX-Load-Id: ${id}\n\nbody\n`;
  if (kind === "smtp" || kind === "relay")
    return sendMail(
      instance.smtpPort,
      own,
      kind === "relay" ? "x@far.test" : own,
      text.replaceAll("\n", "\r\n"),
    ).then(
      () => true,
      () => false,
    );
  const recipient = kind === "bounce" ? "nosuch@gone.test" : own;
  return new Promise((resolve) => {
    const { environment: env } = instance;
    const child = execFile(instance.program("sendmail"), ["-f", own, recipient], { env }, (error) =>
      resolve(error === null),
    );
    child.stdin?.end(text);
  });
}

function arrivals(instance: Instance, sink: CountingSink): Map<string, number> {
  const path = join(instance.mail, instance.who.recipient);
  const counts = new Map(sink.arrivals);
  if (!existsSync(path)) return counts;
  for (const [, id = ""] of readFileSync(path, "latin1").matchAll(/^X-Load-Id: (\S+)$/gm))
    counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

async function everyCall(t: Test, fault: string, victims: ReadonlyArray<Victim>): Promise<void> {
  const traced: { programs?: TracedPrograms } = {};
  const sink = new CountingSink();
  const port = await sink.listen();
  const instance = await runningInstance(t, {
    mainCf: (directory) => {
      traced.programs = new TracedPrograms(
        directory,
        victims.map(({ program }) => program),
      );
      return `daemon_directory = ${traced.programs.folder}
relayhost = [127.0.0.1]:${port}
service_throttle_time = 1s
transport_retry_time = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
qmgr_clog_warn_time = 0
mailbox_delivery_lock = fcntl
transport_maps = inline:{ { gone.test = error:5.1.1 no such user } }
notify_classes =
${fault === "KILL" ? "" : SKIPPED_CALLS}
`;
    },
  });
  t.teardown(() => sink.close());
  const { programs } = traced;
  if (programs === undefined) throw new Error("no programs");
  const sent: Sent[] = [];
  let faults = 0;
  /** Sends while the program is about to fail; whether it did. */
  const attempt = async ({ program, kinds }: Victim, call: string, n: number): Promise<boolean> => {
    for (let round = 0; ; round++) {
      programs.arm(program, { call, n, fault });
      for (const pid of daemons(instance, program)) terminate(pid);
      const now = await Promise.all(
        kinds.map(async (kind, index): Promise<Sent> => {
          const id = `${program}-${call}-${n}-${kind}${index}-${round}`;
          return { id, acknowledged: await send(instance, kind, id), victim: program };
        }),
      );
      sent.push(...now);
      const settled = (): boolean => {
        const present = arrivals(instance, sink);
        return now.every(({ id, acknowledged }) => !acknowledged || present.has(id));
      };
      await until(`the fault or the end of ${now[0]?.id}`, () => programs.hit(program) || settled(), 60);
      // a process that was starting before may have done the work
      if (programs.hit(program)) return true;
      if (programs.taken(program) || round > 5) return false;
    }
  };
  /** No process of the program has a fault before it any more. */
  const release = async ({ program }: Victim): Promise<void> => {
    programs.disarm(program);
    const old = daemons(instance, program);
    for (const pid of old) terminate(pid);
    await until(`the end of ${program}`, () => !old.some(isAlive));
  };
  for (const victim of victims) {
    for (const call of victim.calls.filter((name) => fault === "KILL" || !isTold(victim.program, name)))
      for (let n = 1; n <= LIMIT && (await attempt(victim, call, n)); n++) faults++;
    await release(victim);
  }
  let flushed = 0;
  const have = (): Map<string, number> => {
    if (Date.now() - flushed > 2000) {
      instance.run("postqueue", ["-f"]);
      instance.run("postkick", ["public", "pickup", "W"]);
      flushed = Date.now();
    }
    return arrivals(instance, sink);
  };
  const missing = (): string[] => {
    const present = have();
    return sent.filter(({ id, acknowledged }) => acknowledged && !present.has(id)).map(({ id }) => id);
  };
  await until("everything that was acknowledged", () => missing().length === 0, 60).catch(() => undefined);
  t.same(missing(), [], "nothing acknowledged was lost");
  await until(
    "an empty queue",
    () =>
      ["maildrop", "active", "deferred"].every((queue) => queueFiles(instance, queue).length === 0) ||
      have().size < 0,
    60,
  );
  const doubled = sent.filter(({ id }) => (arrivals(instance, sink).get(id) ?? 0) > 1);
  t.same(
    doubled.filter(({ victim }) => !MAY_DOUBLE.has(victim)).map(({ id }) => id),
    [],
    "none twice but for what could not be marked",
  );
  // what was begun and not promised is there as an unfinished file at most
  for (const name of queueFiles(instance, "incoming")) {
    const status = statSync(join(instance.queue, "incoming", name), { throwIfNoEntry: false });
    t.ok(((status?.mode ?? 0) & 0o100) === 0, `${name} is not complete`);
  }
  t.same(queueFiles(instance, "corrupt"), []);
  const refused = sent.filter(({ acknowledged }) => !acknowledged).length;
  t.ok(faults > 0);
  if (fault !== "KILL")
    t.same(instance.maillog().match(/warning: process .*killed by signal (?!15\b).*/g) ?? [], []);
  t.comment(`${faults} faults, ${sent.length} messages, ${refused} refused, ${doubled.length} doubled`);
}

const halves = (victims: ReadonlyArray<Victim>): ReadonlyArray<ReadonlyArray<Victim>> => [
  victims.slice(0, 2),
  victims.slice(2),
];

t.test("DUR-02 a kill at every call that matters", NEEDS_STRACE, async (t) => {
  const kinds = [...halves(FILE_CALLS), ...halves(MESSAGES)];
  await Promise.all(kinds.map((victims) => everyCall(t, "KILL", victims)));
});

t.test("DUR-01 DUR-03 an error of every call that matters", NEEDS_STRACE, async (t) => {
  const [first = [], second = []] = halves(FILE_CALLS);
  await Promise.all([everyCall(t, "EIO", first), everyCall(t, "EIO", second), everyCall(t, "ENOSPC", first)]);
});
