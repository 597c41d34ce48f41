/** qshape(1): tables of a known queue, and the same queue seen by the original where there is one. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import t from "tap";
import { REFERENCE } from "../../packaging/debian_packages.ts";
import { reference } from "../interop/support/reference.ts";
import { PROGRAMS } from "./support/harness.ts";
import { idOf, queueFile } from "./support/queue_damage.ts";

t.setTimeout(120_000);
const directory = mkdtempSync(join(tmpdir(), "posthaste-qshape-"));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));
const queue = join(directory, "queue");
mkdirSync(join(directory, "config"));
writeFileSync(
  join(directory, "config/main.cf"),
  `queue_directory = ${queue}\nmail_owner = daemon\nsetgid_group = mail\n`,
);
writeFileSync(join(directory, "config/master.cf"), "");
utimesSync(join(directory, "config/main.cf"), 0, 0);

let count = 0;
interface Planted {
  readonly minutes: number;
  readonly sender?: string;
  readonly to?: ReadonlyArray<string>;
  readonly done?: ReadonlyArray<string>;
  readonly mode?: number;
  readonly name?: string;
}
function message(
  folder: string,
  { minutes, sender = "", to = [], done = [], mode = 0o700, name }: Planted,
): void {
  const then = Math.floor(Date.now() / 1000) - minutes * 60;
  const content = queueFile((records) => {
    const kept = records.filter(([type]) => type !== "R" && type !== "O");
    const at = kept.findIndex(([type]) => type === "S") + 1;
    kept.splice(
      at,
      0,
      ...to.map((address): [string, string] => ["R", address]),
      ...done.map((address): [string, string] => ["D", address]),
    );
    records.splice(
      0,
      records.length,
      ...kept.map(([type, text]): [string, string] => [
        type,
        type === "T" ? `${then} 1` : type === "S" ? sender : text,
      ]),
    );
  });
  const path = join(queue, folder, name ?? idOf(count++));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content, { mode });
  utimesSync(path, then, then);
}

message("incoming", {
  minutes: 0,
  sender: "a@one.test",
  to: ["x@example.org", "y@remote.example.org", "noat"],
});
message("active", { minutes: 7, sender: "", to: ["x@Example.ORG.", "y@..a...b..", '"q@q"@example.org'] });
message("active", { minutes: 15, sender: "a@one.test", to: ["x@example.org"], done: ["z@done.test"] });
message("active", { minutes: 30, sender: "gone@sender.test", done: ["z@done.test"] });
message("incoming", { minutes: 30, to: ["x@notready.test"], mode: 0o600 });
message("incoming", { minutes: 30, to: ["x@expired.test"], mode: 0o710 });
message("incoming", { minutes: 30, to: ["x@short.test"], name: "short" });
for (let index = 0; index < 12; index++)
  message(`deferred/${index % 2 === 0 ? "A" : "B"}`, {
    minutes: 2 ** index * 3,
    sender: `s@d${index % 3}.many.test`,
    to: [`u@s${index}.many.test`, "u@very-long-name-of-a-domain-that-does-not-fit.example.net"],
  });
writeFileSync(join(queue, "deferred/A", "ABCDEF99999"), "no queue file", { mode: 0o700 });

const run = (args: ReadonlyArray<string>) =>
  spawnSync(join(PROGRAMS.multicall, "sbin/qshape"), ["-c", join(directory, "config"), ...args], {
    encoding: "latin1",
    argv0: "qshape",
  });

t.test("by recipient: incoming and active", async (t) => {
  const { stdout, stderr, status } = run([]);
  t.same({ stderr, status }, { stderr: "", status: 0 });
  t.equal(
    stdout,
    `
                                         T  5 10 20 40 80 160 320 640 1280 1280+
                                  TOTAL  7  3  3  1  0  0   0   0   0    0     0
                            example.org  4  1  2  1  0  0   0   0   0    0     0
                                   a..b  1  0  1  0  0  0   0   0   0    0     0
                                   noat  1  1  0  0  0  0   0   0   0    0     0
                     remote.example.org  1  1  0  0  0  0   0   0   0    0     0
`.slice(1),
  );
});

t.test("-s, -p, -m, -l, -b, -t, -w", async (t) => {
  t.equal(
    run(["-s"]).stdout,
    `
                                         T  5 10 20 40 80 160 320 640 1280 1280+
                                  TOTAL  3  1  1  1  0  0   0   0   0    0     0
                               one.test  2  1  0  1  0  0   0   0   0    0     0
                          MAILER-DAEMON  1  0  1  0  0  0   0   0   0    0     0
`.slice(1),
  );
  t.match(run(["-p", "deferred"]).stdout, /^ +\.many\.test 12 +1 +1 +1 +1 +1 +1 +1 +1 +1 +3$/m);
  t.notMatch(run(["-p", "-m", "13", "deferred"]).stdout, / \.many\.test /);
  t.match(run(["-p", "-m", "1", "deferred"]).stdout, /^ +\.example\.net 12 /m);
  t.match(run(["deferred"]).stdout, /^\+a-domain-that-does-not-fit\.example\.net 12 /m, "cut on the left");
  t.match(
    run(["-w", "120", "deferred"]).stdout,
    /^ +very-long-name-of-a-domain-that-does-not-fit\.example\.net 12 /m,
  );
  t.match(
    run(["-l", "-b", "4", "-t", "10", join(queue, "deferred")]).stdout,
    /^ +T 10 20 30 30\+\n +TOTAL 24 +4 +2 +2 +16\n/,
  );
  const { stderr, status } = run(["nosuch"]);
  t.match(stderr, /^qshape: warning: nosuch: /);
  t.equal(status, 0);
  t.equal(run(["-Z"]).status, 1);
});

t.test("on a terminal: cleared, and only the largest rows", async (t) => {
  const { stdout } = spawnSync(
    "script",
    [
      "-qec",
      `${join(PROGRAMS.multicall, "sbin/qshape")} -c ${directory}/config -n 2 -N 10 deferred`,
      "/dev/null",
    ],
    { encoding: "latin1" },
  );
  const screens = stdout.replaceAll("\r", "").split("\x1b[H\x1b[2J");
  t.equal(screens.length, 3, "after ten messages, and at the end");
  t.equal(screens.at(-1)?.trimEnd().split("\n").length, 4);
});

const original = join(REFERENCE, "usr/sbin/qshape");
const real = reference();
const perl = spawnSync("perl", ["-MFile::Find", "-e", "1"]).status === 0;
const skip =
  "missing" in real ? real.missing : !perl ? "needs perl" : !existsSync(original) ? "no original" : false;
t.test("as the original", { skip }, async (t) => {
  if ("missing" in real) return;
  // which the original takes for a notice
  rmSync(join(queue, "deferred/A/ABCDEF99999"));
  const lines = (text: string): string[] => text.split("\n").sort();
  for (const args of [
    [],
    ["-s"],
    ["deferred"],
    ["-s", "deferred"],
    ["-p", "deferred"],
    ["-p", "-m", "1", "incoming", "active", "deferred"],
    ["-l", "deferred"],
    ["-b", "5", "deferred"],
    ["-b", "1", "deferred"],
    ["-t", "1", "-b", "12", "deferred"],
    ["-w", "120", "deferred"],
    ["-w", "40", "deferred"],
  ]) {
    const { stdout } = spawnSync("perl", [original, "-c", join(directory, "config"), ...args], {
      encoding: "latin1",
      env: { ...process.env, PATH: `${real.sbin}:${process.env.PATH}` },
    });
    // the order of equal rows is anybody's
    t.same(lines(run(args).stdout), lines(stdout), args.join(" "));
  }
});
