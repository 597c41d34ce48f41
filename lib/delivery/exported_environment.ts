/** What commands that this process runs find in their environment at first (export_environment). */
import { type Configuration, configuration } from "../config/configuration.ts";
import { encodeUtf8, splitAny } from "../sys/bytes.ts";
import { COMMAND_PATH } from "./command.ts";

const exported = new WeakMap<Configuration, ReadonlyMap<string, string>>();

/** What export_environment lets through, and the search path. */
export function exportedEnvironment(): ReadonlyMap<string, string> {
  const current = configuration();
  let environment = exported.get(current);
  if (environment !== undefined) return environment;
  const made = new Map<string, string>();
  for (const word of splitAny(current.get("export_environment"), ", \t\r\n")) {
    const equals = word.indexOf("=");
    const value = equals < 0 ? process.env[word] : undefined;
    if (equals > 0) made.set(word.slice(0, equals), word.slice(equals + 1));
    else if (value !== undefined) made.set(word, encodeUtf8(value));
  }
  made.set("PATH", COMMAND_PATH);
  environment = made;
  exported.set(current, environment);
  return environment;
}
