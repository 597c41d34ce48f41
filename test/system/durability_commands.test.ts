/**
 * Commands that die or fail at the n-th system call, for every n (known faults DUR-01 to DUR-03): postdrop leaves what it promised and nothing
 * half done, and whatever becomes of postsuper, each message stays there once, with its logs, and running it again does the rest.
 */
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { runningInstance } from "./support/harness.ts";
import { plant, queueFile, record } from "./support/queue_damage.ts";
import { type Injection, NEEDS_STRACE, straceArguments } from "./support/traced_programs.ts";

t.setTimeout(240_000);

const LINES = 600;
const READY = 0o100;
/** In what postdrop says: status 0. */
const PROMISE = ["status", "0", ""].join("\0");
/** The same as strace shows it. */
const PROMISE_SHOWN = "status\\0000\\0";

interface Outcome {
  readonly status: number | null;
  readonly output: string;
  /** False when the program did not make that many calls. */
  readonly hit: boolean;
}

function runWithFault(
  instance: Instance,
  name: string,
  args: ReadonlyArray<string>,
  injection: Injection,
  input: Buffer = Buffer.alloc(0),
): Outcome {
  const report = join(instance.directory, "report");
  const { status, stdout } = spawnSync(
    "strace",
    [...straceArguments(injection, report), instance.program(name), ...args],
    {
      env: instance.environment,
      input,
      timeout: 60_000,
    },
  );
  const hit = /INJECTED|killed by SIGKILL/.test(readFileSync(report, "latin1"));
  return { status, output: stdout.toString("latin1"), hit };
}

interface Call {
  readonly thread: string;
  readonly call: string;
  readonly arguments: string;
}

