/** `postfix non-bdb`: leaving Berkeley DB tables behind. */
import { configuration } from "../../lib/config/configuration.ts";
import { splitBraced } from "../../lib/config/lists.ts";
import { logAs } from "../../lib/daemon/script_log.ts";
import { fatal, info } from "../../lib/log/log.ts";
import { commandPath, run } from "./programs.ts";

const SERVICE = "nbdb_reindex/unix";

export function nonBerkeley([command = ""]: ReadonlyArray<string>): void {
  logAs("postfix-non-bdb-script");
  switch (command) {
    case "status":
      process.stdout.write(`${configuration().get("non_bdb_migration_level")}\n`);
      return;
    case "disable":
      postconf(["-X", "non_bdb_migration_level"]);
      postconf(["-MX", SERVICE]);
      return;
    case "enable-redirect":
      requireOtherTypes();
      postconf(["-MX", SERVICE]);
      postconf(["-e", "non_bdb_migration_level=enable-redirect"]);
      return;
    case "enable-reindex":
      requireOtherTypes();
      reindexEarly();
      postconf(["-Me", `${SERVICE}=nbdb_reindex unix y n n - 1 nbdb_reindexd`]);
      postconf(["-e", "non_bdb_migration_level=enable-reindex"]);
      return;
    default:
      fatal("usage: postfix non-bdb status (or enable-redirect, or enable-reindex, or disable)");
  }
}

function postconf(args: ReadonlyArray<string>): void {
  const status = run(commandPath("postconf"), ["-c", configuration().directory, ...args]);
  if (status !== 0) process.exit(status);
}

function requireOtherTypes(): void {
  for (const name of ["default_database_type", "default_cache_db_type"] as const) {
    const type = configuration().get(name);
    if (type === "hash" || type === "btree")
      fatal(`parameter ${name} specifies a Berkeley DB type: '${type}'`);
  }
}

/** Tables that programs without root's rights open: they could not ask for a new index. */
function reindexEarly(): void {
  for (const name of [
    "authorized_flush_users",
    "authorized_mailq_users",
    "authorized_submit_users",
    "local_login_sender_maps",
  ] as const)
    for (const table of splitBraced(configuration().get(name))) {
      if (!/^(?:hash|btree):/.test(table)) continue;
      info(`Proactively reindexing ${table}`);
      if (run(commandPath("postmap"), [table]) !== 0) process.exit(1);
    }
}
