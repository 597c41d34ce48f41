/**
 * `npm run bench [-- --messages=N --rounds=N --queue=N --keys=N --only=NAME,...]`: ours beside Debian's Postfix, in one run, alternating, with Postfix's
 * own smtp-source and smtp-sink. Both are warmed up first. Prints medians, the ratio ours/Postfix, and what we want of it; docs/performance.md
 * keeps a table. Needs root (the real Postfix does). POSTHASTE_PROGRAMS names a folder of executables. Curves, which are long and run only when they
 * are named: scale-queue (--sizes=N,...), scale-sessions (--sessions=N,...), soak (--minutes=N); --results=FOLDER keeps them somewhere else than in
 * docs/performance, --plots draws again what is there.
 */
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { installDebianPackages } from "../../packaging/debian_packages.ts";
import { reference } from "../interop/support/reference.ts";
import { redrawAll } from "./curves/figure.ts";
import { TABLE_HEAD, tableLine } from "./report.ts";
import { LONG, SCENARIOS } from "./scenarios.ts";
import { type Bench, machineText, type Options } from "./systems.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const PROGRAMS = process.env.POSTHASTE_PROGRAMS ?? join(ROOT, "dist-multicall");

const args = process.argv.slice(2);
const text = (name: string): string | undefined =>
  args.find((word) => word.startsWith(`--${name}=`))?.slice(name.length + 3);
const number = (name: string, otherwise: number): number => Number(text(name) ?? otherwise);
const numbers = (name: string, otherwise: string): number[] =>
  (text(name) ?? otherwise).split(",").map(Number);

const options: Options = {
  messages: number("messages", 4000),
  rounds: number("rounds", 3),
  queue: number("queue", 20_000),
  keys: number("keys", 1_000_000),
  sizes: numbers("sizes", "1000,10000,100000"),
  sessions: numbers("sessions", "1,2,5,10,20,50,100,200,500,1000"),
  minutes: number("minutes", 20),
  results: resolve(text("results") ?? join(ROOT, "docs/performance")),
};
if (args.includes("--plots")) {
  redrawAll(options.results);
  process.exit(0);
}
const names = text("only")?.split(",") ?? [...SCENARIOS.keys()].filter((name) => !LONG.has(name));
const unknown = names.find((name) => !SCENARIOS.has(name));
if (unknown !== undefined) {
  console.error(`bench: no scenario ${unknown}; there are: ${[...SCENARIOS.keys()].join(" ")}`);
  process.exit(64);
}

await installDebianPackages();
const real = reference();
if ("missing" in real) {
  console.error(`bench: no real Postfix to measure beside: ${real.missing}`);
  process.exit(1);
}
if (process.env.POSTHASTE_PROGRAMS === undefined) {
  const built = spawnSync(
    process.execPath,
    ["run", join(ROOT, "packaging/build.ts"), "--layout=multicall", `--out=${PROGRAMS}`],
    { stdio: "inherit" },
  );
  if (built.status !== 0) process.exit(1);
}
const bench: Bench = { ourPrograms: PROGRAMS, reference: real, options };
console.log(
  `${machineText()}; ${options.rounds} rounds of ${options.messages} messages (fewer where they cost more)\n`,
);
console.log(TABLE_HEAD);
for (const name of names)
  for (const row of (await SCENARIOS.get(name)?.(bench)) ?? []) console.log(tableLine(row));
