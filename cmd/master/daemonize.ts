/** Leaving the terminal, and `master -w`: waiting until the daemon is up. */
import { closeSync, constants, openSync } from "node:fs";
import type { Invocation } from "../../lib/daemon/program.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { errorCode } from "../../lib/sys/errno.ts";
import { duplicateTo, setUmask } from "../../lib/sys/files.ts";
import { ignoreSignal, sendSignal, startSession } from "../../lib/sys/process.ts";
import { type MasterOptions, MONITOR_DESCRIPTOR, MONITOR_VARIABLE } from "./options.ts";

const WAIT_SECONDS = 100;
const SIGPIPE = 13;
const SIGKILL = 9;

/** Runs the daemon as a child and ends with 0 when it reports, else with a fatal error. */
export async function waitForDaemon(invocation: Invocation): Promise<void> {
  const unicode = (text: string): string => Buffer.from(text, "latin1").toString("utf8");
  const child = Bun.spawn({
    cmd: [
      process.execPath,
      ...invocation.args
        .map((argument) => unicode(withoutWait(argument)))
        .filter((argument) => argument !== "-"),
    ],
    argv0: unicode(invocation.argv0),
    env: { ...process.env, [MONITOR_VARIABLE]: String(process.pid) },
    stdio: ["inherit", "inherit", "inherit", "pipe"],
  } as unknown as { cmd: string[] }) as unknown as {
    pid: number;
    stdio: Array<number | null>;
    exited: Promise<number>;
    unref(): void;
  };
  const monitor = child.stdio[MONITOR_DESCRIPTOR];
  if (typeof monitor !== "number") return fatal("daemon initialization failure -- see logs for details");
  const outcome = await Promise.race([
    firstByte(monitor),
    child.exited.then(() => "end" as const),
    new Promise<"timeout">((resolve) => setTimeout(() => resolve("timeout"), WAIT_SECONDS * 1000)),
  ]);
  if (outcome === "byte") process.exit(0);
  if (outcome === "timeout") {
    warning("Connection timed out while waiting for daemon initialization");
    sendSignal(child.pid, SIGKILL);
  }
  fatal("daemon initialization failure -- see logs for details");
}

/** An option cluster without its `w`; `-w` alone becomes `-`. */
const withoutWait = (argument: string): string =>
  /^-[DdistvwV]*w/.test(argument) ? argument.replaceAll("w", "") : argument;

async function firstByte(fd: number): Promise<"byte" | "end"> {
  const reader = (Bun.file(fd).stream() as unknown as ReadableStream<Uint8Array>).getReader();
  const { done, value } = await reader.read();
  return done || value === undefined || value.length === 0 ? "end" : "byte";
}

/** Standard descriptors on /dev/null, a session and process group of its own. */
export function becomeDaemon(options: MasterOptions): void {
  setUmask(0o077);
  ignoreSignal(SIGPIPE);
  delete process.env[MONITOR_VARIABLE];
  if (options.test) return;
  if (!options.foreground) {
    const fd = openSync("/dev/null", constants.O_RDWR);
    for (const standard of options.keepStdout ? [0, 2] : [0, 1, 2]) duplicateTo(fd, standard);
    closeSync(fd);
  }
  if (options.foreground || options.debug || options.init) return;
  try {
    startSession();
  } catch (error) {
    // a process group leader (started by a shell with job control) has a group of its own already
    if (errorCode(error) !== "EPERM") throw error;
  }
}
