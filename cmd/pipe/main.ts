/** pipe(8): hands mail to commands of the administrator's choice. Each delivery is a process that has become the service's user for good. */
import { configuration, parameter } from "../../lib/config/configuration.ts";
import { singleServer } from "../../lib/daemon/single.ts";
import { openDispositionTables } from "../../lib/delivery/agent.ts";
import { serveDelivery } from "../../lib/delivery/request.ts";
import { openStatusFilter, type StatusFilter } from "../../lib/delivery/status_filter.ts";
import { changedTable, refreshTables } from "../../lib/tables/open.ts";
import { readAttributes } from "./attributes.ts";
import { deliver, type PipeService } from "./deliver.ts";

let filter: StatusFilter | undefined;
let pipe: PipeService | undefined;

export const main = singleServer({
  profile: { files: "write", executes: true },
  privileged: true,
  takesArguments: true,
  parameters: ["command_time_limit", "export_environment"],
  async preJail({ name }) {
    configuration().serviceParameter(name, "_time_limit");
    await openDispositionTables();
    filter = await openStatusFilter("pipe_delivery_status_filter", parameter("pipe_delivery_status_filter"));
  },
  changedTable,
  refreshTables,
  keeps: true,
  // a bad service definition is noticed by the first delivery, as master would start the process over and over
  serve: (client, { name, arguments: words }) =>
    serveDelivery(client, (request) => {
      pipe ??= { name, attributes: readAttributes(words), filter };
      return deliver(request, pipe);
    }),
});
