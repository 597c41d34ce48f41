/** What the primary instance's main.cf says of the others. */
import { parameter } from "../../lib/config/configuration.ts";
import { DEFAULT_DIRECTORY } from "../../lib/config/directory.ts";
import { splitAny } from "../../lib/sys/bytes.ts";
import { secondaryDirectories } from "./instances.ts";
import { commandPath, mustRun } from "./programs.ts";

/** Sets parameters in an instance's main.cf. */
export const setParameters = (config: string, settings: ReadonlyArray<string>): void =>
  mustRun(commandPath("postconf"), ["-c", config, "-e", ...settings]);

export const setPrimary = (settings: ReadonlyArray<string>): void =>
  setParameters(DEFAULT_DIRECTORY, settings);

const alternates = (): string[] => splitAny(parameter("alternate_config_directories"), ", \t\r\n");
const without = (directories: ReadonlyArray<string>, config: string): string[] =>
  directories.filter((directory) => directory !== config);

function setLists(instances: ReadonlyArray<string>, others: ReadonlyArray<string>): void {
  const settings = [`multi_instance_directories=${instances.join(" ")}`];
  // an empty list is not worth a line
  if (others.join(" ") !== alternates().join(" "))
    settings.push(`alternate_config_directories=${others.join(" ")}`);
  setPrimary(settings);
}

/** Puts an instance into the list, before another one when there is one to be before. */
export function addInstance(config: string, before: string | undefined): void {
  const directories = secondaryDirectories();
  directories.splice(before === undefined ? directories.length : directories.indexOf(before), 0, config);
  setLists(directories, without(alternates(), config));
}

/** Takes an instance off the list; its set-gid programs may still be used with it. */
export const deportInstance = (config: string): void =>
  setLists(without(secondaryDirectories(), config), [...without(alternates(), config), config]);

/** Takes an instance off all lists. */
export const forgetInstance = (config: string): void =>
  setLists(without(secondaryDirectories(), config), without(alternates(), config));
