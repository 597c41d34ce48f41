/** postcat(1) and postsuper(1) beside real ones: the same queue and arguments give the same output, status and queue. */
import { spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import t from "tap";
import { PROGRAMS, ROOT } from "../system/support/harness.ts";
import { queueFile } from "../system/support/queue_damage.ts";
import { reference } from "./support/reference.ts";

t.setTimeout(120_000);
const real = reference();
const skip = "missing" in real ? real.missing : false;
const scratch = mkdtempSync(join(tmpdir(), "posthaste-queue-tools-"));
chmodSync(scratch, 0o755);
t.teardown(() => rmSync(scratch, { recursive: true, force: true }));
const FILES = join(ROOT, "test/vectors/queue/files");

/** A configuration with a queue of its own. */
function place(name: string): { config: string; queue: string } {
  const config = join(scratch, `${name}.config`);
  const queue = join(scratch, `${name}.queue`);
  mkdirSync(config);
  mkdirSync(queue);
  writeFileSync(
    join(config, "main.cf"),
    `compatibility_level = 3.11\nqueue_directory = ${queue}\nmail_owner = daemon\nsetgid_group = mail\nmaillog_file =\ninet_protocols = ipv4\n`,
  );
  utimesSync(join(config, "main.cf"), 1_700_000_000, 1_700_000_000);
  return { config, queue };
}

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string, config: string, args: ReadonlyArray<string>, input = ""): Promise<Outcome> {
  // the time zone of nobody
  const env = { PATH: "/usr/bin:/bin", MAIL_CONFIG: config, TZ: "UTC" };
  const child = spawn(program, [...args], { env, cwd: FILES });
  const heard = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const)
    child[name].setEncoding("latin1").on("data", (text: string) => (heard[name] += text));
  child.stdin.on("error", () => undefined).end(input);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) =>
      resolve({
        status,
        stdout: heard.stdout,
        stderr: heard.stderr.replaceAll(program, program.split("/").at(-1) ?? ""),
      }),
    );
  });
}

/** Most of the time is the second after a fatal error. */
async function inParallel<T>(
  items: ReadonlyArray<T>,
  work: (item: T, worker: number) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  const worker = async (number: number): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item, number);
  };
  await Promise.all([0, 1, 2, 3].map(worker));
}

t.test("postcat: every option on every kind of queue file", { skip }, async (t) => {
  if ("missing" in real) return;
  const { config } = place("postcat");
  const files = readdirSync(FILES).filter(
    // a size of -1, which sendmail -O writes, ends the real one where it looks for the body
    (name) => name.endsWith(".qf") && name !== "maildrop_sendopts_nullsender.qf",
  );
  t.ok(files.length > 10);
  const own = join(PROGRAMS.multicall, "sbin/postcat");
  const theirs = join(real.sbin, "postcat");
  const options = [
    [],
    ["-b"],
    ["-e"],
    ["-h"],
    ["-bh"],
    ["-d"],
    ["-f"],
    ["-o"],
    ["-r"],
    ["-v"],
    ["-dov"],
    ["-efhb"],
    ["-s", "97"],
    ["-ro", "-s", "0"],
  ];
  const wrong = [
    ["-Z"],
    ["-s", "x", files[0] ?? ""],
    ["-q", "nosuch"],
    ["-q", "ABCDEF1"],
    ["-q", "../x"],
    ["/nonexistent"],
    ["-s", "999999", files[0] ?? ""],
  ];
  await inParallel([...options.map((option) => [...option, ...files]), ...wrong], async (args) => {
    const [ours, others] = await Promise.all([run(own, config, args), run(theirs, config, args)]);
    // what -v says of the inside is anybody's
    const stderr = /^-\w*v/.test(args[0] ?? "") ? ours.stderr : others.stderr;
    t.same(ours, { ...others, stderr }, args.slice(0, 4).join(" "));
  });
  const input = "T\x0c1795340000 1";
  t.same(await run(own, config, [], input), await run(theirs, config, [], input), "standard input");
});

const DIRECTORIES = [
  "active",
  "bounce",
  "corrupt",
  "defer",
  "deferred",
  "flush",
  "hold",
  "incoming",
  "maildrop",
  "saved",
  "trace",
];

