/** The instances that the default configuration lists: the primary one first. */

import { configuration, parameter } from "../../lib/config/configuration.ts";
import type { ParameterName } from "../../lib/config/parameters.ts";
import { fatal } from "../../lib/log/log.ts";
import { lowerAscii, pathOf, splitAny, trimSpace } from "../../lib/sys/bytes.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { statSync } from "../../lib/sys/fs.ts";
import type { Selection } from "./options.ts";
import { commandPath, outputOf } from "./programs.ts";

export interface Instance {
  readonly primary: boolean;
  readonly config: string;
  readonly queue: string;
  readonly data: string;
  /** Empty for an instance without. */
  readonly name: string;
  readonly group: string;
  readonly enabled: boolean;
  /** What its log lines begin with. */
  readonly logName: string;
}

const SHARED = ["command_directory", "daemon_directory", "meta_directory", "shlib_directory"] as const;

/** All instances share the programs. */
export function requireSharedDirectories(): void {
  for (const name of SHARED) {
    const path = parameter(name);
    if (name === "shlib_directory" && path === "no") continue;
    let directory: boolean;
    try {
      directory = statSync(pathOf(path)).isDirectory();
    } catch (error) {
      fatal(`${name} = '${path}': directory not found: ${errorText(error)}`);
    }
    if (!directory) fatal(`${name} = '${path}' is not a directory`);
  }
}

/** The configuration directories of the secondary instances. */
export const secondaryDirectories = (): string[] =>
  splitAny(parameter("multi_instance_directories"), ", \t\r\n");

/** Every instance, in the order of the list. */
export function loadInstances(): Instance[] {
  const directories = secondaryDirectories();
  const primary: Instance = {
    primary: true,
    config: configuration().directory,
    queue: parameter("queue_directory"),
    data: parameter("data_directory"),
    name: parameter("multi_instance_name"),
    group: parameter("multi_instance_group"),
    // alone, it is what `postfix` controls anyway
    enabled: directories.length === 0 || parameter("multi_instance_enable"),
    logName: parameter("syslog_name"),
  };
  const instances = [primary];
  for (const directory of directories) {
    const instance = loadSecondary(directory);
    requireDistinct(instance, instances);
    instances.push(instance);
  }
  return instances;
}

const WANTED: ReadonlyArray<ParameterName> = [
  "queue_directory",
  "data_directory",
  "multi_instance_name",
  "multi_instance_group",
  "multi_instance_enable",
  "syslog_name",
];

/** What postconf says of an instance's main.cf; it complains by itself. */
export function loadSecondary(config: string): Instance {
  const { status, output } = outputOf(commandPath("postconf"), ["-xc", config, ...WANTED]);
  const values = new Map<string, string>();
  for (const line of output.split("\n")) {
    const [name = "", ...rest] = line.split("=");
    if (rest.length > 0) values.set(trimSpace(name), trimSpace(rest.join("=")));
  }
  const value = (name: ParameterName): string =>
    values.get(name) ?? fatal(`Failed to obtain all required ${config}/main.cf parameters`);
  if (status !== 0) fatal(`Failed to obtain all required ${config}/main.cf parameters`);
  const enable = lowerAscii(value("multi_instance_enable"));
  if (enable !== "yes" && enable !== "no")
    fatal(
      `Unexpected ${config}/main.cf entry: multi_instance_enable = ${values.get("multi_instance_enable")}`,
    );
  return {
    primary: false,
    config,
    queue: value("queue_directory"),
    data: value("data_directory"),
    name: value("multi_instance_name"),
    group: value("multi_instance_group"),
    enabled: enable === "yes",
    logName: value("syslog_name"),
  };
}

type Place = readonly [name: ParameterName, value: string];
const directoriesOf = ({ config, queue, data }: Instance): Place[] => [
  ["config_directory", config],
  ["queue_directory", queue],
  ["data_directory", data],
];

/** An instance has a directory of its own for each purpose, and two instances have nothing in common: no directory, and no name. */
export function requireDistinct(instance: Instance, others: ReadonlyArray<Instance>): void {
  const clash = ([name, value]: Place, other: Instance, [otherName]: Place): never =>
    fatal(
      `instance ${instance.config}, ${name}=${value} conflicts with instance ${other.config}, ${otherName}=${value}`,
    );
  const own = directoriesOf(instance);
  for (const [index, mine] of own.entries())
    for (const before of own.slice(0, index)) if (mine[1] === before[1]) clash(mine, instance, before);
  for (const other of others) {
    if (instance.name !== "" && instance.name === other.name) {
      const named: Place = ["multi_instance_name", instance.name];
      clash(named, other, named);
    }
    for (const mine of own)
      for (const theirs of directoriesOf(other)) if (mine[1] === theirs[1]) clash(mine, other, theirs);
  }
}

/** A directory of an instance that is to be made must not be in use. */
export function requireUnused(config: string, others: ReadonlyArray<Instance>): void {
  for (const other of others)
    for (const [name, value] of directoriesOf(other))
      if (value === config)
        fatal(
          `new config_directory=${config} is already in use by instance ${other.config}, ${name}=${value}`,
        );
}

/** An instance's name may be given without its `postfix-`. */
function isNamed(instance: Instance, name: string): boolean {
  if (name === "-") return instance.primary;
  if (name.startsWith("/")) return instance.config === name;
  return instance.name !== "" && (instance.name === name || instance.name === `postfix-${name}`);
}

export function select(instances: ReadonlyArray<Instance>, selection: Selection): Instance[] {
  return instances.filter((instance) => {
    if (selection.kind === "group") return instance.group === selection.group;
    return selection.kind === "all" || isNamed(instance, selection.name);
  });
}
