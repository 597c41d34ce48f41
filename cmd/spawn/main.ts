/** spawn(8): runs a command for each connection, as the user that master.cf names; an inetd for services of the mail system. */

import { configuration } from "../../lib/config/configuration.ts";
import { singleServer } from "../../lib/daemon/single.ts";
import { closeSync } from "../../lib/sys/fs.ts";
import { releaseSocket } from "../../lib/sys/sockets.ts";
import { changedTable, refreshTables } from "../../lib/tables/open.ts";
import { readAttributes, type SpawnAttributes } from "./attributes.ts";
import { runService } from "./run.ts";

let attributes: SpawnAttributes | undefined;

export const main = singleServer({
  profile: { files: "write", executes: true },
  privileged: true,
  clientLimit: 1,
  takesArguments: true,
  untouched: true,
  parameters: ["command_time_limit", "export_environment"],
  preJail({ name }) {
    configuration().serviceParameter(name, "_time_limit");
  },
  changedTable,
  refreshTables,
  async serve({ channel }, { name, arguments: words }) {
    attributes ??= readAttributes(words);
    const socket = releaseSocket(channel);
    if (socket === undefined) return;
    try {
      await runService(attributes, socket, configuration().serviceParameter(name, "_time_limit"));
    } finally {
      closeSync(socket);
    }
  },
});
