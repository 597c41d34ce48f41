/**
 * `npm run bench:sandbox [-- --messages=N --rounds=N]`: what the sandbox costs. One system relays with `sandbox = enforce`, one with `sandbox = off`,
 * in turns; CPU a message (of all their processes) and messages a second, and the median of the ratios of neighbouring rounds.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Instance } from "../../packaging/instance.ts";
import { reference } from "../interop/support/reference.ts";
import { freePorts, queueFiles, until } from "../system/support/harness.ts";
import { ProcessFamily } from "./processes.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const PROGRAMS = process.env.POSTHASTE_PROGRAMS ?? join(ROOT, "dist-multicall");
const TICKS = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));
const MODES = ["enforce", "off"] as const;

const option = (name: string, otherwise: number): number =>
  Number(process.argv.find((word) => word.startsWith(`--${name}=`))?.split("=")[1] ?? otherwise);
const messages = option("messages", 3000);
const rounds = option("rounds", 9);

/** The real tools cost less; ours do as well. */
const real = reference();
const tools = "missing" in real ? join(PROGRAMS, "sbin") : real.sbin;
const directory = mkdtempSync(join(tmpdir(), "posthaste-bench-"));
execFileSync("chmod", ["755", directory]);
const [sinkPort = 0, ...ports] = await freePorts(3);
const sink = spawn(join(tools, "smtp-sink"), ["-u", "nobody", `127.0.0.1:${sinkPort}`, "1000"]);
const systems = MODES.map(
  (mode, index) =>
    new Instance({
      directory: join(directory, mode),
      programs: PROGRAMS,
      smtpPort: ports[index] ?? 0,
      mainCf: `sandbox = ${mode}\nrelayhost = [127.0.0.1]:${sinkPort}\nsmtpd_client_connection_count_limit = 0\n`,
    }),
);

interface Measured {
  readonly perSecond: number;
  readonly cpu: number;
}

const familyOf = (instance: Instance): ProcessFamily =>
  new ProcessFamily(Number(readFileSync(join(instance.queue, "pid/master.pid"), "latin1")));

async function relay(instance: Instance, count: number): Promise<Measured> {
  const family = familyOf(instance);
  const { ticks } = family;
  const began = performance.now();
  const source = spawn(
    join(tools, "smtp-source"),
    ["-s", "20", "-m", `${count}`, "-l", "4096", "-f", "a@example.org", "-t", "b@elsewhere.test"].concat(
      `127.0.0.1:${instance.smtpPort}`,
    ),
    { stdio: "inherit" },
  );
  const status = await new Promise<number | null>((done) => source.on("close", done));
  if (status !== 0) throw new Error(`smtp-source ended with status ${status}`);
  await until("an empty queue", () =>
    ["incoming", "active", "deferred"].every((queue) => queueFiles(instance, queue).length === 0),
  );
  const seconds = (performance.now() - began) / 1000;
  return { perSecond: count / seconds, cpu: ((family.ticks - ticks) / TICKS / count) * 1000 };
}

/** Whether the daemons are as the mode says: a comparison of twice the same would show no difference either. */
function checkMode(instance: Instance, mode: string): void {
  const family = familyOf(instance);
  const filtered = family.processes.filter((pid) =>
    /^Seccomp:\s+2$/m.test(readFileSync(`/proc/${pid}/status`, "latin1")),
  ).length;
  if (mode === "off" ? filtered > 0 : filtered === 0)
    throw new Error(`${mode}: ${filtered} filtered processes`);
}

const median = (values: number[]): number =>
  values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

try {
  for (const [index, instance] of systems.entries()) {
    instance.start();
    await relay(instance, 2 * messages);
    checkMode(instance, MODES[index] ?? "");
  }
  const results: Measured[][] = [];
  for (let number = 0; number < rounds; number++) {
    const order = number % 2 === 0 ? [0, 1] : [1, 0];
    const pair: Measured[] = [];
    for (const index of order) {
      const instance = systems[index];
      if (instance === undefined) continue;
      // whoever has just been idle gets a moment again
      await relay(instance, Math.ceil(messages / 10));
      pair[index] = await relay(instance, messages);
    }
    results.push(pair);
  }
  const of = (index: number, name: keyof Measured): number[] =>
    results.map((pair) => pair[index]?.[name] ?? Number.NaN);
  const ratio = (name: keyof Measured): number =>
    median(results.map(([on, off]) => (on?.[name] ?? Number.NaN) / (off?.[name] ?? Number.NaN)));
  console.log(`${rounds} rounds of ${messages} messages of 4 kB, 20 sessions, relayed\n`);
  console.log("| | sandbox = enforce | sandbox = off | ratio |\n|---|---:|---:|---:|");
  for (const [name, title, digits] of [
    ["perSecond", "messages/s", 0],
    ["cpu", "CPU ms a message", 3],
  ] as const)
    console.log(
      `| ${title} | ${median(of(0, name)).toFixed(digits)} | ${median(of(1, name)).toFixed(digits)} | ${ratio(name).toFixed(3)} |`,
    );
} finally {
  for (const instance of systems)
    spawnSync(instance.program("postfix"), ["stop"], { env: instance.environment });
  sink.kill();
  rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}
