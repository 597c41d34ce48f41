/**
 * 10,000 messages by SMTP (and some by sendmail) to another server, to mailboxes, and to a dead destination, while every daemon in turn dies by
 * SIGKILL, twenty times each: whatever was acknowledged arrives. Duplicates, which a crash between delivery and its mark makes, are counted.
 */
import { execFile } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { runningInstance, until } from "./support/harness.ts";
import { isQueueEmpty, Kills, QUICK_RETRIES } from "./support/kills.ts";
import { CountingSink, submitLoad } from "./support/load.ts";

const VICTIMS = [
  "smtpd",
  "cleanup",
  "trivial-rewrite",
  "qmgr",
  "smtp",
  "local",
  "virtual",
  "bounce",
  "error",
  "proxymap",
  "pickup",
  "postlogd",
] as const;
const KILLS = 20;
const MESSAGES = 10_000;
const SUBMISSIONS = 100;

const owner =
  process.getuid?.() === 0
    ? { uid: 65534, gid: 65534 }
    : { uid: process.getuid?.(), gid: process.getgid?.() };

t.test("DUR-02 nothing acknowledged is lost when every daemon is killed twenty times", async (t) => {
  const sink = new CountingSink();
  const port = await sink.listen();
  t.teardown(() => sink.close());
  const instance = await runningInstance(t, {
    // a message whose agent outlived the queue manager is looked at again a minute later, when the queue manager is woken
    masterCf: "qmgr unix n - n 5 1 qmgr\n",
    mainCf: (directory) => `
relayhost = [127.0.0.1]:${port}
${QUICK_RETRIES}ipc_timeout = 20s
transport_maps = inline:{ { dead.test = smtp:[127.0.0.1]:1 } }
virtual_mailbox_domains = vbox.test
virtual_mailbox_base = ${directory}/mail
virtual_mailbox_maps = inline:{ { you@vbox.test = vbox } }
virtual_uid_maps = static:${owner.uid}
virtual_gid_maps = static:${owner.gid}
virtual_minimum_uid = 1
mailbox_size_limit = 0
# a killed holder leaves its dot lock behind for stale_lock_time, as in Postfix
mailbox_delivery_lock = fcntl
virtual_mailbox_lock = fcntl
virtual_mailbox_limit = 0
`,
  });
  const { recipient } = instance.who;
  const kills = new Kills(instance, VICTIMS, KILLS);
  const killing = kills.run();
  const submissions = submitByCommand(instance, `${recipient}@localhost`);

  const accepted = new Set<string>();
  let failures = 0;
  for (let round = 0; round === 0 || !kills.done; round++) {
    const result = await submitLoad({
      port: instance.smtpPort,
      messages: round === 0 ? MESSAGES : 500,
      sessions: 20,
      size: 4096,
      from: "sender@example.org",
      to: (index) => destination(index, recipient),
      perConnection: 20,
      failureLimit: 20_000,
      prefix: `r${round}.`,
    });
    failures += result.failures;
    for (const id of result.accepted) accepted.add(id);
  }
  await killing;
  for (const id of await submissions) accepted.add(id);

  // the dead destination comes back, and what was deferred for it goes out as well
  const file = join(instance.config, "main.cf");
  writeFileSync(file, readFileSync(file, "latin1").replace(/^transport_maps.*$/m, ""));
  instance.must("postfix", ["reload"]);
  await until("an empty queue", () => isQueueEmpty(instance), 240);

  const arrivals = new Map(sink.arrivals);
  for (const mailbox of [recipient, "vbox"])
    for (const id of mailboxIds(instance, mailbox)) arrivals.set(id, (arrivals.get(id) ?? 0) + 1);
  t.same(
    [...accepted].filter((id) => !arrivals.has(id)),
    [],
    "nothing acknowledged was lost",
  );
  t.same(
    [...kills.counts.values()],
    VICTIMS.map(() => KILLS),
    "every daemon was killed twenty times",
  );
  const duplicates = [...arrivals.values()].reduce((sum, count) => sum + count - 1, 0);
  t.comment(
    `${accepted.size} accepted, ${failures} refused or broken on the way in, ${duplicates} duplicates`,
  );
});

function destination(index: number, recipient: string): string {
  if (index % 20 === 0) return `user${index % 10}@dead.test`;
  if (index % 10 === 1) return `${recipient}@localhost`;
  if (index % 10 === 2) return "you@vbox.test";
  return `user${index % 50}@elsewhere.test`;
}

/** Submits by the sendmail command; the identifiers of what it took. */
async function submitByCommand(instance: Instance, to: string): Promise<string[]> {
  const taken: string[] = [];
  for (let index = 0; index < SUBMISSIONS; index++) {
    const id = `command.${index}`;
    const ok = await new Promise<boolean>((resolve) => {
      const child = execFile(
        instance.program("sendmail"),
        ["-f", "sender@example.org", to],
        { env: instance.environment },
        (error) => resolve(error === null),
      );
      child.stdin?.end(`Subject: by command\nX-Load-Id: ${id}\n\nbody\n`);
    });
    if (ok) taken.push(id);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return taken;
}

function mailboxIds(instance: Instance, name: string): string[] {
  const path = join(instance.mail, name);
  if (!existsSync(path)) return [];
  return [...readFileSync(path, "latin1").matchAll(/^X-Load-Id: (\S+)$/gm)].map((match) => match[1] ?? "");
}
