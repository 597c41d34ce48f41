/** smtp(8), also as lmtp(8): delivers mail to other hosts by SMTP or LMTP (RFC 5321, RFC 2033). */
import { configuration } from "../../lib/config/configuration.ts";
import { singleServer } from "../../lib/daemon/single.ts";
import { openDispositionTables } from "../../lib/delivery/agent.ts";
import { serveDelivery } from "../../lib/delivery/request.ts";
import { fatal, panic } from "../../lib/log/log.ts";
import { changedTable, refreshTables } from "../../lib/tables/open.ts";
import { type Agent, makeAgent } from "./agent.ts";
import { deliver } from "./deliver.ts";

let agent: Agent | undefined;

export const main = singleServer({
  profile: { files: "write", internet: true },
  patient: true,
  takesArguments: true,
  async preJail(service) {
    const { processName } = service;
    if (processName !== "smtp" && processName !== "lmtp")
      fatal(`unexpected process name "${processName}" - specify "smtp" or "lmtp"`);
    configuration().select(["queue_directory", "ipc_timeout", "best_mx_transport", "relayhost"]);
    await openDispositionTables();
    agent = await makeAgent(processName, service.name, service.arguments, service.clientLimit);
  },
  changedTable,
  refreshTables,
  keeps: true,
  serve: async (client) => {
    const ready = agent ?? panic("smtp: not initialized");
    await serveDelivery(client, (request) => deliver(request, ready));
  },
  atExit: () => agent?.sessions.clear(),
});
