/** The compiled postdrop against what the reference answered to the same records. */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { encodeRecord, Rec } from "../../../lib/queue/records.ts";

const root = join(import.meta.dirname, "../../..");
const scratch = mkdtempSync(join(tmpdir(), "posthaste-postdrop-"));
t.setTimeout(0);
t.teardown(() => rmSync(scratch, { recursive: true }));
for (const directory of ["etc", "queue", "queue/maildrop", "queue/public"])
  mkdirSync(join(scratch, directory));
const maildrop = join(scratch, "queue/maildrop");
const uid = process.getuid?.() ?? 0;
/** Stands for pickup's socket. */
const pickup = createServer((client) => client.resume()).listen(join(scratch, "queue/public/pickup"));
t.teardown(() => pickup.close());

const program = join(scratch, "program.ts");
writeFileSync(
  program,
  `import { main } from "${root}/cmd/postdrop/main.ts";\nimport { launch } from "${root}/lib/daemon/program.ts";\nawait launch(main);\n`,
);
const postdrop = join(scratch, "postdrop");
const built = spawnSync(
  join(root, "node_modules/bun/bin/bun.exe"),
  ["build", "--compile", "--format=esm", program, "--outfile", postdrop],
  { encoding: "utf8" },
);
if (built.status !== 0) throw new Error(built.stderr);

function configure(extra: string): void {
  writeFileSync(
    join(scratch, "etc/main.cf"),
    `compatibility_level = 3.11\nmyhostname = mail.example.com\nmail_owner = mail\nsetgid_group = games\nqueue_directory = ${scratch}/queue\nmaildrop_world_writable = yes\n${extra}`,
  );
}
configure("");
const env = { PATH: process.env.PATH ?? "", MAIL_CONFIG: join(scratch, "etc") };
const clear = (): void => {
  for (const name of readdirSync(maildrop)) rmSync(join(maildrop, name));
};

interface Case {
  name: string;
  argv: string[];
  stdin: string;
  rc: number;
  stdout: string;
  stderr: string;
}
const mask = (text: string): string =>
  text.replaceAll("uid=1001", `uid=${uid}`).replace(/(queue_id\0)[0-9A-F]+/, "$1ID");

t.test("vectors", async (t) => {
  const cases: Case[] = JSON.parse(readFileSync(join(root, "test/vectors/queue/postdrop.json"), "utf8"));
  await Promise.all(
    cases
      .filter(({ name }) => name !== "c-unauthorized")
      .map(async (c) => {
        const child = spawn(postdrop, c.argv.slice(1), { argv0: c.argv[0], env });
        child.stdin.on("error", () => undefined);
        child.stdin.end(Buffer.from(c.stdin, "latin1"));
        let stdout = "";
        let stderr = "";
        child.stdout.on("data", (data: Buffer) => (stdout += data.toString("latin1")));
        child.stderr.on("data", (data: Buffer) => (stderr += data.toString("latin1")));
        const status = await new Promise((resolve) => child.on("close", resolve));
        t.same(
          { rc: status, stdout: mask(stdout), stderr },
          { rc: c.rc, stdout: mask(c.stdout), stderr: mask(c.stderr) },
          c.name,
        );
      }),
  );
  const left = readdirSync(maildrop).map((name) => statSync(join(maildrop, name)).mode & 0o7777);
  t.same(
    left,
    Array(cases.filter((c) => c.stdout.includes("status\x000")).length).fill(0o744),
    "only complete files stay",
  );
  clear();
});

const message = (sender = "user"): Buffer =>
  Buffer.concat([
    encodeRecord(Rec.FROM, sender),
    encodeRecord(Rec.RECIPIENT, "root"),
    encodeRecord(Rec.CONTENT),
    encodeRecord(Rec.NORMAL, "x".repeat(2000)),
    encodeRecord(Rec.EXTRACTED),
    encodeRecord(Rec.END),
  ]);
const run = (input: Buffer) => {
  const done = spawnSync(postdrop, ["-r"], { input, env });
  return {
    status: done.status,
    stdout: done.stdout.toString("latin1"),
    stderr: done.stderr.toString("latin1"),
  };
};

t.test("limits and permissions", async (t) => {
  configure("message_size_limit = 1000");
  t.match(run(message()), {
    status: 4,
    stdout: /status\x004\x00/,
    stderr: `postdrop: warning: uid=${uid}: File too large\n`,
  });
  const login = spawnSync("id", ["-un"], { encoding: "utf8" }).stdout.trim();
  configure(`local_login_sender_maps = inline:{{${login}=@example.com, "<>" ${login}}}`);
  t.match(run(message("a@example.com")), { status: 0 });
  t.match(run(message("a@example.org")), {
    status: 0,
    stdout: /status\x00512\x00reason\x00not authorized to use sender='a@example.org'\x00/,
  });
  configure("authorized_submit_users = !static:all, nobody-else");
  t.match(run(message()), {
    status: 1,
    stdout: "",
    stderr: `postdrop: fatal: User ${login}(${uid}) is not allowed to submit mail\n`,
  });
  configure("");
  t.equal(readdirSync(maildrop).length, 1);
  clear();
});

t.test("records that come slowly are waited for, and a signal is seen meanwhile", async (t) => {
  const pause = (milliseconds: number): Promise<void> =>
    new Promise((resolve) => setTimeout(resolve, milliseconds));
  const records = message();
  const slow = spawn(postdrop, ["-r"], { env });
  await new Promise((resolve) => slow.stdout.once("data", resolve));
  for (const part of [records.subarray(0, 3), records.subarray(3, 40), records.subarray(40)]) {
    await pause(600);
    slow.stdin.write(part);
  }
  t.equal(await new Promise((resolve) => slow.on("close", resolve)), 0);
  t.equal(readdirSync(maildrop).length, 1);
  const stopped = spawn(postdrop, ["-r"], { env });
  await new Promise((resolve) => stopped.stdout.once("data", resolve));
  await pause(600);
  stopped.kill("SIGTERM");
  t.equal(await new Promise((resolve) => stopped.on("close", resolve)), 15);
  t.equal(readdirSync(maildrop).length, 1);
  clear();
});

t.test("QUE-08 a signal leaves no file; the parent's ignored signals stay ignored", async (t) => {
  for (const [signal, number] of [
    ["SIGTERM", 15],
    ["SIGINT", 2],
    ["SIGHUP", 1],
  ] as const) {
    const child = spawn(postdrop, ["-r"], { env });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    t.equal(readdirSync(maildrop).length, 1);
    child.kill(signal);
    t.equal(await new Promise((resolve) => child.on("close", resolve)), number);
    t.equal(readdirSync(maildrop).length, 0);
  }
  const child = spawn("nohup", [postdrop, "-r"], { env, stdio: ["pipe", "pipe", "ignore"] });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  child.kill("SIGHUP");
  child.stdin.end(message());
  t.equal(await new Promise((resolve) => child.on("close", resolve)), 0);
  t.equal(readdirSync(maildrop).length, 1);
});
