/** The compiled postsuper on a queue of its own. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import t from "tap";

const root = join(import.meta.dirname, "../../..");
const scratch = mkdtempSync(join(tmpdir(), "posthaste-postsuper-"));
chmodSync(scratch, 0o755);
t.setTimeout(0);
t.teardown(() => rmSync(scratch, { recursive: true }));
const asRoot = process.getuid?.() === 0;
const id = (flag: string, name?: string): string =>
  spawnSync("id", name === undefined ? [flag] : [flag, name], { encoding: "utf8" }).stdout.trim();
const owner = asRoot ? "daemon" : id("-un");
const uid = Number(id("-u", owner));
const gid = Number(id("-g", owner));
const queue = join(scratch, "queue");
mkdirSync(join(scratch, "etc"));
writeFileSync(
  join(scratch, "etc/main.cf"),
  `compatibility_level = 3.11\nmyhostname = mail.example.com\nmail_owner = ${owner}\nsetgid_group = ${asRoot ? "mail" : id("-gn")}\nqueue_directory = ${queue}\n`,
);
const program = join(scratch, "program.ts");
writeFileSync(
  program,
  `import { main } from "${root}/cmd/postsuper/main.ts";\nimport { launch } from "${root}/lib/daemon/program.ts";\nawait launch(main);\n`,
);
const postsuper = join(scratch, "postsuper");
const built = spawnSync(
  join(root, "node_modules/bun/bin/bun.exe"),
  ["build", "--compile", "--format=esm", program, "--outfile", postsuper],
  { encoding: "utf8" },
);
if (built.status !== 0) throw new Error(built.stderr);

function freshQueue(): void {
  rmSync(queue, { recursive: true, force: true });
  for (const name of [
    "",
    "maildrop",
    "incoming",
    "active",
    "deferred",
    "hold",
    "bounce",
    "defer",
    "trace",
    "flush",
  ]) {
    mkdirSync(join(queue, name), { mode: 0o700 });
    chownSync(join(queue, name), uid, gid);
  }
  chmodSync(queue, 0o755);
}
function put(path: string, mode = 0o700): string {
  const full = join(queue, path);
  for (let directory = dirname(full); !existsSync(directory); directory = dirname(full)) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    chownSync(directory, uid, gid);
  }
  writeFileSync(full, path);
  chmodSync(full, mode);
  chownSync(full, uid, gid);
  return full;
}
const run = (...args: string[]): string[] => runWith("", ...args);
function runWith(input: string, ...args: string[]): string[] {
  const done = spawnSync(postsuper, args, {
    input,
    env: { MAIL_CONFIG: join(scratch, "etc"), PATH: "/usr/bin:/bin" },
  });
  return done.stderr
    .toString()
    .trimEnd()
    .split("\n")
    .concat(done.status === 0 ? [] : [`status ${done.status}`]);
}
const files = (name: string): string[] =>
  readdirSync(join(queue, name), { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(queue.length + 1))
    .sort();

t.test("single messages", async (t) => {
  freshQueue();
  put("deferred/A/AAAAA1");
  put("defer/A/AAAAA1", 0o600);
  put("bounce/AAAAA1", 0o600);
  put("active/BBBBB2");
  utimesSync(put("deferred/C/CCCCC3"), 2_000_000_000, 2_000_000_000);
  t.same(run("-h", "BBBBB2", "-h", "CCCCC3"), [
    "postsuper: BBBBB2: placed on hold",
    "postsuper: CCCCC3: placed on hold",
    "postsuper: Placed on hold: 2 messages",
  ]);
  t.same(files("hold"), ["hold/BBBBB2", "hold/CCCCC3"]);
  t.same(run("-f", "CCCCC3"), [
    "postsuper: CCCCC3: expired",
    "postsuper: CCCCC3: released from hold",
    "postsuper: Force-expired: 1 message",
    "postsuper: Released from hold: 1 message",
  ]);
  const released = statSync(join(queue, "deferred/C/CCCCC3"));
  t.equal(released.mode & 0o777, 0o710);
  t.equal(released.mtimeMs, 2_000_000_000_000);
  t.same(run("-e", "CCCCC3"), ["postsuper: Force-expired: 0 messages"]);
  t.same(run("-r", "CCCCC3"), ["postsuper: CCCCC3: requeued", "postsuper: Requeued: 1 message"]);
  t.ok(Date.now() - statSync(join(queue, "maildrop/CCCCC3")).mtimeMs < 60_000);
  t.same(runWith("AAAAA1\n../x\nNOSUCH1\n", "-d", "-"), [
    "postsuper: AAAAA1: removed",
    "postsuper: warning: invalid mail queue id: ../x",
    "postsuper: Deleted: 1 message",
  ]);
  t.same(files(""), ["hold/BBBBB2", "maildrop/CCCCC3"]);
  t.same(run("nosuch"), ["postsuper: fatal: invalid directory name: nosuch", "status 1"]);
});

t.test("everything", async (t) => {
  freshQueue();
  for (const name of [
    "deferred/A/AAAAA1",
    "active/BBBBB2",
    "incoming/CCCCC3",
    "hold/DDDDD4",
    "maildrop/EEEEE5",
  ])
    put(name);
  put("incoming/123.456", 0o600);
  put("defer/A/AAAAA1", 0o600);
  put("flush/example_com", 0o600);
  t.same(run("-h", "ALL"), ["postsuper: Placed on hold: 3 messages"]);
  t.same(files("hold"), ["hold/AAAAA1", "hold/BBBBB2", "hold/CCCCC3", "hold/DDDDD4"]);
  t.same(run("-H", "ALL", "hold"), ["postsuper: Released from hold: 4 messages"]);
  t.same(run("-r", "ALL", "deferred"), ["postsuper: Requeued: 4 messages"]);
  t.same(files("deferred"), []);
  t.same(run("-d", "ALL"), ["postsuper: Deleted: 5 messages"]);
  t.same(files(""), []);
});

t.test("repair", async (t) => {
  freshQueue();
  const old = Date.now() / 1000 - 8 * 86_400;
  utimesSync(put("incoming/123.456", 0o600), old, old);
  put("incoming/234.567", 0o600);
  put("hold/x.tmp");
  symlinkSync("/etc/passwd", join(queue, "hold/LINK"));
  const misnamed = put("hold/ABCDE1234");
  const inode = statSync(misnamed).ino;
  const short = `ABCDE${inode.toString(16).toUpperCase()}`;
  put("defer/A/ABCDE1234", 0o600);
  put("trace/ABCDE1234", 0o600);
  const long = statSync(put("hold/4jXMGx1NSQzJfhj")).ino;
  const misplaced = put("hold/0/placeholder");
  const wanted = `00000${statSync(misplaced).ino.toString(16).toUpperCase()}`;
  linkSync(misplaced, join(queue, `hold/0/${wanted}`));
  rmSync(misplaced);
  mkdirSync(join(queue, "hold/nonsense"));
  t.same(run("-h", "ABCDE1234", "-s").slice(-2), [
    "postsuper: fatal: CHECK YOUR QUEUE IDS AND RE-ISSUE THE COMMAND",
    "status 1",
  ]);
  const lines = run();
  t.ok(lines.includes("postsuper: warning: bogus file name: hold/x.tmp"));
  t.same(
    files(""),
    [
      `defer/A/${short}`,
      `hold/2FD76${long.toString(16).toUpperCase()}`,
      `hold/${short}`,
      "hold/x.tmp",
      `hold/${wanted}`,
      "incoming/234.567",
      `trace/${short}`,
    ].sort(),
  );
  t.notOk(existsSync(join(queue, "hold/0")));
  t.notOk(existsSync(join(queue, "hold/nonsense")));
});

t.test("QMG-08 names that collide with wanted names lose nothing", async (t) => {
  freshQueue();
  // each file has the name that the next one should have
  const inodes = Array.from({ length: 50 }, (_, n) => statSync(put(`hold/tmp${n}`)).ino);
  inodes.forEach((_, n) => {
    const next = inodes[(n + 1) % inodes.length] ?? 0;
    spawnSync("mv", [
      join(queue, `hold/tmp${n}`),
      join(queue, `hold/00000${next.toString(16).toUpperCase()}`),
    ]);
  });
  t.equal(files("hold").length, 50);
  t.match(run("-s"), ["postsuper: Renamed to match inode number: 50 messages", /WERE CHANGED/]);
  t.equal(files("hold").length, 50);
  for (const inode of inodes)
    t.equal(statSync(join(queue, `hold/00000${inode.toString(16).toUpperCase()}`)).ino, inode);
});
