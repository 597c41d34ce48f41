/** The compiled sendmail against what the reference did with the same arguments and input; postdrop and the others are stand-ins. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";

const root = join(import.meta.dirname, "../../..");
const scratch = mkdtempSync(join(tmpdir(), "posthaste-sendmail-"));
t.setTimeout(0);
t.teardown(() => rmSync(scratch, { recursive: true }));
const commands = join(scratch, "bin");
const stored = join(scratch, "records");
for (const directory of ["bin", "etc", "queue"]) mkdirSync(join(scratch, directory));

function executable(name: string, text: string): void {
  writeFileSync(join(commands, name), text);
  chmodSync(join(commands, name), 0o755);
}

const POSTDROP = `#!${process.execPath}
const fs = require("fs");
fs.writeSync(1, "protocol\\0postdrop_protocol\\0queue_id\\0TESTID\\0\\0");
let input = Buffer.alloc(0), at = 0, complete = false;
const records = [], chunk = Buffer.alloc(65536);
const out = () => fs.writeFileSync(${JSON.stringify(stored)}, JSON.stringify({ argv: process.argv.slice(2), records, complete }));
outer: for (;;) {
  const count = fs.readSync(0, chunk, 0, chunk.length, null);
  if (count === 0) break;
  input = Buffer.concat([input, chunk.subarray(0, count)]);
  for (;;) {
    let p = at + 1, length = 0, shift = 0, byte;
    do { byte = input[p++]; length |= (byte & 127) << shift; shift += 7; } while (byte & 128);
    if (byte === undefined || p + length > input.length) break;
    records.push([String.fromCharCode(input[at]), input.toString("latin1", p, p + length)]);
    at = p + length;
    if (records.at(-1)[0] === "E") { complete = true; break outer; }
  }
}
out();
if (complete) fs.writeSync(1, "status\\x000\\0reason\\0\\0\\0");
`;
executable("postdrop", POSTDROP);
for (const name of ["postqueue", "postalias", "postfix", "smtpd"])
  executable(name, `#!/bin/sh\necho "EXEC: ${name}\${*:+ }$*"\n`);
const program = join(scratch, "program.ts");
writeFileSync(
  program,
  `import { main } from "${root}/cmd/sendmail/main.ts";\nimport { launch } from "${root}/lib/daemon/program.ts";\nawait launch(main);\n`,
);
const built = spawnSync(
  join(root, "node_modules/bun/bin/bun.exe"),
  ["build", "--compile", "--format=esm", program, "--outfile", join(commands, "sendmail")],
  { encoding: "utf8" },
);
if (built.status !== 0) throw new Error(built.stderr);

interface Case {
  name: string;
  argv0: string;
  argv: string[];
  stdin: string;
  env?: Record<string, string>;
  rc: number;
  stdout: string;
  stderr: string;
  postdrop_argv: string[] | null;
  records: Array<[string, string]> | null;
  complete: boolean | null;
  main_cf?: string | string[];
}
const cases: Case[] = JSON.parse(readFileSync(join(root, "test/vectors/queue/sendmail.json"), "utf8"));
writeFileSync(
  join(scratch, "etc/main.cf"),
  [
    "compatibility_level = 3.11",
    "myhostname = mail.example.com",
    "myorigin = example.com",
    `command_directory = ${commands}`,
    `daemon_directory = ${commands}`,
    `queue_directory = ${scratch}/queue`,
    "alias_database = lmdb:/etc/aliases",
    "requiretls_enable = yes",
    "mail_owner = mail",
    "setgid_group = games",
  ].join("\n"),
);

/** Debug text of two -v options differs by nature. */
const LEFT_OUT = new Set(["vv"]);
const asRoot = process.getuid?.() === 0;

t.test(
  "sendmail, mailq, newaliases",
  { skip: asRoot ? false : "the vectors were made by root" },
  async (t) => {
    for (const c of cases) {
      if (LEFT_OUT.has(c.name)) continue;
      rmSync(stored, { force: true });
      const run = spawnSync(join(commands, "sendmail"), c.argv, {
        argv0: c.argv0,
        input: Buffer.from(c.stdin, "latin1"),
        env: { PATH: process.env.PATH ?? "", MAIL_CONFIG: join(scratch, "etc"), ...c.env },
      });
      const told = (bytes: Buffer): string =>
        bytes.toString("latin1").replaceAll(commands, "$command_directory");
      // the daemon start is not waited for
      if (c.stdout.startsWith("EXEC: postfix")) await new Promise((resolve) => setTimeout(resolve, 50));
      const dropped = existsSync(stored) ? JSON.parse(readFileSync(stored, "utf8")) : undefined;
      t.same(
        { rc: run.status, stdout: told(run.stdout), stderr: told(run.stderr) },
        { rc: c.rc, stdout: c.stdout, stderr: c.stderr },
        `${c.name} status and output`,
      );
      if (c.complete === true) t.same(dropped?.records, c.records, `${c.name} records`);
      else t.notOk(dropped?.complete, `${c.name} nothing submitted`);
      if (c.complete === true) t.same(dropped?.argv, c.postdrop_argv, `${c.name} postdrop arguments`);
    }
  },
);
