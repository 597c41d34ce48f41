/** What commands that this process runs find in their environment at first (export_environment). */
import { type Configuration, configuration } from "../config/configuration.ts";
import { cleanEnvironment } from "../config/environment.ts";
import { currentEnvironment } from "../sys/environment.ts";
import { COMMAND_PATH } from "./command.ts";

const exported = new WeakMap<Configuration, ReadonlyMap<string, string>>();

/** What export_environment lets through, and the search path. */
export function exportedEnvironment(): ReadonlyMap<string, string> {
  const settings = configuration();
  let environment = exported.get(settings);
  if (environment === undefined) {
    const list = settings.get("export_environment");
    environment = cleanEnvironment("export_environment", list, currentEnvironment(), false).set(
      "PATH",
      COMMAND_PATH,
    );
    exported.set(settings, environment);
  }
  return environment;
}
