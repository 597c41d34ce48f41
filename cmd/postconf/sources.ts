/** What postconf looks at: main.cf, master.cf, the built-in parameters, and what a name means among them. */

import { NO_SERVICE } from "../../lib/config/configuration.ts";
import { DERIVED_PARAMETERS, type DerivedSuffix, TRANSPORT_PARAMETERS } from "../../lib/config/derived.ts";
import { DEFAULT_DIRECTORY } from "../../lib/config/directory.ts";
import { type Expansion, expandMacros } from "../../lib/config/expand.ts";
import { parseLevel } from "../../lib/config/level.ts";
import { logicalLines } from "../../lib/config/lines.ts";
import { readMainCf, splitNameValue } from "../../lib/config/main_cf.ts";
import { isParameterName, parameterNames, parameterRow } from "../../lib/config/parameter_rows.ts";
import { type ParameterName, READ_ONLY_PARAMETERS } from "../../lib/config/parameters.ts";
import { Configuration } from "../../lib/config/settings.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { fromBytes, pathOf } from "../../lib/sys/bytes.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { readFileSync } from "../../lib/sys/fs.ts";
import { baseName } from "../../lib/sys/paths.ts";
import { fieldOf, type MasterEntry, parseEntry, settingsOf } from "./master_file.ts";
import { givenDirectory, type ParameterClass, type Request } from "./options.ts";

/** An old name that works only when it is set. */
export const isLegacy = (name: string): boolean => isParameterName(name) && parameterRow(name)[5] === "";
export const isRaw = (name: string): boolean => isParameterName(name) && parameterRow(name)[0] === "raw";

/** Suffixes of the parameters that a service has, by the program that it runs. */
const SUFFIXES: ReadonlyMap<string, ReadonlyArray<DerivedSuffix>> = (() => {
  const transport = Object.keys(TRANSPORT_PARAMETERS) as DerivedSuffix[];
  const limited: ReadonlyArray<DerivedSuffix> = ["_time_limit"];
  return new Map([
    ...["local", "error", "virtual", "smtp", "lmtp"].map((program) => [program, transport] as const),
    ["pipe", [...transport, ...limited]] as const,
    ["spawn", limited] as const,
  ]);
})();

export class Sources {
  readonly directory: string;
  readonly mainPath: string;
  readonly masterPath: string;
  /** Settings of main.cf and -o, in effect and expanded nowhere. */
  readonly settings: ReadonlyMap<string, string>;
  /** Assignments that are ignored. */
  readonly readOnly: ReadonlyMap<string, string>;
  readonly master: ReadonlyArray<MasterEntry>;
  /** Parameters of services, with their defaults. */
  readonly services: ReadonlyMap<string, string>;
  readonly #configuration: Configuration;
  /** -d */
  readonly #defaultsOnly: boolean;

