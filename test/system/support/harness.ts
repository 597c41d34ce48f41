/** A running private instance for a test: own directory, own ports, everything stopped and removed at the end. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Test } from "tap";
import { Instance } from "../../../packaging/instance.ts";

export const ROOT = resolve(import.meta.dirname, "../../..");
/** The executables of both layouts, as `npm test` builds them; POSTHASTE_PROGRAMS names others. */
export const PROGRAMS = {
  separate: join(ROOT, "dist"),
  multicall: process.env.POSTHASTE_PROGRAMS ?? join(ROOT, "dist-multicall"),
} as const;

export const isRoot = process.getuid?.() === 0;
/** For tests that need other users' ids. */
export const NEEDS_ROOT = isRoot ? {} : { skip: "needs root" };

export const freePort = async (): Promise<number> => (await freePorts(1))[0] as number;

/** Ports of 127.0.0.1 that nobody uses, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<Server>((done, fail) => {
          const server = createServer();
          server.once("error", fail);
          server.listen(0, "127.0.0.1", () => done(server));
        }),
    ),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

export interface HarnessOptions {
  readonly mainCf?: string | ((directory: string) => string);
  readonly masterCf?: string | ((directory: string) => string);
  /** Folder with libexec/ and sbin/; default the multi-call layout. */
  readonly programs?: string;
  /** Leave it stopped. */
  readonly stopped?: boolean;
}

/** Makes and starts an instance that ends with the test. */
export async function runningInstance(t: Test, options: HarnessOptions = {}): Promise<Instance> {
  const directory = mkdtempSync(join(tmpdir(), "posthaste-"));
  // the daemons run as another user, who must be able to come here
  execFileSync("chmod", ["755", directory]);
  const mainCf = typeof options.mainCf === "function" ? options.mainCf(directory) : (options.mainCf ?? "");
  const masterCf = typeof options.masterCf === "function" ? options.masterCf(directory) : options.masterCf;
  const instance = new Instance({
    directory,
    programs: options.programs ?? PROGRAMS.multicall,
    smtpPort: await freePort(),
    mainCf,
    ...(masterCf === undefined ? {} : { masterCf }),
  });
  t.teardown(() => {
    stopInstance(instance);
    if (process.env.KEEP_INSTANCE === undefined)
      rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  });
  if (options.stopped !== true) instance.start();
  return instance;
}

/** Ends an instance however it is, by the process ids that are its own. */
export function stopInstance(instance: Instance): void {
  const file = join(instance.queue, "pid", "master.pid");
  if (!existsSync(file)) return;
  const master = Number(readFileSync(file, "latin1"));
  const group = isAlive(master) ? processesOfGroup(master) : [];
  if (isAlive(master)) instance.run("postfix", ["stop"]);
  for (const pid of group) if (isAlive(pid)) process.kill(pid, "SIGKILL");
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // no such process
    return false;
  }
}

/** Sends SIGTERM; a process that ended in this very moment needs none. */
export function terminate(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** Process ids of a process group. */
export function processesOfGroup(group: number): number[] {
  return allProcesses()
    .filter(({ processGroup }) => processGroup === group)
    .map(({ pid }) => pid);
}

/** Process ids of the instance's daemons with the given program name. */
export function daemons(instance: Instance, name: string): number[] {
  const master = masterPid(instance);
  return allProcesses()
    .filter((entry) => entry.processGroup === master && entry.command === name)
    .map(({ pid }) => pid);
}

/** Every process of the instance, with the memory of its own in kilobytes. */
export function allDaemons(
  instance: Instance,
): { readonly pid: number; readonly command: string; readonly memory: number }[] {
  const master = masterPid(instance);
  return allProcesses()
    .filter((entry) => entry.processGroup === master)
    .flatMap(({ pid, command }) => {
      try {
        const anonymous = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
        return [{ pid, command, memory: Number(anonymous ?? 0) }];
      } catch {
        // it ended while we looked
        return [];
      }
    });
}

export const masterPid = (instance: Instance): number =>
  Number(readFileSync(join(instance.queue, "pid", "master.pid"), "latin1"));

interface ProcessEntry {
  readonly pid: number;
  readonly processGroup: number;
  /** Last component of argv[0]. */
  readonly command: string;
}

function allProcesses(): ProcessEntry[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "latin1");
        const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        const argv0 = readFileSync(`/proc/${name}/cmdline`, "latin1").split("\0", 1)[0] ?? "";
        return [
          {
            pid: Number(name),
            processGroup: Number(fields[2]),
            command: argv0.slice(argv0.lastIndexOf("/") + 1),
          },
        ];
      } catch {
        // it ended while we looked
        return [];
      }
    });
}

/** Polls until the condition gives something true; throws after `seconds` with what was waited for. */
export async function until<T>(
  what: string,
  condition: () => T | undefined | false,
  seconds = 30,
): Promise<T> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const value = condition();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > deadline) throw new Error(`timeout waiting for ${what}`);
    await new Promise((resolveWait) => setTimeout(resolveWait, 25));
  }
}

/** Waits for a line of the mail log. */
export const logged = (instance: Instance, pattern: RegExp, seconds = 30): Promise<RegExpExecArray> =>
  until(`log line ${pattern}`, () => pattern.exec(instance.maillog()) ?? undefined, seconds).catch(
    (error: unknown) => {
      throw new Error(
        `${error instanceof Error ? error.message : error}\n${instance.maillog().split("\n").slice(-40).join("\n")}`,
      );
    },
  );

/** Log lines that speak of trouble. */
export const troubles = (instance: Instance): string[] =>
  instance
    .maillog()
    .split("\n")
    .filter((line) => /\]: (?:warning|error|fatal|panic): /.test(line));

/** Files (not directories) in a queue, hash directories included. */
export function queueFiles(instance: Instance, queue: string): string[] {
  const folder = join(instance.queue, queue);
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? queueFiles(instance, join(queue, entry.name)) : [entry.name],
  );
}
