/** Reading main.cf and cleaning the environment. */

import { isOwnInstance } from "../../lib/config/accounts.ts";
import { configuration, installConfiguration, loadConfiguration } from "../../lib/config/configuration.ts";
import { cleanEnvironment } from "../../lib/config/environment.ts";
import { startDebugger } from "../../lib/daemon/debugger.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { currentEnvironment, installEnvironment } from "../../lib/sys/environment.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { changeDirectory } from "../../lib/sys/files.ts";
import { effectiveUid, realUid } from "../../lib/sys/identity.ts";
import { setResourceLimit } from "../../lib/sys/process.ts";
import type { MasterOptions } from "./options.ts";

/** Loads the configuration; the result is the environment that all children share. */
export function configure({ debug }: Pick<MasterOptions, "debug">): ReadonlyMap<string, string> {
  installConfiguration(loadConfiguration({ processName: "master" }));
  const environment = cleanEnvironment(
    "import_environment",
    configuration().get("import_environment"),
    currentEnvironment(),
  );
  installEnvironment(environment);
  if (debug || environment.has("MAIL_DEBUG")) startDebugger();
  setResourceLimit("fileSize", undefined);
  const directory = configuration().get("queue_directory");
  try {
    changeDirectory(directory);
  } catch (error) {
    fatal(`chdir("${directory}"): ${errorText(error)}`);
  }
  return environment;
}

/** Only root runs the mail system, or the user whose own instance it is. */
export function checkIdentity(): void {
  if (realUid() !== effectiveUid()) fatal("the master command must not run as a set-uid process");
  if (realUid() !== 0 && !isOwnInstance(configuration()))
    fatal("the master command is reserved for the superuser");
}

const FIXED = ["config_directory", "queue_directory", "inet_protocols"] as const;

/** Reads main.cf again. Some parameters cannot change while the system runs: they keep their values. */
export function reconfigure(): void {
  const before = configuration();
  const loaded = loadConfiguration({ processName: "master" });
  const kept = new Map<string, string>();
  for (const name of FIXED) {
    const [previous, current] = [before.get(name), loaded.get(name)];
    if (previous === current) continue;
    warning(`ignoring ${name} parameter value change`);
    warning(`old value: "${previous}", new value: "${current}"`);
    warning(`to change ${name}, stop and start Postfix`);
    kept.set(name, previous.replaceAll("$", "$$$$"));
  }
  installConfiguration(kept.size === 0 ? loaded : loaded.with(kept));
}
