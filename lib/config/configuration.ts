/** The configuration of this process: reading main.cf, and the values that everything else asks for. */
import { fatal } from "../log/log.ts";
import { environmentVariable, setEnvironmentVariable } from "../sys/environment.ts";
import { authorizeDirectory, DEFAULT_DIRECTORY } from "./directory.ts";
import { parseMainCf, readMainCf, splitNameValue } from "./main_cf.ts";
import type { ParameterName, ParameterValue } from "./parameters.ts";
import { checkConfiguration } from "./sanity.ts";
import { Configuration, ConfigurationError } from "./settings.ts";

export { Configuration, ConfigurationError };

/** The service name of a program that is no service. */
export const NO_SERVICE = "amnesiac";

export interface LoadOptions {
  /** Configuration directory; otherwise that of the environment variable MAIL_CONFIG, otherwise /etc/postfix. */
  readonly directory?: string;
  /** `name=value` settings of the command line (`-o`), in order. */
  readonly overrides?: ReadonlyArray<string>;
  /** Base name of the program. */
  readonly processName: string;
  /** Service name of a daemon (`-n`). */
  readonly serviceName?: string;
}

/** Reads and checks the configuration; every fault in it ends the program. The result is not installed yet. */
export function loadConfiguration(options: LoadOptions): Configuration {
  const loaded = readConfiguration(options);
  checkConfiguration(loaded);
  setEnvironmentVariable("MAIL_LOGTAG", loaded.get("syslog_name"));
  return loaded;
}

/** Reads the configuration without the checks that every program but postconf makes. */
export function readConfiguration(options: LoadOptions): Configuration {
  const directory = options.directory ?? environmentVariable("MAIL_CONFIG") ?? DEFAULT_DIRECTORY;
  authorizeDirectory(directory);
  const { entries, owner } = readMainCf(directory, new Map([["config_directory", directory]]));
  for (const override of options.overrides ?? []) {
    const pair = splitNameValue(override);
    if (!pair.ok) return fatal(`invalid "-o ${override}" option value: ${pair.problem}`);
    entries.set(pair.name, pair.value);
  }
  const { processName, serviceName = NO_SERVICE } = options;
  return new Configuration({ directory, entries, processName, serviceName, owner });
}

let installed: Configuration | undefined;

/** Makes a configuration the one of this process. */
export const installConfiguration = (configuration: Configuration): void => {
  installed = configuration;
};

export function configuration(): Configuration {
  if (installed === undefined) throw new Error("no configuration was installed");
  return installed;
}

/** The value of a main.cf parameter. */
export const parameter = <N extends ParameterName>(name: N): ParameterValue<N> => configuration().get(name);

/** A configuration from the text of a main.cf, for tests; its errors are thrown. */
export function configurationFromText(
  text: string,
  names: { processName?: string; serviceName?: string } = {},
): Configuration {
  const parsed = parseMainCf(text, "main.cf");
  if (!parsed.ok) throw new ConfigurationError(parsed.error);
  return new Configuration({
    directory: "/etc/postfix",
    entries: parsed.entries,
    processName: names.processName ?? "test",
    serviceName: names.serviceName ?? names.processName ?? "test",
    owner: 0,
    die: (problem) => {
      throw new ConfigurationError(problem);
    },
  });
}
