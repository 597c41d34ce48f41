/**
 * `npm run bench [-- --messages=N --rounds=N]`: relay and accept throughput of ours beside Debian's Postfix, in one run, alternating, with
 * Postfix's own smtp-source and smtp-sink. Prints medians and the ratio ours/Postfix. Needs root (the real Postfix does).
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { installDebianPackages } from "../../packaging/debian_packages.ts";
import { Instance } from "../../packaging/instance.ts";
import { type Reference, reference } from "../interop/support/reference.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const TICKS = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

interface Options {
  readonly messages: number;
  readonly rounds: number;
}

interface Scenario {
  readonly name: string;
  /** Settings of both systems. */
  readonly mainCf: (sinkPort: number) => string;
  readonly sourceArguments: ReadonlyArray<string>;
  /** Messages per round as a share of the option. */
  readonly share: number;
}

const SCENARIOS: ReadonlyArray<Scenario> = [
  {
    name: "relay, 20 sessions, 1 message a session",
    mainCf: (port) => `relayhost = [127.0.0.1]:${port}`,
    sourceArguments: ["-s", "20"],
    share: 1,
  },
  {
    name: "relay, 20 sessions kept open",
    mainCf: (port) => `relayhost = [127.0.0.1]:${port}`,
    sourceArguments: ["-s", "20", "-d"],
    share: 1,
  },
  {
    name: "accept only (discarded), 20 sessions",
    mainCf: () => "default_transport = discard:silently",
    sourceArguments: ["-s", "20"],
    share: 1,
  },
];

interface Measured {
  readonly perSecond: number;
  /** Milliseconds of CPU a message, over all processes of the system. */
  readonly cpu: number;
}

interface System {
  readonly name: string;
  readonly instance: Instance;
}

const wait = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));
const median = (values: number[]): number =>
  values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

function portOf(index: number): number {
  return 21_000 + (process.pid % 500) * 10 + index;
}

/** CPU ticks of master, its living processes, and the dead ones it has waited for. */
function cpuTicks(master: number): number {
  let ticks = 0;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    let stat: string;
    try {
      stat = readFileSync(`/proc/${name}/stat`, "latin1");
    } catch {
      // it ended while we looked
      continue;
    }
    const fields = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number);
    if (fields[2] !== master) continue;
    ticks += (fields[11] ?? 0) + (fields[12] ?? 0);
    if (Number(name) === master) ticks += (fields[13] ?? 0) + (fields[14] ?? 0);
  }
  return ticks;
}

const queued = (instance: Instance): boolean =>
  ["incoming", "active", "deferred"].some(
    (queue) =>
      spawnSync("find", [join(instance.queue, queue), "-type", "f", "-print", "-quit"]).stdout.length > 0,
  );

async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const ok = await new Promise<boolean>((done) => {
      const socket = connect(port, "127.0.0.1", () => {
        socket.destroy();
        done(true);
      });
      socket.on("error", () => done(false));
    });
    if (ok) return;
    await wait(25);
  }
  throw new Error(`nothing listens on port ${port}`);
}

