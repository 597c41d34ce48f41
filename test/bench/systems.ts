/** The two systems that are compared: private instances with the same settings, started and stopped alike. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { Instance } from "../../packaging/instance.ts";
import { dynamicMaps, type Reference } from "../interop/support/reference.ts";
import { freePorts } from "../system/support/harness.ts";
import { ProcessFamily } from "./processes.ts";

export interface System {
  readonly name: "ours" | "postfix";
  readonly instance: Instance;
}

export interface Bench {
  /** A folder with libexec/ and sbin/. */
  readonly ourPrograms: string;
  readonly reference: Reference;
  readonly options: Options;
}

export interface Options {
  readonly messages: number;
  readonly rounds: number;
  /** Messages of the deferred queue, keys of the table. */
  readonly queue: number;
  readonly keys: number;
  /** Sizes of the queue in scale-queue, sessions at once in scale-sessions. */
  readonly sizes: ReadonlyArray<number>;
  readonly sessions: ReadonlyArray<number>;
  /** Length of the soak. */
  readonly minutes: number;
  /** Where curves are kept: numbers and picture. */
  readonly results: string;
}

export interface Settings {
  readonly mainCf: string;
  readonly masterCf?: string;
}

/** What it was measured on. */
export const machineText = (): string =>
  `${cpus()[0]?.model}, ${cpus().length} processors, ${Math.round(totalmem() / 2 ** 30)} GB, Linux ${release()}, Bun ${Bun.version}`;

const COMMON = `smtpd_client_connection_count_limit = 0
smtp_tls_security_level = none
smtpd_tls_security_level = none
`;
/** The real one's own services that our master.cf does not have. */
const REAL_ONLY = "tlsmgr unix - - n 1000? 1 tlsmgr\n";

export const wait = (milliseconds: number): Promise<void> =>
  new Promise((done) => setTimeout(done, milliseconds));

export const familyOf = ({ instance }: System): ProcessFamily =>
  new ProcessFamily(Number(readFileSync(join(instance.queue, "pid", "master.pid"), "latin1")));

/** Waits until something listens; how long that took, milliseconds. */
export async function listening(port: number): Promise<number> {
  const began = performance.now();
  while (performance.now() - began < 20_000) {
    const greeted = await new Promise<boolean>((done) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("data", () => {
        socket.destroy();
        done(true);
      });
      socket.on("error", () => done(false));
    });
    if (greeted) return performance.now() - began;
    await wait(2);
  }
  throw new Error(`nothing greets on port ${port}`);
}

export function start({ instance }: System): void {
  const { status } = spawnSync(instance.program("master"), ["-w"], {
    env: instance.environment,
    stdio: "inherit",
  });
  if (status !== 0) throw new Error(`master of ${instance.directory}: status ${status}`);
}

/** Ends the system and waits until its processes are gone. */
export async function stop(system: System): Promise<void> {
  const family = familyOf(system);
  const pids = family.processes;
  process.kill(family.master, "SIGTERM");
  while (pids.some(exists)) await wait(20);
}

/** Replaces settings of a stopped system. */
export function configure({ instance }: System, settings: Readonly<Record<string, string>>): void {
  const file = join(instance.config, "main.cf");
  const kept = readFileSync(file, "latin1")
    .split("\n")
    .filter((line) => !((line.split(" =", 1)[0] ?? "") in settings));
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
  writeFileSync(file, kept.join("\n") + lines.join(""), "latin1");
  // programs wait while main.cf is younger than a second, since somebody may be editing it
  const past = new Date(Date.now() - 10_000);
  utimesSync(file, past, past);
}

export async function restart(
  system: System,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  await stop(system);
  configure(system, settings);
  start(system);
  await listening(system.instance.smtpPort);
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Makes both systems, starts them, hands them to `use`, and removes them. */
export async function withPair(
  bench: Bench,
  settings: Settings,
  use: (systems: readonly [System, System], directory: string) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "posthaste-bench-"));
  execFileSync("chmod", ["755", directory]);
  const ports = await freePorts(2);
  const make = (name: System["name"], programs: string, index: number, masterCf: string): System => ({
    name,
    instance: new Instance({
      directory: join(directory, name),
      programs,
      smtpPort: ports[index] ?? 0,
      mainCf: COMMON + settings.mainCf,
      masterCf: (settings.masterCf ?? "") + masterCf,
    }),
  });
  const systems = [
    make("ours", bench.ourPrograms, 0, ""),
    make("postfix", bench.reference.sbin.replace(/\/sbin$/, ""), 1, REAL_ONLY),
  ] as const;
  const started: System[] = [];
  try {
    for (const system of systems) {
      // the real one has no `postfix` command that knows a private instance
      writeFileSync(join(system.instance.config, "dynamicmaps.cf"), dynamicMaps(bench.reference.libraries));
      systems[0].instance.run("postfix", ["-c", system.instance.config, "check"]);
      start(system);
      started.push(system);
      await listening(system.instance.smtpPort);
    }
    await use(systems, directory);
  } finally {
    for (const system of started) await stop(system);
    rmSync(directory, { recursive: true, force: true });
  }
}
