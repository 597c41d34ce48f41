/** JS-25: with many deliveries under way in one process, each call on a user's files is made with that user's rights, on the thread that makes it. */
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { daemons, NEEDS_ROOT, queueFiles, runningInstance, until } from "../system/support/harness.ts";
import { NEEDS_STRACE } from "../system/support/traced_programs.ts";

t.setTimeout(240_000);

const USERS = Array.from({ length: 20 }, (_, index) => index);
const MESSAGES = 10;
const uidOf = (user: number): number => 70_001 + user;
/** Two groups, in turns that are not those of mailbox and Maildir. */
const gidOf = (user: number): number => 70_000 + (user % 4 < 2 ? 0 : 100);
const SKIP = "skip" in NEEDS_ROOT ? NEEDS_ROOT : NEEDS_STRACE;

/** Half of the users have a Maildir, half a mailbox file. */
const MAIN_CF = (directory: string): string => `sandbox = off
virtual_mailbox_domains = users.test
virtual_mailbox_base = ${directory}/virtual
virtual_mailbox_maps = inline:{ ${USERS.map((user) => `u${user}@users.test=u${user}/${user % 2 === 0 ? "dir/" : "box"}`).join(", ")} }
virtual_uid_maps = inline:{ ${USERS.map((user) => `u${user}@users.test=${uidOf(user)}`).join(", ")} }
virtual_gid_maps = inline:{ ${USERS.map((user) => `u${user}@users.test=${gidOf(user)}`).join(", ")} }
virtual_destination_concurrency_limit = 20
initial_destination_concurrency = 20
`;

interface Call {
  readonly user: number;
  readonly uid: number;
  readonly gid: number;
  readonly groups: string;
  readonly call: string;
}

/** Calls on users' files, with the effective ids and the groups of their thread at that time. */
function callsOf(trace: string): Call[] {
  const ids = new Map<string, number>();
  const groupIds = new Map<string, number>();
  const groups = new Map<string, string>();
  const calls: Call[] = [];
  const unfinished = new Map<string, string>();
  for (const line of trace.split("\n")) {
    const [, thread = "", text = ""] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (text.endsWith("<unfinished ...>")) unfinished.set(thread, text);
    const whole = /^<\.\.\. \w+ resumed>/.test(text) ? `${unfinished.get(thread)}${text}` : text;
    const [, uid] = /^setresuid\(-1, (\d+), -1.* = 0$/.exec(whole) ?? [];
    if (uid !== undefined) ids.set(thread, Number(uid));
    const [, gid] = /^setresgid\(-1, (\d+), -1.* = 0$/.exec(whole) ?? [];
    if (gid !== undefined) groupIds.set(thread, Number(gid));
    const [, list] = /^setgroups\(\d+, \[(.*)\]\) += 0$/.exec(whole) ?? [];
    if (list !== undefined) groups.set(thread, list);
    const [, user] =
      /^(?:openat|link|linkat|unlink|unlinkat|mkdir|mkdirat)\(.*\/virtual\/u(\d+)\//.exec(text) ?? [];
    if (user !== undefined)
      calls.push({
        user: Number(user),
        uid: ids.get(thread) ?? 0,
        gid: groupIds.get(thread) ?? 0,
        groups: groups.get(thread) ?? "",
        call: text,
      });
  }
  return calls;
}

t.test("JS-25 files of twenty users at once", { ...SKIP }, async (t) => {
  const instance = await runningInstance(t, { mainCf: MAIN_CF });
  const folder = join(instance.directory, "virtual");
  mkdirSync(folder);
  for (const user of USERS) {
    const home = join(folder, `u${user}`);
    mkdirSync(home, { mode: 0o700 });
    execFileSync("chown", [`${uidOf(user)}:${gidOf(user)}`, home]);
  }
  const send = (user: number): Promise<string> =>
    sendMail(instance.smtpPort, "a@example.org", `u${user}@users.test`, `Subject: ${user}\r\n\r\nx\r\n`);
  await send(0);
  const [pid] = await until(
    "virtual",
    () => daemons(instance, "virtual").length === 1 && daemons(instance, "virtual"),
  );
  const output = join(instance.directory, "trace");
  const tracer = spawn(
    "strace",
    [
      "-f",
      "-o",
      output,
      "-p",
      String(pid),
      "-e",
      "trace=setresuid,setresgid,setgroups,openat,link,linkat,unlink,unlinkat,mkdir,mkdirat",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  t.teardown(() => tracer.kill("SIGKILL"));
  const ended = new Promise<void>((resolve) => tracer.on("close", () => resolve()));
  await new Promise<void>((resolve) => tracer.stderr.once("data", () => resolve()));
  await Promise.all(
    USERS.map(async (user) => {
      for (let sent = user === 0 ? 1 : 0; sent < MESSAGES; sent++) await send(user);
    }),
  );
  await until("an empty queue", () =>
    ["incoming", "active", "deferred"].every((name) => queueFiles(instance, name).length === 0),
  );
  tracer.kill("SIGINT");
  await ended;
  t.equal(daemons(instance, "virtual").length, 1, "one process for all of them");
  const calls = callsOf(readFileSync(output, "latin1"));
  t.same(
    calls.filter(({ user, uid, gid }) => uid !== uidOf(user) || gid !== gidOf(user)),
    [],
  );
  // the first delivery was before the trace: what it left behind is replaced by the first of the other group
  const other = calls.findIndex(({ user }) => gidOf(user) !== gidOf(0));
  t.same(
    calls.slice(other).filter(({ user, groups }) => groups !== String(gidOf(user))),
    [],
    "the groups of the one whose file it is, and no others",
  );
  t.same(new Set(calls.map(({ user }) => user)), new Set(USERS));
  t.ok(calls.length > 2 * USERS.length * MESSAGES, `${calls.length} calls`);
  for (const user of USERS) {
    const home = join(folder, `u${user}`);
    if (user % 2 === 0) {
      const files = readdirSync(join(home, "dir/new")).map((name) => join(home, "dir/new", name));
      t.equal(files.length, MESSAGES);
      t.same(new Set(files.map((path) => statSync(path).uid)), new Set([uidOf(user)]));
    } else {
      t.equal(statSync(join(home, "box")).uid, uidOf(user));
      t.equal(readFileSync(join(home, "box"), "latin1").match(/^From /gm)?.length, MESSAGES);
    }
  }
});
