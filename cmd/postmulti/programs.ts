/** Running programs for an instance. */
import { parameter } from "../../lib/config/configuration.ts";
import { complainAndPause } from "../../lib/daemon/script_log.ts";
import { fatal, verbosity } from "../../lib/log/log.ts";
import { currentEnvironment } from "../../lib/sys/environment.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { outputOf as programOutput, runProgram, statusOf } from "../../lib/sys/program_end.ts";
import type { Instance } from "./instances.ts";

export const commandPath = (name: string): string => `${parameter("command_directory")}/${name}`;
export const daemonPath = (name: string): string => `${parameter("daemon_directory")}/${name}`;

/** Runs a program that speaks for itself on standard error; its output, and its status (1 for a signal). */
export function outputOf(
  path: string,
  args: ReadonlyArray<string>,
): { readonly status: number; readonly output: string } {
  try {
    const start = { path, argv: [path, ...args], environment: currentEnvironment() };
    const { end, output } = programOutput(start);
    return { status: end.kind === "exit" ? end.status : 1, output };
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return fatal(`execvp ${path}: ${errorText(error)}`);
  }
}

/** Runs a program that an edit depends on. */
export function mustRun(path: string, args: ReadonlyArray<string>): void {
  const { status } = outputOf(path, args);
  if (status !== 0) process.exit(1);
}

/** What the programs of an instance find in their environment. */
export function environmentOf(instance: Instance): ReadonlyMap<string, string> {
  const environment = currentEnvironment();
  const settings = {
    PATH: `${parameter("command_directory")}:${environment.get("PATH") ?? ""}`,
    MAIL_CONFIG: instance.config,
    config_directory: instance.config,
    queue_directory: instance.queue,
    data_directory: instance.data,
    multi_instance_name: instance.name,
    multi_instance_group: instance.group,
    multi_instance_enable: instance.enabled ? "yes" : "no",
    command_directory: parameter("command_directory"),
    daemon_directory: parameter("daemon_directory"),
  };
  if (verbosity() > 0) environment.set("MAIL_VERBOSE", "");
  // each instance names itself in its log lines
  environment.delete("MAIL_LOGTAG");
  for (const [name, value] of Object.entries(settings)) environment.set(name, value);
  return environment;
}

/** Runs a program of an instance with our descriptors: whether it ended well. A program that is not there is reported, and the others run. */
export function runFor(instance: Instance, path: string, args: ReadonlyArray<string>): boolean {
  try {
    return statusOf(runProgram({ path, argv: [path, ...args], environment: environmentOf(instance) })) === 0;
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    complainAndPause(`execvp ${path}: ${errorText(error)}`);
    return false;
  }
}
