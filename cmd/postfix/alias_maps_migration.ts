/** `postfix start` and `check`: the alias tables of a system that has just left Berkeley DB get their new indexes before mail needs them. */

import { configuration } from "../../lib/config/configuration.ts";
import { splitBraced } from "../../lib/config/lists.ts";
import { warning } from "../../lib/log/log.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { existsSync, writeFileSync } from "../../lib/sys/fs.ts";
import { daemonPath, run } from "./programs.ts";

const DONE = "check-alias-maps-migration-done";

/** Once for an instance; what fails is said, and does not stop the mail system. */
export function migrateAliasMaps(): void {
  if (configuration().get("non_bdb_migration_level") !== "enable-reindex") return;
  const done = `${configuration().directory}/${DONE}`;
  if (exists(done)) return;
  let failed = false;
  for (const table of splitBraced(configuration().get("alias_maps"))) {
    const [, suffix, path] = /^(cdb|lmdb):(\/.*)$/.exec(table) ?? [];
    if (path === undefined) continue;
    if (exists(`${path}.${suffix}`) || !exists(path) || !exists(`${path}.db`)) continue;
    if (run(daemonPath("nbdb_reindexd"), ["-S", `hash:${path}`]) !== 0) failed = true;
  }
  if (failed) warning("See https://www.postfix.org/NON_BERKELEYDB_README.html for suggestions");
  try {
    writeFileSync(pathOf(done), "");
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    warning(`cannot create ${done}: ${errorText(error)}`);
  }
}

const exists = (path: string): boolean => existsSync(pathOf(path));
