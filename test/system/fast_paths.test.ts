/**
 * Death on the fast paths: spent queue files that are written over, connections kept between our daemons, many deliveries in one process, many syncs
 * under way at once (docs/queue.md, docs/daemons.md). What was acknowledged arrives, and no message has a line of another.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { daemons, NEEDS_ROOT, queueFiles, runningInstance, terminate, until } from "./support/harness.ts";
import { keptEnds } from "./support/kept_ends.ts";
import { isQueueEmpty, Kills, QUICK_RETRIES } from "./support/kills.ts";
import { CountingSink, submitLoad } from "./support/load.ts";
import { damage, markedBody } from "./support/marked_messages.ts";
import { NEEDS_COMPILER, Preloaded } from "./support/preloaded.ts";
import { NEEDS_STRACE, TracedPrograms } from "./support/traced_programs.ts";

t.setTimeout(400_000);

const NOBODY = 65534;
const VICTIMS = ["cleanup", "qmgr", "smtp", "virtual", "local", "smtpd"];
const KILLS = 8;
const MESSAGES = 1500;
/** Microseconds: twenty sessions meet in it. */
const SYNC_DELAY = 20_000;

/** What shows that the fast paths are taken, looked for all the time. */
class Evidence {
  /** Inodes that were seen in spare, and when under which name. */
  readonly #spare = new Map<string, string>();
  kept = 0;
  /** Deliveries that one process of virtual had under way. */
  together = 0;

  constructor(
    private readonly instance: Instance,
    private readonly maildir: string,
  ) {}

  look(): void {
    for (const name of queueFiles(this.instance, "spare")) this.#spare.set(inodeOf(name), name);
    this.kept = Math.max(this.kept, keptEnds(this.instance).length);
    const alive = new Set(daemons(this.instance, "virtual").map(String));
    const files = new Map<string, number>();
    for (const name of namesIn(join(this.maildir, "tmp"))) {
      const pid = /\.P(\d+)/.exec(name)?.[1] ?? "";
      if (alive.has(pid)) files.set(pid, (files.get(pid) ?? 0) + 1);
    }
    this.together = Math.max(this.together, ...files.values());
  }

