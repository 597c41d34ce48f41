/**
 * `npm test`: lint, type check, build, then every test under test/ with tap on Node. As root everything runs; without root what needs it is
 * skipped by name. The last line says how many assertions passed, failed and were skipped.
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { Parser } from "tap-parser";
import { reference } from "../test/interop/support/reference.ts";
import { installDebianPackages } from "./debian_packages.ts";

const ROOT = resolve(import.meta.dirname, "..");
const JOBS = 2;
/** Longest time that a test file may take. */
const FILE_SECONDS = 900;
const SUITES = ["unit", "system", "security", "interop"] as const;

const BUILDS = [
  ["build, separate layout", "--layout=separate"],
  ["build, multicall layout", "--layout=multicall"],
  ["build, with attacks for the sandbox to deny", "--layout=multicall", "--probe"],
] as const;

function run(command: string, args: ReadonlyArray<string>): Promise<number> {
  return new Promise((resolveStatus) => {
    const child = spawn(command, [...args], { cwd: ROOT, stdio: "inherit" });
    child.on("error", () => resolveStatus(1));
    child.on("close", (status) => resolveStatus(status ?? 1));
  });
}

const tool = (name: string): string => join(ROOT, "node_modules", ".bin", name);

async function step(name: string, command: string, args: ReadonlyArray<string>): Promise<boolean> {
  console.log(`# ${name}`);
  const status = await run(command, args);
  if (status !== 0) console.log(`not ok - ${name} (status ${status})`);
  return status === 0;
}

function testFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return testFiles(path);
      return entry.name.endsWith(".test.ts") ? [path] : [];
    })
    .sort();
}

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Runs one test file on Node and counts its assertions, those of subtests included. */
function runFile(file: string, total: Counts): Promise<void> {
  return new Promise((done) => {
    // other files run at the same time
    const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
    const name = relative(ROOT, file);
    const began = performance.now();
    const problems: string[] = [];
    const child = spawn("node", ["--import=tsx", file], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, TAP_TIMEOUT: String(FILE_SECONDS) },
    });
    let errors = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors = (errors + text).slice(-20_000);
    });
    const parser = new Parser();
    watch(parser, counts, problems);
    let sawFailure = false;
    parser.on("complete", (results) => {
      sawFailure = !results.ok;
    });
    child.stdout.setEncoding("utf8").on("data", (text: string) => parser.write(text));
    child.on("close", (status) => {
      parser.end();
      // a file that dies, or plans more than it does, is a failure of its own
      if ((status !== 0 || sawFailure) && counts.failed === 0) {
        counts.failed++;
        problems.push(`status ${status}`);
      }
      const { passed, failed, skipped } = counts;
      total.passed += passed;
      total.failed += failed;
      total.skipped += skipped;
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      console.log(
        `${failed === 0 ? "ok" : "not ok"} - ${name}: ${passed} passed, ${failed} failed, ${skipped} skipped (${seconds} s)`,
      );
      if (failed > 0)
        console.log(
          problems.map((problem) => `    ${problem}`).join("\n") + (errors === "" ? "" : `\n${errors}`),
        );
      done();
    });
  });
}

function watch(parser: Parser, counts: Counts, problems: string[]): void {
  parser.on("child", (child: Parser) => watch(child, counts, problems));
  parser.on("assert", (result) => {
    // the line that sums up a subtest is not an assertion of its own, unless the subtest was skipped as a whole
    if (result.skip !== false && result.skip !== undefined) {
      counts.skipped++;
      console.log(`    skipped: ${result.name}${typeof result.skip === "string" ? ` (${result.skip})` : ""}`);
    } else if (result.ok) counts.passed++;
    else {
      counts.failed++;
      problems.push(`${result.fullname}: ${JSON.stringify(result.diag ?? {}).slice(0, 2000)}`);
    }
  });
}

async function main(): Promise<void> {
  const only = process.argv.slice(2);
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  const checks = [
    await step("lint", tool("biome"), ["check", "--error-on-warnings"]),
    await step("type check", tool("tsc"), ["-p", "."]),
  ];
  for (const ok of checks) ok ? counts.passed++ : counts.failed++;
  await installDebianPackages();
  for (const [name, ...options] of BUILDS)
    if (!(await step(name, process.execPath, ["run", join(ROOT, "packaging/build.ts"), ...options])))
      counts.failed++;
  // its programs are prepared here, before several tests would do it at once
  reference();
  for (const suite of SUITES) {
    const files = testFiles(join(ROOT, "test", suite)).filter(
      (file) => only.length === 0 || only.some((part) => file.includes(part)),
    );
    await Promise.all(
      Array.from({ length: JOBS }, async () => {
        for (let file = files.shift(); file !== undefined; file = files.shift()) await runFile(file, counts);
      }),
    );
  }
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  process.exit(counts.failed === 0 ? 0 : 1);
}

await main();
