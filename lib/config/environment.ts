/** import_environment and export_environment: what passes from one process to the next. */
import { readFileSync } from "node:fs";
import { decodeUtf8, encodeUtf8 } from "../sys/bytes.ts";
import { errorCode } from "../sys/errno.ts";
import { isUnsafeProcess } from "./directory.ts";
import { splitBraced, unwrapBraces } from "./lists.ts";
import { splitNameValue } from "./main_cf.ts";
import { type Configuration, ConfigurationError } from "./settings.ts";

/** Environment as byte strings. */
export type Environment = ReadonlyMap<string, string>;

/** PATH of commands that are not ours. */
export const SYSTEM_PATH = "/usr/bin:/bin";

/** What the runtime puts in the place of bytes that are no UTF-8. */
const REPLACEMENT = "\ufffd";
const KERNELS_COPY = "/proc/self/environ";

/** The environment of this process. */
export function currentEnvironment(): Map<string, string> {
  const environment = new Map<string, string>();
  let inherited: ReadonlyMap<string, readonly [name: string, value: string]> | undefined;
  for (const [name, value] of Object.entries(process.env)) {
    if (value === undefined) continue;
    const lossy = value.includes(REPLACEMENT) || name.includes(REPLACEMENT);
    if (lossy) inherited ??= inheritedEnvironment();
    const [exactName, exactValue] = (lossy ? inherited?.get(`${name}=${value}`) : undefined) ?? [
      encodeUtf8(name),
      encodeUtf8(value),
    ];
    environment.set(exactName, exactValue);
  }
  return environment;
}

/** One variable. */
export function environmentVariable(name: string): string | undefined {
  const value = process.env[name];
  return value?.includes(REPLACEMENT) === true ? currentEnvironment().get(name) : value && encodeUtf8(value);
}

/** The variables that the process was started with, by what the runtime makes of them. Empty where the kernel does not tell. */
function inheritedEnvironment(): Map<string, readonly [string, string]> {
  const inherited = new Map<string, readonly [string, string]>();
  let text: string;
  try {
    text = readFileSync(KERNELS_COPY, "latin1");
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return inherited;
  }
  for (const variable of text.split("\0")) {
    const equals = variable.indexOf("=");
    if (equals > 0)
      inherited.set(Buffer.from(variable, "latin1").toString("utf8"), [
        variable.slice(0, equals),
        variable.slice(equals + 1),
      ]);
  }
  return inherited;
}

type Item = { readonly name: string; readonly value: string | undefined };

/** Reads the list; throws ConfigurationError. */
function parseEnvironmentList(parameter: string, list: string, caller: "clean_env" | "update_env"): Item[] {
  return splitBraced(list).map((element) => {
    let text = element;
    if (element.startsWith("{")) {
      const unwrapped = unwrapBraces(element);
      if (!unwrapped.ok) throw new ConfigurationError(`${parameter}: ${unwrapped.problem}`);
      text = unwrapped.text;
    }
    if (!text.includes("=")) return { name: text, value: undefined };
    const pair = splitNameValue(text);
    if (!pair.ok) throw new ConfigurationError(`${caller}: ${pair.problem} in: ${text}`);
    return { name: pair.name, value: pair.value };
  });
}

/** An environment of nothing but what the list names: `name` as it is now, `name=value` set. */
export function cleanEnvironment(
  parameter: "import_environment" | "export_environment",
  list: string,
  current: Environment,
  unsafe: boolean = isUnsafeProcess(),
): Map<string, string> {
  const clean = new Map<string, string>();
  for (const { name, value } of parseEnvironmentList(parameter, list, "clean_env")) {
    const kept = value ?? (unsafe ? undefined : current.get(name));
    if (kept !== undefined) clean.set(name, kept);
  }
  return clean;
}

/** The environment with only the list's `name=value` elements applied. */
export function updateEnvironment(
  parameter: "import_environment",
  list: string,
  current: Environment,
): Map<string, string> {
  const updated = new Map(current);
  for (const { name, value } of parseEnvironmentList(parameter, list, "update_env"))
    if (value !== undefined) updated.set(name, value);
  return updated;
}

/** Makes this the environment of the process. */
export function installEnvironment(environment: Environment): void {
  const current = currentEnvironment();
  const text = (bytes: string): string => Buffer.from(bytes, "latin1").toString("utf8");
  for (const name of current.keys()) if (!environment.has(name)) delete process.env[text(name)];
  for (const [name, value] of environment)
    if (current.get(name) !== value) process.env[text(name)] = decodeUtf8(value) ?? value;
}

/**
 * Applies import_environment to this process: `clean` leaves nothing but what it lists (set-gid programs, master, postfix), `update` only
 * sets its `name=value` elements. A bad list is fatal.
 */
export function importEnvironment(configuration: Configuration, mode: "clean" | "update"): void {
  const list = configuration.get("import_environment");
  try {
    const current = currentEnvironment();
    installEnvironment(
      mode === "clean"
        ? cleanEnvironment("import_environment", list, current)
        : updateEnvironment("import_environment", list, current),
    );
  } catch (error) {
    if (error instanceof ConfigurationError) configuration.refuse(error.message);
    throw error;
  }
}