  /** Messages in files that had been another's. */
  get writtenOver(): number {
    const ids = [...this.instance.maillog().matchAll(/cleanup\[\d+\]: (\w+): message-id=/g)];
    return ids.filter(([, id = ""]) => (this.#spare.get(inodeOf(id)) ?? id) !== id).length;
  }
}

/** Of a short queue ID. */
const inodeOf = (id: string): string => id.slice(5);

const namesIn = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);

t.test(
  "DUR-02 kills while spare files are written over, connections kept, deliveries and syncs many at once",
  { ...NEEDS_ROOT, ...NEEDS_COMPILER },
  async (t) => {
    const wrong: string[] = [];
    const check = (text: string): void => {
      const problem = damage(text);
      if (problem !== undefined) wrong.push(problem);
    };
    const sink = new CountingSink(new Map(), check);
    const port = await sink.listen();
    t.teardown(() => sink.close());
    const made: { disk?: Preloaded } = {};
    const instance = await runningInstance(t, {
      masterCf: "qmgr unix n - n 5 1 qmgr\n",
      mainCf: (directory) => {
        made.disk = new Preloaded(directory, "slow_sync", "SLOW_SYNC");
        made.disk.store(SYNC_DELAY);
        return `${made.disk.setting}relayhost = [127.0.0.1]:${port}
${QUICK_RETRIES}ipc_timeout = 20s
virtual_mailbox_domains = dir.test
virtual_mailbox_base = ${directory}/virtual
virtual_mailbox_maps = inline:{ { you@dir.test = dir/ } }
virtual_uid_maps = static:${NOBODY}
virtual_gid_maps = static:${NOBODY}
virtual_destination_recipient_limit = 1
initial_destination_concurrency = 20
mailbox_size_limit = 0
mailbox_delivery_lock = fcntl
`;
      },
    });
    const virtual = join(instance.directory, "virtual");
    mkdirSync(virtual);
    execFileSync("chown", [`${NOBODY}:${NOBODY}`, virtual]);
    const { recipient } = instance.who;
    const evidence = new Evidence(instance, join(virtual, "dir"));
    const timer = setInterval(() => evidence.look(), 50);
    t.teardown(() => clearInterval(timer));

    const kills = new Kills(instance, VICTIMS, KILLS);
    const accepted = new Set<string>();
    const send = async (messages: number, prefix: string): Promise<void> => {
      const result = await submitLoad({
        port: instance.smtpPort,
        messages,
        sessions: 20,
        size: 0,
        from: "sender@example.org",
        to: (index) =>
          ["y@far.test", "z@far.test", "you@dir.test", `${recipient}@localhost`][index % 4] ?? "",
        perConnection: 20,
        failureLimit: 20_000,
        prefix,
        body: (id) => markedBody(id, "\r\n"),
      });
      for (const id of result.accepted) accepted.add(id);
    };
    await send(200, "before.");
    const killing = kills.run();
    for (let round = 0; round === 0 || !kills.done; round++)
      await send(round === 0 ? MESSAGES : 300, `r${round}.`);
    await killing;
    await until("an empty queue", () => isQueueEmpty(instance), 120);
    clearInterval(timer);

    const arrived = new Set(sink.arrivals.keys());
    const note = (text: string): void => {
      const id = /^X-Load-Id: (\S+)$/m.exec(text)?.[1];
      if (id !== undefined) arrived.add(id);
    };
    for (const name of namesIn(join(virtual, "dir/new"))) {
      const text = readFileSync(join(virtual, "dir/new", name), "latin1");
      check(text);
      note(text);
    }
    for (const message of readFileSync(join(instance.mail, recipient), "latin1")
      .split(/^From .*\n/m)
      .slice(1)) {
      check(message);
      note(message);
    }
    t.same(wrong, [], "every message is whole, and of nobody else");
    t.same(
      [...accepted].filter((id) => !arrived.has(id)),
      [],
      "nothing acknowledged was lost",
    );
    t.same(queueFiles(instance, "corrupt"), []);
    t.same(
      [...kills.counts.values()],
      VICTIMS.map(() => KILLS),
    );
    const { writtenOver, kept, together } = evidence;
    const syncs = made.disk?.told ?? 0;
    t.comment(
      `${accepted.size} accepted; ${writtenOver} in files of others, ${kept} kept ends, ${together} deliveries and ${syncs} syncs of one process at once`,
    );
    t.ok(writtenOver > 300, "spare files were written over");
    t.ok(kept > 1, "connections were kept");
    t.ok(together > 1, "one process had several deliveries under way");
    t.ok(syncs > 3, "one process had several syncs under way");
  },
);

/** The calls, in their order, with which cleanup writes over a spare file, and with which the queue manager lays one down. */
const PATH: ReadonlyArray<readonly [program: string, calls: ReadonlyArray<string>]> = [
  ["cleanup", ["rename", "fallocate", "pwrite64", "ftruncate", "fchmod", "fsync"]],
  ["qmgr", ["rename", "chmod"]],
];
const LIMIT = 8;

async function everyCall(t: Test, fault: "KILL" | "EIO"): Promise<void> {
  const wrong: string[] = [];
  const sink = new CountingSink(new Map(), (text) => {
    const problem = damage(text);
    if (problem !== undefined) wrong.push(problem);
  });
  const port = await sink.listen();
  t.teardown(() => sink.close());
  const made: { programs?: TracedPrograms } = {};
  const instance = await runningInstance(t, {
    mainCf: (directory) => {
      made.programs = new TracedPrograms(
        directory,
        PATH.map(([program]) => program),
      );
      // strace makes a call fail by asking the kernel for one that does not exist, for which the sandbox kills
      return `daemon_directory = ${made.programs.folder}
relayhost = [127.0.0.1]:${port}
${QUICK_RETRIES}queue_file_reuse_limit = 1
${fault === "KILL" ? "" : "sandbox = off\n"}`;
    },
  });
  const { programs } = made;
  if (programs === undefined) throw new Error("no programs");
  let count = 0;
  const acknowledged: string[] = [];
  const send = async (lines: number): Promise<string> => {
    const id = `m${++count}`;
    const text = `Subject: x\r\nX-Load-Id: ${id}\r\nX-Lines: ${lines}\r\n\r\n${markedBody(id, "\r\n", lines)}`;
    const taken = await sendMail(instance.smtpPort, "a@example.org", "b@far.test", text).then(
      () => true,
      () => false,
    );
    if (taken) acknowledged.push(id);
    return taken ? id : "";
  };
  const restart = async (program: string): Promise<void> => {
    const old = daemons(instance, program);
    for (const pid of old) terminate(pid);
    await until(`the end of ${program}`, () => !daemons(instance, program).some((pid) => old.includes(pid)));
  };
  const deliver = async (lines: number): Promise<void> => {
    let id = "";
    while (id === "") {
      await restart("cleanup");
      id = await send(lines);
    }
    await until(`${id} at its destination`, () => sink.arrivals.has(id), 60);
  };
  const missing = (): string[] => acknowledged.filter((id) => !sink.arrivals.has(id));
  /** Faults by program and call. */
  const faults = new Map<string, number>();
  /** A short message over the file of a long one, with the fault before it; whether it happened. */
  const attempt = async (program: string, call: string, n: number): Promise<boolean> => {
    await deliver(300);
    await until("the long one's file", () => queueFiles(instance, "spare").length === 1);
    programs.arm(program, { call, n, fault });
    // cleanup learns of spare files when it starts
    await Promise.all([restart("qmgr"), restart("cleanup")]);
    await send(20);
    const over = (): boolean => missing().length === 0 && isQueueEmpty(instance);
    await until("the fault or the end", () => programs.hit(program) || over(), 60);
    const hit = programs.hit(program);
    programs.disarm(program);
    await restart(program);
    await until("everything that was acknowledged", () => missing().length === 0, 60);
    return hit;
  };
  for (const [program, calls] of PATH)
    for (const call of calls)
      for (let n = 1; n <= LIMIT && (await attempt(program, call, n)); n++) {
        const key = `${program} ${call}`;
        faults.set(key, (faults.get(key) ?? 0) + 1);
      }
  await until("an empty queue", () => isQueueEmpty(instance), 60);
  t.same(missing(), [], "nothing acknowledged was lost");
  t.same(wrong, [], "every message is whole, and of nobody else");
  t.equal(sink.duplicates, 0, "no old content came back as a message");
  t.same(queueFiles(instance, "corrupt"), []);
  t.same(
    PATH.flatMap(([program, calls]) => calls.map((call) => `${program} ${call}`)).filter(
      (key) => !faults.has(key),
    ),
    [],
    "each call of the path had its fault",
  );
  t.comment([...faults].map(([key, number]) => `${key}: ${number}`).join(", "));
}

t.test("DUR-02 a kill at every call that writes over a spare file", NEEDS_STRACE, (t) =>
  everyCall(t, "KILL"),
);

t.test("DUR-01 an error of every call that writes over a spare file", NEEDS_STRACE, (t) =>
  everyCall(t, "EIO"),
);
