/** Runs the captured postmap and postalias cases: `node --import=tsx vectors.ts DIRECTORY-OF-EXECUTABLES [NAME-PART]`. Prints the differences. */
import { spawnSync } from "node:child_process";
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

/** The differences of one case; none = it passes. */
export function runCase(binaries: string, one: Case): string[] {
  const directory = mkdtempSync(join(tmpdir(), "table-case-"));
  const environment = {
    PATH: `${resolve(binaries)}:/usr/sbin:/usr/bin:/sbin:/bin`,
    LC_ALL: "C.UTF-8",
    TZ: "UTC",
  };
  const run = (argv: string[], stdin = "") => {
    const [program = "", ...args] = argv;
    return spawnSync(program, args, {
      cwd: directory,
      input: stdin,
      env: environment,
      encoding: "utf8",
      timeout: 20000,
    });
  };
  try {
    for (const [name, text] of Object.entries(one.files)) {
      const path = join(directory, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, withOwnAccounts(text));
      const old = Date.now() / 1000 - 1000;
      utimesSync(path, old, old);
    }
    for (const argv of one.pre ?? []) run(argv);
    const result = run(one.argv, one.stdin);
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
    const differences = runCase(process.argv[2] ?? "", one);
    if (differences.length === 0) continue;
    failed++;
    console.log(`## ${one.name}: ${one.argv.join(" ")}\n${differences.join("\n")}`);
  }
  console.log(`${cases().length} cases, ${failed} failed`);
}
