/** What is different at a terminal: long work says how far it has come, and messages have the tag of the log. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { isAlive, masterPid, runningInstance } from "./support/harness.ts";
import { plant, queueFile } from "./support/queue_damage.ts";

t.setTimeout(120_000);

const MESSAGES = 2500;

async function bigQueue(t: Test): Promise<Instance> {
  const instance = await runningInstance(t, { stopped: true });
  instance.must("postfix", ["check"]);
  const content = queueFile();
  for (let index = 0; index < MESSAGES; index++)
    plant(instance, "hold", (0x1234_5600_0000 + index).toString(16).toUpperCase(), content);
  return instance;
}

/** Runs a command at a terminal of its own; what appears there. */
function atTerminal(
  instance: Instance,
  name: string,
  ...args: string[]
): { status: number | null; screen: string } {
  const { status, stdout } = spawnSync(
    "script",
    ["-qec", [instance.program(name), ...args].join(" "), "/dev/null"],
    {
      encoding: "latin1",
      env: instance.environment,
    },
  );
  return { status, screen: stdout };
}

t.test("postsuper", async (t) => {
  const instance = await bigQueue(t);
  const piped = instance.run("postsuper", ["-s", "hold"]);
  t.equal(piped.status, 0);
  // the names of planted files do not fit
  t.equal(
    piped.stderr.toString(),
    `postsuper: Renamed to match inode number: ${MESSAGES} messages\npostsuper: warning: QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS\n`,
  );
  t.equal(piped.stdout.length, 0);
  const { status, screen } = atTerminal(instance, "postsuper", "-s", "hold");
  t.equal(status, 0);
  t.match(screen, /^\r\x1b\[Khold: [12],\d{3} files/);
  t.ok(screen.endsWith("\r\x1b[K"), "the line disappears");
  const removed = atTerminal(instance, "postsuper", "-d", "ALL", "hold");
  t.match(removed.screen, /\r\x1b\[Khold: 1,000 files.*\r\x1b\[Kpostsuper: Deleted: 2500 messages\r\n$/s);
});

t.test("postqueue -f", async (t) => {
  const instance = await runningInstance(t);
  const piped = instance.run("postqueue", ["-f"]);
  t.same([piped.status, piped.stdout.length, piped.stderr.length], [0, 0, 0]);
  t.same(atTerminal(instance, "postqueue", "-f"), { status: 0, screen: "" }, "it does not take long");
  // a queue manager that is busy otherwise
  const manager = spawnSync("pgrep", ["-g", String(masterPid(instance)), "-x", "qmgr"], { encoding: "utf8" });
  const pid = Number(manager.stdout);
  t.ok(isAlive(pid));
  process.kill(pid, "SIGSTOP");
  t.teardown(() => {
    if (isAlive(pid)) process.kill(pid, "SIGCONT");
  });
  const { status, screen } = atTerminal(instance, "postqueue", "-f");
  process.kill(pid, "SIGCONT");
  t.equal(status, 0);
  t.equal(screen, "\r\x1b[Kwaiting until the queue manager has taken the request\r\x1b[K");
});

t.test("postmap of many lines", async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  const source = join(instance.config, "many");
  const lines = Array.from({ length: 100_000 }, (_, index) => `user${index}@example.com dest${index}\n`);
  writeFileSync(source, lines.join(""));
  const piped = instance.run("postmap", [`lmdb:${source}`]);
  t.same([piped.status, piped.stdout.length, piped.stderr.length], [0, 0, 0]);
  const { status, screen } = atTerminal(instance, "postmap", `lmdb:${source}`);
  t.equal(status, 0);
  t.match(screen, /\r\x1b\[K\S+\/many: \d{1,3},\d{3} lines/);
  t.ok(screen.endsWith("\r\x1b[K"), "the line disappears");
});

t.test("on a terminal messages have the tag of the log, elsewhere the program's name", async (t) => {
  const instance = await runningInstance(t, { stopped: true });
  t.equal(instance.run("postlog", ["-t", "mytag", "hello"]).stderr.toString(), "postlog: hello\n");
  t.equal(atTerminal(instance, "postlog", "-t", "mytag", "hello").screen, "mytag: hello\r\n");
  t.equal(
    atTerminal(instance, "postlog", "-p", "warn", "hello").screen,
    "postfix/postlog: warning: hello\r\n",
  );
  t.same(atTerminal(instance, "postfix", "status"), {
    status: 1,
    screen: "postfix/postfix-script: the Postfix mail system is not running\r\n",
  });
});