/** One round: from the first message until the queue is empty. */
async function round(
  system: System,
  scenario: Scenario,
  programs: Reference,
  messages: number,
): Promise<Measured> {
  const { instance } = system;
  const master = Number(readFileSync(join(instance.queue, "pid", "master.pid"), "latin1"));
  const ticks = cpuTicks(master);
  const began = performance.now();
  const source = spawn(
    join(programs.sbin, "smtp-source"),
    [
      ...scenario.sourceArguments,
      "-m",
      String(messages),
      "-l",
      "4096",
      "-f",
      "a@example.org",
      "-t",
      "b@elsewhere.test",
      `127.0.0.1:${instance.smtpPort}`,
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const status = await new Promise<number>((done) => source.on("close", (code) => done(code ?? 1)));
  if (status !== 0) throw new Error(`smtp-source ended with status ${status}`);
  while (queued(instance)) await wait(20);
  const seconds = (performance.now() - began) / 1000;
  return { perSecond: messages / seconds, cpu: ((cpuTicks(master) - ticks) / TICKS / messages) * 1000 };
}

async function measure(
  scenario: Scenario,
  index: number,
  programs: Reference,
  options: Options,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "posthaste-bench-"));
  execFileSync("chmod", ["755", directory]);
  const sinkPort = portOf(index * 3);
  const sink: ChildProcess = spawn(
    join(programs.sbin, "smtp-sink"),
    ["-u", "nobody", `127.0.0.1:${sinkPort}`, "1000"],
    { stdio: "ignore" },
  );
  const common = `${scenario.mainCf(sinkPort)}\nsmtpd_client_connection_count_limit = 0\nsmtp_tls_security_level = none\nsmtpd_tls_security_level = none\n`;
  const extra = "scache unix - - n - 1 scache\ntlsmgr unix - - n 1000? 1 tlsmgr\n";
  const make = (name: string, binaries: string, position: number, masterCf: string): System => ({
    name,
    instance: new Instance({
      directory: join(directory, name),
      programs: binaries,
      smtpPort: portOf(index * 3 + position),
      mainCf: common,
      masterCf,
    }),
  });
  const systems = [
    make("ours", join(ROOT, "dist-multicall"), 1, ""),
    make("postfix", programs.sbin.replace(/\/sbin$/, ""), 2, extra),
  ];
  const results = new Map<string, Measured[]>(systems.map((system) => [system.name, []]));
  try {
    await listening(sinkPort);
    for (const { instance } of systems) {
      // the real one has no `postfix` command that knows a private instance: both start the same way
      systems[0]?.instance.run("postfix", ["-c", instance.config, "check"]);
      startMaster(instance);
      await listening(instance.smtpPort);
    }
    const messages = Math.round(options.messages * scenario.share);
    for (const system of systems) await round(system, scenario, programs, Math.ceil(messages / 2));
    for (let number = 0; number < options.rounds; number++)
      for (const system of systems)
        results.get(system.name)?.push(await round(system, scenario, programs, messages));
  } finally {
    for (const { instance } of systems) {
      const pid = Number(readFileSync(join(instance.queue, "pid", "master.pid"), "latin1"));
      process.kill(pid, "SIGTERM");
    }
    sink.kill();
    await wait(1000);
    rmSync(directory, { recursive: true, force: true });
  }
  const figures = systems.map(({ name }) => {
    const measured = results.get(name) ?? [];
    return {
      perSecond: median(measured.map((each) => each.perSecond)),
      cpu: median(measured.map((each) => each.cpu)),
    };
  });
  const [ours, theirs] = figures;
  if (ours === undefined || theirs === undefined) return;
  console.log(
    `| ${scenario.name} | ${ours.perSecond.toFixed(0)} | ${theirs.perSecond.toFixed(0)} | ${(ours.perSecond / theirs.perSecond).toFixed(2)} | ${ours.cpu.toFixed(2)} | ${theirs.cpu.toFixed(2)} |`,
  );
}

function startMaster(instance: Instance): void {
  const result = spawnSync(instance.program("master"), ["-w"], {
    env: instance.environment,
    stdio: "inherit",
  });
  if (result.status !== 0) throw new Error(`master of ${instance.directory}: status ${result.status}`);
}

function readOptions(args: ReadonlyArray<string>): Options {
  const value = (name: string, otherwise: number): number => {
    const text = args.find((argument) => argument.startsWith(`--${name}=`))?.split("=")[1];
    return text === undefined ? otherwise : Number(text);
  };
  return { messages: value("messages", 4000), rounds: value("rounds", 3) };
}

const options = readOptions(process.argv.slice(2));
await installDebianPackages();
const programs = reference();
if ("missing" in programs) {
  console.error(`bench: no real Postfix to measure beside: ${programs.missing}`);
  process.exit(1);
}
const built = spawnSync(process.execPath, ["run", join(ROOT, "packaging/build.ts"), "--layout=multicall"], {
  stdio: "inherit",
});
if (built.status !== 0) process.exit(1);
console.log(
  `${cpus()[0]?.model}, ${cpus().length} cores; ${options.rounds} rounds of ${options.messages} messages of 4 kB each\n`,
);
console.log(
  "| scenario | ours, messages/s | Postfix, messages/s | ratio | ours, CPU ms a message | Postfix, CPU ms |",
);
console.log("|---|---:|---:|---:|---:|---:|");
for (const [index, scenario] of SCENARIOS.entries()) await measure(scenario, index, programs, options);
