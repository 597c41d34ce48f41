/**
 * `npm run bench [-- --messages=N --rounds=N]`: relay and accept throughput of ours beside Debian's Postfix, in one run, alternating, with
 * Postfix's own smtp-source and smtp-sink. Both are warmed up first. Prints medians and the ratio ours/Postfix; system calls (strace), context
 * switches and memory come from rounds of their own. Needs root (the real Postfix does). POSTHASTE_PROGRAMS names a folder of executables.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { installDebianPackages } from "../../packaging/debian_packages.ts";
import { Instance } from "../../packaging/instance.ts";
import { type Reference, reference } from "../interop/support/reference.ts";
import { ProcessFamily } from "./processes.ts";
import { countSystemCalls } from "./system_calls.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const PROGRAMS = process.env.POSTHASTE_PROGRAMS ?? join(ROOT, "dist-multicall");
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

/** Seen in a round of its own, whose speed does not count. */
interface Observed {
  readonly switches: number;
  readonly systemCalls: number | undefined;
  /** Most memory of all processes together, MB. */
  readonly pss: number;
}

interface System {
  readonly name: string;
  readonly instance: Instance;
}

/** The processes of a running system. */
const familyOf = ({ instance }: System): ProcessFamily =>
  new ProcessFamily(Number(readFileSync(join(instance.queue, "pid", "master.pid"), "latin1")));

const wait = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));
const median = (values: number[]): number =>
  values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

function portOf(index: number): number {
  return 21_000 + (process.pid % 500) * 10 + index;
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

/** Sends messages and waits until the queue is empty. */
async function relay(
  { instance }: System,
  scenario: Scenario,
  programs: Reference,
  messages: number,
): Promise<void> {
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
}

/** One round, timed. */
async function round(
  system: System,
  scenario: Scenario,
  programs: Reference,
  messages: number,
): Promise<Measured> {
  const family = familyOf(system);
  const { ticks } = family;
  const began = performance.now();
  await relay(system, scenario, programs, messages);
  const seconds = (performance.now() - began) / 1000;
  return { perSecond: messages / seconds, cpu: ((family.ticks - ticks) / TICKS / messages) * 1000 };
}

const OBSERVE_EVERY = 200;
/** strace makes everything slow: as many messages are enough. */
const TRACED = 400;

async function observe(
  system: System,
  scenario: Scenario,
  programs: Reference,
  messages: number,
): Promise<Observed> {
  const family = familyOf(system);
  const before = family.switches;
  const watch = setInterval(() => {
    family.notePss();
    void family.switches;
  }, OBSERVE_EVERY);
  await relay(system, scenario, programs, messages);
  clearInterval(watch);
  const switches = (family.switches - before) / messages;
  const calls = await countSystemCalls(family.processes, () => relay(system, scenario, programs, TRACED));
  return {
    switches,
    systemCalls: calls === undefined ? undefined : calls / TRACED,
    pss: family.peakPss / 1024,
  };
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
    make("ours", PROGRAMS, 1, ""),
    make("postfix", programs.sbin.replace(/\/sbin$/, ""), 2, extra),
  ];
  const observed: Observed[] = [];
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
    // code must be compiled and processes started; whoever has just been idle gets a moment again
    for (const system of systems) await relay(system, scenario, programs, 2 * messages);
    for (let number = 0; number < options.rounds; number++)
      for (const system of number % 2 === 0 ? systems : [...systems].reverse()) {
        await relay(system, scenario, programs, Math.ceil(messages / 10));
        results.get(system.name)?.push(await round(system, scenario, programs, messages));
      }
    for (const system of systems) observed.push(await observe(system, scenario, programs, messages));
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
  const [seen, seenTheirs] = observed;
  if (ours === undefined || theirs === undefined || seen === undefined || seenTheirs === undefined) return;
  const row = (name: string, mine: number | undefined, postfix: number | undefined, digits: number): void => {
    if (mine === undefined || postfix === undefined) return;
    console.log(
      `| ${name} | ${mine.toFixed(digits)} | ${postfix.toFixed(digits)} | ${(mine / postfix).toFixed(2)} |`,
    );
  };
  row(`${scenario.name}: messages/s`, ours.perSecond, theirs.perSecond, 0);
  row("CPU ms a message", ours.cpu, theirs.cpu, 2);
  row("system calls a message", seen.systemCalls, seenTheirs.systemCalls, 0);
  row("context switches a message", seen.switches, seenTheirs.switches, 1);
  row("memory at most, MB PSS", seen.pss, seenTheirs.pss, 0);
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
const built = spawnSync(
  process.execPath,
  ["run", join(ROOT, "packaging/build.ts"), "--layout=multicall", `--out=${PROGRAMS}`],
  { stdio: "inherit" },
);
if (built.status !== 0) process.exit(1);
console.log(
  `${cpus()[0]?.model}, ${cpus().length} cores; ${options.rounds} rounds of ${options.messages} messages of 4 kB each\n`,
);
console.log("| | ours | Postfix | ratio |");
console.log("|---|---:|---:|---:|");
for (const [index, scenario] of SCENARIOS.entries()) await measure(scenario, index, programs, options);
