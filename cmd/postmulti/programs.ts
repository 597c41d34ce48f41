/** Running programs for an instance. */
import { spawnSync } from "node:child_process";
import { parameter } from "../../lib/config/configuration.ts";
import { complainAndPause } from "../../lib/daemon/script_log.ts";
import { fatal } from "../../lib/log/log.ts";
import { decodeUtf8 } from "../../lib/sys/bytes.ts";
import { errorText } from "../../lib/sys/errno.ts";
import type { Instance } from "./instances.ts";

const unicode = (text: string): string => decodeUtf8(text) ?? text;

export const commandPath = (name: string): string => `${parameter("command_directory")}/${name}`;
export const daemonPath = (name: string): string => `${parameter("daemon_directory")}/${name}`;

const OUTPUT_LIMIT = 1 << 24;

/** Runs a program that speaks for itself on standard error; its output, and its status (1 for a signal). */
export function outputOf(
  path: string,
  args: ReadonlyArray<string>,
): { readonly status: number; readonly output: string } {
  const child = spawnSync(unicode(path), args.map(unicode), {
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: OUTPUT_LIMIT,
  });
  if (child.error !== undefined) return fatal(`execvp ${path}: ${errorText(child.error)}`);
  return { status: child.status ?? 1, output: child.stdout.toString("latin1") };
}

/** Runs a program that an edit depends on. */
export function mustRun(path: string, args: ReadonlyArray<string>): void {
  const { status } = outputOf(path, args);
  if (status !== 0) process.exit(1);
}

/** What the programs of an instance find in their environment. */
export function environmentOf(instance: Instance): Record<string, string | undefined> {
  const settings = {
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
  const environment: Record<string, string | undefined> = {
    ...process.env,
    PATH: `${unicode(parameter("command_directory"))}:${process.env.PATH ?? ""}`,
    // each instance names itself in its log lines
    MAIL_LOGTAG: undefined,
  };
  for (const [name, value] of Object.entries(settings)) environment[name] = unicode(value);
  return environment;
}

/** Runs a program of an instance with our descriptors: whether it ended well. A program that is not there is reported, and the others run. */
export function runFor(instance: Instance, path: string, args: ReadonlyArray<string>): boolean {
  const child = spawnSync(unicode(path), args.map(unicode), {
    stdio: "inherit",
    env: environmentOf(instance) as NodeJS.ProcessEnv,
  });
  if (child.error !== undefined) complainAndPause(`execvp ${path}: ${errorText(child.error)}`);
  return child.error === undefined && child.status === 0;
}
