/** Many deliveries at once by one process: mailboxes stay whole, and locks of others are respected (delivery.md 3.3, 4.6). */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { daemons, NEEDS_ROOT, queueFiles, runningInstance, troubles, until } from "./support/harness.ts";

t.setTimeout(240_000);

const NOBODY = 65534;
const MAIN_CF = (directory: string): string => `virtual_mailbox_domains = users.test
virtual_mailbox_base = ${directory}/virtual
virtual_mailbox_maps = inline:{ box@users.test=box, dir@users.test=dir/ }
virtual_uid_maps = static:${NOBODY}
virtual_gid_maps = static:${NOBODY}
virtual_mailbox_lock = fcntl
virtual_destination_recipient_limit = 1
virtual_destination_concurrency_limit = 20
initial_destination_concurrency = 20
deliver_lock_delay = 1s
`;
const body = (number: number): string =>
  `Subject: ${number}\r\n\r\n${`${number} `.repeat(20)}\r\n${"x".repeat(70)}\r\n`;

async function mailSystem(t: Parameters<typeof runningInstance>[0]) {
  const instance = await runningInstance(t, { mainCf: MAIN_CF });
  const folder = join(instance.directory, "virtual");
  mkdirSync(folder);
  execFileSync("chown", [`${NOBODY}:${NOBODY}`, folder]);
  const send = (to: string, count: number): Promise<unknown> =>
    Promise.all(
      Array.from({ length: count }, (_, number) =>
        sendMail(instance.smtpPort, "a@example.org", to, body(number)),
      ),
    );
  const idle = (): Promise<unknown> =>
    until("an empty queue", () =>
      ["incoming", "active", "deferred"].every((name) => queueFiles(instance, name).length === 0),
    );
  return { instance, folder, send, idle };
}

/** Numbers of the messages of a mailbox; throws where one is not whole. */
function numbers(mailbox: string): number[] {
  const messages = mailbox.split(/^From a@example\.org {2}.*\n/m);
  if (messages.shift() !== "") throw new Error("something before the first message");
  return messages.map((message) => {
    const number = Number(/^Subject: (\d+)$/m.exec(message)?.[1] ?? Number.NaN);
    if (!message.endsWith(`\n\n${`${number} `.repeat(20)}\n${"x".repeat(70)}\n\n`))
      throw new Error(`a broken message: ${message}`);
    return number;
  });
}

const ALL = Array.from({ length: 40 }, (_, number) => number);
const sorted = (found: ReadonlyArray<number>): number[] => [...found].sort((a, b) => a - b);

t.test("forty messages to a mailbox and forty to a Maildir, by one process", NEEDS_ROOT, async (t) => {
  const { instance, folder, send, idle } = await mailSystem(t);
  await Promise.all([send("box@users.test", 40), send("dir@users.test", 40)]);
  await idle();
  t.equal(daemons(instance, "virtual").length, 1);
  t.same(sorted(numbers(readFileSync(join(folder, "box"), "latin1"))), ALL);
  const maildir = readdirSync(join(folder, "dir/new"));
  const subjects = maildir.map((name) =>
    Number(/^Subject: (\d+)$/m.exec(readFileSync(join(folder, "dir/new", name), "latin1"))?.[1]),
  );
  t.same(sorted(subjects), ALL);
  t.same(readdirSync(join(folder, "dir/tmp")), []);
  t.same(troubles(instance), []);
});

t.test("a lock that another program holds keeps all of them out, until it is gone", NEEDS_ROOT, async (t) => {
  const { instance, folder, send, idle } = await mailSystem(t);
  const box = join(folder, "box");
  writeFileSync(box, "", { mode: 0o600 });
  execFileSync("chown", [`${NOBODY}:${NOBODY}`, box]);
  // struct flock of fcntl(2), as a POSIX lock of that process
  const holder = spawn(
    "perl",
    [
      "-e",
      'use Fcntl; open(F, "+<", $ARGV[0]) or die; my $lock = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLK, $lock) or die; $| = 1; print "held\\n"; <STDIN>',
      box,
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  t.teardown(() => holder.kill());
  await new Promise((resolve) => holder.stdout.once("data", resolve));
  await send("box@users.test", 10);
  await send("dir@users.test", 1);
  await until(
    "the other mailbox",
    () => existsSync(join(folder, "dir/new")) && readdirSync(join(folder, "dir/new")).length === 1,
  );
  t.equal(readFileSync(box, "latin1"), "");
  holder.stdin.end();
  await idle();
  t.equal(numbers(readFileSync(box, "latin1")).length, 10);
  t.same(troubles(instance), []);
});