/** The same queue again and again: messages by queue, a log each. */
function fill(queue: string): void {
  const [uid, gid] = [1, 1];
  for (const name of DIRECTORIES) {
    mkdirSync(join(queue, name));
    chownSync(join(queue, name), uid, gid);
    chmodSync(join(queue, name), 0o700);
  }
  const put = (path: string, mode: number): void => {
    const folder = join(queue, path, "..");
    mkdirSync(folder, { recursive: true });
    chownSync(folder, uid, gid);
    writeFileSync(join(queue, path), queueFile());
    chownSync(join(queue, path), uid, gid);
    chmodSync(join(queue, path), mode);
  };
  for (const [index, path] of [
    "incoming/A0000001",
    "active/A0000002",
    "deferred/A/A0000003",
    "hold/A0000004",
    "maildrop/A0000005",
    "deferred/B/B0000006",
    "hold/B0000007",
  ].entries()) {
    put(path, 0o700);
    const id = path.split("/").at(-1) ?? "";
    if (index % 2 === 0) put(`defer/${id.charAt(0)}/${id}`, 0o600);
  }
  put("incoming/C0000008", 0o600);
  put("hold/D0000009", 0o710);
}

/** Every file with its mode; of hash directories only those in use. */
function listing(queue: string): string[] {
  const found: string[] = [];
  const walk = (folder: string): void => {
    for (const name of readdirSync(join(queue, folder))) {
      const path = join(folder, name);
      if (lstatSync(join(queue, path)).isDirectory()) walk(path);
      else found.push(`${path} ${(statSync(join(queue, path)).mode & 0o7777).toString(8)}`);
    }
  };
  walk("");
  return found.sort();
}

t.test("postsuper: every action, by ID, ALL and standard input", { skip }, async (t) => {
  if ("missing" in real) return;
  const stock = join(scratch, "stock");
  mkdirSync(stock);
  fill(stock);
  const sidesOf = (worker: number) =>
    [PROGRAMS.multicall, dirname(real.sbin)].map((programs, index) => ({
      ...place(`${index}-${worker}`),
      program: join(programs, "sbin/postsuper"),
    }));
  const places = [0, 1, 2, 3].map(sidesOf);
  const cases: ReadonlyArray<readonly [args: ReadonlyArray<string>, input?: string]> = [
    ...["-d", "-h", "-H", "-r", "-e", "-f"].flatMap((option): [string[], string?][] => [
      [[option, "ALL"]],
      [[option, "ALL", "deferred"]],
      [[option, "ALL", "hold"]],
      [[option, "A0000003"]],
      [[option, "A0000004"]],
      [[option, "A0000001", "deferred"]],
      [[option, "-"], "A0000003\nnosuch/x\n\nB0000007\nA0000001"],
      [[option, "NOSUCH123"]],
      [[option, "all"]],
      [[option, "C0000008"]],
      [[option, "D0000009"]],
    ]),
    [["-d", "A0000003", "-h", "A0000001", "-r", "B0000006"]],
    [["-h", "ALL", "-H", "ALL"]],
    [["-d", "../../etc/passwd"]],
    [["-d", "A0000003", "nosuchqueue"]],
    [["-p"]],
    [["-p", "incoming"]],
    [["-Z"]],
    [["-d"]],
    [["-c", "relative"]],
  ];
  await inParallel(cases, async ([args, input], worker) => {
    const outcome = async ({ queue, config, program }: (typeof places)[0][0]) => {
      rmSync(queue, { recursive: true });
      cpSync(stock, queue, { recursive: true, preserveTimestamps: true });
      for (const name of readdirSync(queue, { recursive: true, encoding: "latin1" })) {
        chownSync(join(queue, name), 1, 1);
        chmodSync(join(queue, name), statSync(join(stock, name)).mode & 0o7777);
      }
      return { ...(await run(program, config, args, input)), files: listing(queue) };
    };
    const [own, other] = await Promise.all((places[worker] ?? []).map(outcome));
    t.same(own, other, `${args.join(" ")} ${input ?? ""}`);
  });
});
