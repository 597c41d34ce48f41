/** Running other programs of the mail system and waiting for them. */
import { configuration } from "../../lib/config/configuration.ts";
import { fatal } from "../../lib/log/log.ts";
import { currentEnvironment } from "../../lib/sys/environment.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { sendSignal } from "../../lib/sys/process.ts";
import { runProgram, startWatched, statusOf } from "../../lib/sys/program_end.ts";
import { type Start, startProgram } from "../../lib/sys/spawn.ts";

export const daemonPath = (name: string): string => `${configuration().get("daemon_directory")}/${name}`;
export const commandPath = (name: string): string => `${configuration().get("command_directory")}/${name}`;

export interface RunOptions {
  /** Standard output goes nowhere. */
  readonly quiet?: boolean;
}

const startOf = (path: string, args: ReadonlyArray<string>): Start => ({
  path,
  argv: [path, ...args],
  environment: currentEnvironment(),
});

function orFatal<T>(path: string, start: () => T): T {
  try {
    return start();
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return fatal(`${path}: ${errorText(error)}`);
  }
}

/** Runs a program with our descriptors; its exit status, 128 + signal when it was killed. */
export function run(path: string, args: ReadonlyArray<string>, { quiet = false }: RunOptions = {}): number {
  const descriptors = [0, quiet ? "null" : 1, 2] as const;
  return statusOf(orFatal(path, () => runProgram({ ...startOf(path, args), descriptors })));
}

/** Starts a program that goes on without us. */
export function startDetached(path: string, args: ReadonlyArray<string>): void {
  const descriptors = ["null", "null", "null"] as const;
  orFatal(path, () => startProgram({ ...startOf(path, args), descriptors, session: true }));
}

/** Runs a program in the foreground: what ends us is passed on to it, and its end is ours. */
export async function runForeground(path: string, args: ReadonlyArray<string>): Promise<number> {
  const { pid, ended } = orFatal(path, () => startWatched(startOf(path, args)));
  for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const)
    process.on(signal, () => sendSignal(pid, process.getBuiltinModule("node:os").constants.signals[signal]));
  return statusOf(await ended);
}
