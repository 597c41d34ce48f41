/** Running other programs of the mail system and waiting for them. */
import { spawn, spawnSync } from "node:child_process";
import { constants } from "node:os";
import { configuration } from "../../lib/config/configuration.ts";
import { fatal } from "../../lib/log/log.ts";
import { decodeUtf8 } from "../../lib/sys/bytes.ts";
import { errorText } from "../../lib/sys/errno.ts";

const unicode = (text: string): string => decodeUtf8(text) ?? text;

export const daemonPath = (name: string): string => `${configuration().get("daemon_directory")}/${name}`;
export const commandPath = (name: string): string => `${configuration().get("command_directory")}/${name}`;

export interface RunOptions {
  /** Standard output goes nowhere. */
  readonly quiet?: boolean;
}

/** Runs a program with our descriptors; its exit status, 128 + signal when it was killed. */
export function runProgram(
  path: string,
  args: ReadonlyArray<string>,
  { quiet = false }: RunOptions = {},
): number {
  const child = spawnSync(unicode(path), args.map(unicode), {
    stdio: ["inherit", quiet ? "ignore" : "inherit", "inherit"],
  });
  if (child.error !== undefined) return fatal(`${path}: ${errorText(child.error)}`);
  return child.status ?? 128 + (child.signal === null ? 0 : constants.signals[child.signal]);
}

/** Starts a program that goes on without us. */
export function startProgram(path: string, args: ReadonlyArray<string>): void {
  spawn(unicode(path), args.map(unicode), { stdio: "ignore", detached: true }).unref();
}

/** Runs a program in the foreground: what ends us is passed on to it, and its end is ours. */
export async function runForeground(path: string, args: ReadonlyArray<string>): Promise<number> {
  const child = spawn(unicode(path), args.map(unicode), { stdio: "inherit" });
  for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const)
    process.on(signal, () => child.kill(signal));
  return new Promise((resolve) => {
    child.on("error", (failure) => fatal(`${path}: ${errorText(failure)}`));
    child.on("exit", (status, signal) =>
      resolve(status ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
}
