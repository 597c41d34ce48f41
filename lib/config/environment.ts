/** import_environment and export_environment: what passes from one process to the next. */
import { currentEnvironment, type Environment, installEnvironment } from "../sys/environment.ts";
import { isUnsafeProcess } from "./directory.ts";
import { splitBraced, unwrapBraces } from "./lists.ts";
import { splitNameValue } from "./main_cf.ts";
import { type Configuration, ConfigurationError } from "./settings.ts";

/** PATH of commands that are not ours. */
export const SYSTEM_PATH = "/usr/bin:/bin";

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