  constructor(request: Request, program: string) {
    const { options } = request;
    this.#defaultsOnly = options.has("-d");
    this.directory = givenDirectory() ?? DEFAULT_DIRECTORY;
    this.mainPath = `${this.directory}/main.cf`;
    this.masterPath = `${this.directory}/master.cf`;
    const settings = this.#defaultsOnly ? new Map<string, string>() : this.#readMain(request);
    const assigned = [...READ_ONLY_PARAMETERS].flatMap((name) => {
      const value = settings.get(name);
      return value === undefined ? [] : [[name, value] as const];
    });
    this.readOnly = new Map(assigned.sort());
    for (const name of this.readOnly.keys()) settings.delete(name);
    this.settings = settings;
    this.master = readMaster(this.masterPath, options.has("-M") || options.has("-F") || options.has("-P"));
    this.services = serviceParameters(this.master);
    this.#configuration = new Configuration({
      directory: this.directory,
      entries: settings,
      processName: program.slice(program.lastIndexOf("/") + 1),
      serviceName: NO_SERVICE,
      owner: 0,
    });
    if (!this.#defaultsOnly) this.#computeDefaults();
  }

  /** Computes the defaults that depend on this machine, in Postfix's order: what is bad in the settings behind them is fatal. */
  #computeDefaults(): void {
    const configuration = this.#configuration;
    const check = (name: ParameterName): string | undefined =>
      configuration.isSet(name) ? configuration.lookup(name) : undefined;
    if (!configuration.isSet("mydomain")) check("myhostname");
    if (!configuration.isSet("mynetworks")) {
      if (check("mynetworks_style") === undefined) this.#checkLevel();
      if (check("inet_protocols") !== "") configuration.protocols();
      if (!configuration.isSet("myhostname")) check("mydomain");
      check("inet_interfaces");
      configuration.lookup("mynetworks");
    }
    if (!configuration.isSet("myhostname")) check("mydomain");
  }

  /** The default of mynetworks_style depends on the level. */
  #checkLevel(): void {
    const expansion = this.#expansion(this.valueOf("compatibility_level") ?? "");
    if (!expansion.ok) for (const problem of expansion.problems) warning(problem);
    const level = expansion.ok ? expansion.value : "";
    if (parseLevel(level) !== undefined) return;
    warning(`malformed compatibility level syntax: "${level}"`);
    fatal("macro processing error");
  }

  #readMain(request: Request): Map<string, string> {
    const given = givenDirectory();
    const initial = new Map(given === undefined ? [] : [["config_directory", given]]);
    const { entries } = readMainCf(this.directory, initial);
    for (const override of request.overrides) {
      const pair = splitNameValue(override);
      if (!pair.ok) fatal(`invalid parameter override: ${override}: ${pair.problem}`);
      entries.set(pair.name, pair.value);
    }
    return entries;
  }

  /** Which kind of parameter a name is, by its name alone. */
  classOf(name: string): Exclude<ParameterClass, "user"> | undefined {
    if (this.services.has(name)) return "service";
    if (isParameterName(name)) return "builtin";
    return this.#isClientLimit(name) ? "service" : undefined;
  }

  /** A parameter of ours that every service has, known when it is set. */
  #isClientLimit(name: string): boolean {
    return (
      name.endsWith("_client_limit") &&
      this.settings.has(name) &&
      this.master.some((entry) => name === `${fieldOf(entry, "service")}_client_limit`)
    );
  }

  /** Unexpanded default of a built-in or service parameter. */
  defaultOf(name: string): string | undefined {
    if (isParameterName(name))
      return this.settings.has(name) ? parameterRow(name)[1] : this.#configuration.raw(name);
    return this.services.get(name);
  }

  /** Unexpanded value in effect: what is set, else the default. */
  valueOf(name: string): string | undefined {
    return this.settings.get(name) ?? this.defaultOf(name);
  }

  /** Expands `$name` as a program with this configuration would; a service sees its own settings first. */
  expand(text: string, entry?: MasterEntry): string {
    const expansion = this.#expansion(text, entry);
    if (expansion.ok) return expansion.value;
    for (const problem of expansion.problems) warning(problem);
    return fatal(expansion.fatal ?? "macro processing error");
  }

  #expansion(text: string, entry?: MasterEntry): Expansion {
    const own = entry === undefined ? undefined : settingsOf(entry);
    return expandMacros(text, {
      recursive: true,
      isFinal: isRaw,
      lookup: (name) =>
        (entry === undefined ? undefined : this.#ofEntry(name, entry, own)) ?? this.valueOf(name),
    });
  }

  #ofEntry(
    name: string,
    entry: MasterEntry,
    own: ReadonlyMap<string, string> | undefined,
  ): string | undefined {
    if (name === "service_name") return fieldOf(entry, "service");
    if (name === "process_name") return baseName(fieldOf(entry, "command"));
    return own?.get(name);
  }

  /** Old names that only defaults refer to: who sets one has a parameter of his own. */
  get legacySet(): string[] {
    return [...this.settings.keys()].filter(isLegacy);
  }

  /** Names that can be listed without being asked for, apart from users' own. */
  listed(kind: "builtin" | "service"): string[] {
    if (kind === "service")
      return [
        ...this.services.keys(),
        ...[...this.settings.keys()].filter((name) => this.#isClientLimit(name)),
      ];
    return parameterNames().filter((name) => !this.services.has(name) && !isLegacy(name));
  }
}

function readMaster(path: string, needed: boolean): MasterEntry[] {
  let text: string;
  try {
    text = fromBytes(readFileSync(pathOf(path)));
  } catch (error) {
    const problem = `open ${path}: ${errorText(error)}`;
    if (needed) fatal(problem);
    warning(problem);
    return [];
  }
  const { lines, warnings } = logicalLines(text, path);
  for (const problem of warnings) warning(problem);
  return lines.map(({ text: entry, line }) =>
    parseEntry(entry, () => `file ${path}: line ${line}: bad field count`),
  );
}

function serviceParameters(master: ReadonlyArray<MasterEntry>): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const entry of master) {
    for (const suffix of SUFFIXES.get(fieldOf(entry, "command")) ?? []) {
      const name = `${fieldOf(entry, "service")}${suffix}`;
      const base = DERIVED_PARAMETERS[suffix].base;
      parameters.set(name, isParameterName(name) ? parameterRow(name)[1] : `$${base}`);
    }
  }
  return parameters;
}
