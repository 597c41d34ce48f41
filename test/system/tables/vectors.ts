/** Runs the captured postmap and postalias cases: `node --import=tsx vectors.ts DIRECTORY-OF-EXECUTABLES [NAME-PART]`. Prints the differences. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

export interface Case {
  name: string;
  files: Record<string, string>;
  pre?: string[][];
  argv: string[];
  stdin?: string;
  expect: { stdout: string; stderr: string; rc: number };
}

export const cases = (): Case[] =>
  JSON.parse(readFileSync("test/vectors/tables/tables.json", "utf8")) as Case[];

/** Accounts that every system has, in place of those of an installed Postfix. */
const withOwnAccounts = (text: string): string =>
  text
    .replace("mail_owner = postfix", "mail_owner = games")
    .replace("setgid_group = postdrop", "setgid_group = uucp");

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
}

/** Runs a program; without stopping the others that run beside it. */
function execute(argv: string[], input: string, cwd: string, env: Record<string, string>): Promise<Outcome> {
  const [program = "", ...args] = argv;
  return new Promise((done, reject) => {
    const child = spawn(program, args, { cwd, env, timeout: 20000 });
    const [out, err]: [Buffer[], Buffer[]] = [[], []];
    child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
    child.on("error", reject);
    child.on("close", (status) =>
      done({ stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString(), status }),
    );
    // a program may end without reading it
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  });
}

/** The differences of one case; none = it passes. */
export async function runCase(binaries: string, one: Case): Promise<string[]> {
  const directory = mkdtempSync(join(tmpdir(), "table-case-"));
  const environment = {
    PATH: `${resolve(binaries)}:/usr/sbin:/usr/bin:/sbin:/bin`,
    LC_ALL: "C.UTF-8",
    TZ: "UTC",
  };
  const run = (argv: string[], stdin = ""): Promise<Outcome> => execute(argv, stdin, directory, environment);
  try {
    for (const [name, text] of Object.entries(one.files)) {
      const path = join(directory, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, withOwnAccounts(text));
      const old = Date.now() / 1000 - 1000;
      utimesSync(path, old, old);
    }
    for (const argv of one.pre ?? []) await run(argv);
    const result = await run(one.argv, one.stdin);
    const seen = (text: string): string => text.replaceAll(directory, "$CWD");
    const differences: string[] = [];
    for (const part of ["stdout", "stderr"] as const)
      if (seen(result[part]) !== one.expect[part])
        differences.push(
          `${part}\n  want ${JSON.stringify(one.expect[part])}\n  got  ${JSON.stringify(seen(result[part]))}`,
        );
    if (result.status !== one.expect.rc)
      differences.push(`status: want ${one.expect.rc}, got ${result.status}`);
    return differences;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

if (process.argv[1]?.endsWith("vectors.ts")) {
  let failed = 0;
  for (const one of cases()) {
    if (!one.name.includes(process.argv[3] ?? "")) continue;
    const differences = await runCase(process.argv[2] ?? "", one);
    if (differences.length === 0) continue;
    failed++;
    console.log(`## ${one.name}: ${one.argv.join(" ")}\n${differences.join("\n")}`);
  }
  console.log(`${cases().length} cases, ${failed} failed`);
}
