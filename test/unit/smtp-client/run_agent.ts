/**
 * Runs the agent under Bun for a test: `run_agent.ts MODE SERVICE SOCKET [name=value ...] [flags=...]`, in the queue directory. With
 * `alone=yes` it is one of many processes, each with one delivery.
 */

import { makeAgent } from "../../../cmd/smtp/agent.ts";
import { deliver } from "../../../cmd/smtp/deliver.ts";
import { configuration, installConfiguration, loadConfiguration } from "../../../lib/config/configuration.ts";
import { openDispositionTables } from "../../../lib/delivery/agent.ts";
import { serveDelivery } from "../../../lib/delivery/request.ts";
import { Resolver, setResolver } from "../../../lib/dns/resolver.ts";
import { ClientAbort, logClientAbort, setLogSinks, setLogUtf8 } from "../../../lib/log/log.ts";
import { Channel } from "../../../lib/sys/channel.ts";
import { bindChannel, channelHandlers } from "../../../lib/sys/sockets.ts";

const [mode = "smtp", service = "smtp", socket = "", ...words] = process.argv.slice(2);
const overrides = words.filter((word) => !/^(?:flags|alone)=/.test(word));
setLogSinks([
  (event) =>
    process.stderr.write(
      Buffer.from(`${event.level === "info" ? "" : `${event.level}: `}${event.text}\n`, "latin1"),
    ),
]);
setLogUtf8(true);
installConfiguration(loadConfiguration({ overrides, processName: mode, serviceName: service }));
const { TEST_DNS_PORT } = process.env;
if (TEST_DNS_PORT !== undefined)
  setResolver(
    new Resolver({
      configuration: {
        servers: [{ address: "127.0.0.1", port: Number(TEST_DNS_PORT) }],
        timeout: 1,
        attempts: 1,
      },
    }),
  );
process.chdir(configuration().get("queue_directory"));
await openDispositionTables();
const agent = await makeAgent(
  mode === "lmtp" ? "lmtp" : "smtp",
  service,
  words.filter((word) => word.startsWith("flags=")),
  words.includes("alone=yes") ? 1 : undefined,
);
Bun.listen({
  unix: socket,
  allowHalfOpen: true,
  socket: {
    ...channelHandlers,
    open(client: never) {
      const channel = new Channel("client", 60);
      bindChannel(channel, client);
      serveDelivery({ channel }, (request) => deliver(request, agent))
        .catch((error: unknown) => {
          if (!(error instanceof ClientAbort)) throw error;
          logClientAbort(error);
        })
        .finally(() => channel.destroy());
    },
  },
} as never);
console.log("ready");