/** The calls that an undisturbed run makes, one after the other. */
function trace(
  instance: Instance,
  name: string,
  args: ReadonlyArray<string>,
  calls: ReadonlyArray<string>,
  input = Buffer.alloc(0),
): Call[] {
  const report = join(instance.directory, "report");
  const options = ["-f", "-qq", "-s", "200", "-o", report, "-e", `trace=${calls.join(",")}`];
  const { status, stderr } = spawnSync("strace", [...options, instance.program(name), ...args], {
    env: instance.environment,
    input,
  });
  if (status !== 0) throw new Error(`${name}: status ${status} ${stderr}`);
  return [...readFileSync(report, "latin1").matchAll(/^(\d+) +(\w+)\((.*)/gm)].map(
    ([, thread = "", call = "", given = ""]) => ({ thread, call, arguments: given }),
  );
}

/** Each call with its number among those of its name in its thread, as strace counts. */
function occurrences(calls: ReadonlyArray<Call>): { readonly call: string; readonly n: number }[] {
  const counts = new Map<string, number>();
  const found = new Map<string, { readonly call: string; readonly n: number }>();
  for (const { thread, call } of calls) {
    const key = `${thread} ${call}`;
    const n = (counts.get(key) ?? 0) + 1;
    counts.set(key, n);
    found.set(`${call} ${n}`, { call, n });
  }
  return [...found.values()];
}

async function stoppedInstance(t: Test): Promise<Instance> {
  const instance = await runningInstance(t, { stopped: true });
  instance.must("postfix", ["check"]);
  return instance;
}

t.test("DUR-02 DUR-03 postdrop dies or fails at every call that matters", NEEDS_STRACE, async (t) => {
  const instance = await stoppedInstance(t);
  const maildrop = join(instance.queue, "maildrop");
  const line = "x".repeat(100);
  const input = Buffer.concat([
    record("A", "rewrite_context=local"),
    record("S", "sender@example.org"),
    record("R", "nobody@localhost"),
    record("M", ""),
    ...Array.from({ length: LINES }, () => record("N", line)),
    record("X", ""),
    record("E", ""),
  ]);
  const calls = ["write", "pwrite64", "rename", "chmod", "fchmod", "fsync", "fdatasync", "sendto"];
  const traced = trace(instance, "postdrop", [], calls, input);
  const file = traced.find(({ call }) => call === "fchmod")?.arguments.split(",", 1)[0] ?? "none";
  const made = traced.map(({ call, arguments: given }) => {
    if (given.includes(PROMISE_SHOWN)) return "answer";
    return call.includes("write") && given.startsWith(`${file},`) ? "content" : call;
  });
  const order = ["content", "fchmod", "fsync", "answer"].map((call) => made.lastIndexOf(call));
  t.notOk(order.includes(-1), made.join(" "));
  t.same(
    order,
    [...order].sort((a, b) => a - b),
    `content, ready mode, sync, answer: ${made.join(" ")}`,
  );
  t.ok(made.indexOf("rename") < (order[1] ?? 0), "the name comes before the ready mode");

  for (const { call, n } of occurrences(traced))
    for (const fault of ["KILL", "EIO", "ENOSPC", "EDQUOT"]) {
      for (const name of readdirSync(maildrop)) rmSync(join(maildrop, name));
      const where = `${fault} at ${call} ${n}`;
      const { hit, status, output } = runWithFault(instance, "postdrop", [], { call, n, fault }, input);
      t.ok(hit, where);
      const files = readdirSync(maildrop);
      const ready = files.filter((name) => (lstatSync(join(maildrop, name)).mode & READY) !== 0);
      const promised = output.includes(PROMISE);
      t.ok(ready.length <= 1, where);
      if (promised) t.equal(ready.length, 1, `${where}: what was promised is there`);
      for (const name of ready) {
        const lines = readFileSync(join(maildrop, name), "latin1").split(line).length - 1;
        t.equal(lines, LINES, `${where}: what is ready is whole`);
      }
      // an answer that nobody heard is no failure of the message
      if (fault !== "KILL")
        t.same(files, promised || call === "write" ? ready : [], `${where}: status ${status}`);
    }
});

const QUEUES = ["maildrop", "incoming", "active", "deferred", "hold", "corrupt"];
const LOGS = ["defer", "bounce", "trace"];
const CALLS = ["rename", "unlink", "chmod", "fchmod", "utimensat", "mkdir", "rmdir"];

interface Found {
  readonly queue: string;
  readonly name: string;
  readonly mode: number;
  readonly inode: number;
  readonly text: string;
}

function filesUnder(instance: Instance, queues: ReadonlyArray<string>): Found[] {
  const visit = (queue: string, folder: string): Found[] =>
    readdirSync(folder).flatMap((name) => {
      const path = join(folder, name);
      const { mode, ino: inode } = lstatSync(path);
      if (name.length === 1) return visit(queue, path);
      return [{ queue, name, mode: mode & 0o7777, inode, text: readFileSync(path, "latin1") }];
    });
  return queues.flatMap((queue) => {
    const folder = join(instance.queue, queue);
    return existsSync(folder) ? visit(queue, folder) : [];
  });
}

/** Of a message or of its log: who it belongs to. */
const markOf = (text: string): string => /mark-\d/.exec(text)?.[0] ?? "none";

/** Each message with its mark: where it is, in which mode, and whether its log has its name. */
function state(instance: Instance): string[] {
  const logs = filesUnder(instance, LOGS);
  return filesUnder(instance, QUEUES)
    .map(({ queue, name, mode, text }) => {
      const own = logs.filter((log) => log.name === name).map((log) => `${log.queue} ${markOf(log.text)}`);
      return `${markOf(text)} ${queue} ${mode.toString(8)} [${own.sort().join(", ")}]`;
    })
    .sort();
}

const marks = (instance: Instance): string[] => state(instance).map((line) => line.slice(0, 6));

interface Case {
  readonly args: ReadonlyArray<string>;
  /** May messages go away? */
  readonly deletes?: boolean;
}
const CASES: ReadonlyArray<Case> = [
  { args: ["-d", "ALL"], deletes: true },
  { args: ["-d", "A00000001"], deletes: true },
  { args: ["-r", "ALL"] },
  { args: ["-r", "A00000001"] },
  { args: ["-h", "ALL"] },
  { args: ["-h", "A00000001"] },
  { args: ["-H", "ALL"] },
  { args: ["-H", "A00000004"] },
  { args: ["-e", "ALL"] },
  { args: ["-f", "ALL"] },
  { args: ["-p"] },
  { args: ["-s"] },
  { args: ["-S"] },
];

t.test("DUR-02 DUR-03 postsuper dies or fails at every call that matters", NEEDS_STRACE, async (t) => {
  const instance = await stoppedInstance(t);
  const template = mkdtempSync(join(tmpdir(), "posthaste-queue-"));
  t.teardown(() => rmSync(template, { recursive: true, force: true }));
  const folders = [...QUEUES, ...LOGS];
  const put = (queue: string, id: string, mark: string): void => {
    const content = queueFile((records) => records.splice(8, 1, ["N", `Subject: ${mark}`]));
    plant(instance, queue, id, content);
  };
  put("deferred", "A00000001", "mark-1");
  put("deferred", "B00000002", "mark-2");
  put("incoming", "A00000003", "mark-3");
  put("hold", "A00000004", "mark-4");
  put("active", "A00000005", "mark-5");
  plant(instance, "defer", "A00000001", Buffer.from("<mark-1>: it waits\n"), 0o600);
  plant(instance, "defer", "B00000002", Buffer.from("<mark-2>: it waits\n"), 0o600);
  spawnSync("cp", ["-a", ...folders.map((queue) => join(instance.queue, queue)), template]);
  /** The queue as it was; each file has another inode than its name says, and with that much to repair. */
  const restore = (): void => {
    for (const queue of folders) {
      for (const name of readdirSync(join(instance.queue, queue)))
        rmSync(join(instance.queue, queue, name), { recursive: true });
    }
    spawnSync("cp", ["-a", ...folders.map((queue) => join(template, queue)), instance.queue]);
  };
  const all = marks(instance);
  t.equal(all.length, 5);
  let faults = 0;
  for (const { args, deletes = false } of CASES) {
    restore();
    instance.must("postsuper", args);
    const wanted = state(instance);
    restore();
    for (const { call, n } of occurrences(trace(instance, "postsuper", args, CALLS)))
      for (const fault of ["KILL", "EIO"]) {
        restore();
        const { hit, status } = runWithFault(instance, "postsuper", args, { call, n, fault });
        const where = `postsuper ${args.join(" ")}, ${fault} at ${call} ${n}, status ${status}`;
        t.ok(hit, where);
        faults++;
        const left = marks(instance);
        if (deletes) t.equal(new Set(left).size, left.length, `${where}: none twice`);
        else t.same(left, all, `${where}: each message is there once`);
        // a log that cannot be removed is no reason to keep the message
        if (!(deletes && fault === "EIO"))
          for (const { text, name } of filesUnder(instance, LOGS))
            t.ok(left.includes(markOf(text)), `${where}: the log ${name} has its message`);
        instance.must("postsuper", args);
        t.same(state(instance), wanted, `${where}: done at the second time`);
      }
  }
  t.comment(`${faults} faults`);
  t.ok(faults > 50);
});
