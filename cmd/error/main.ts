/** error(8), also as retry: gives up on, or puts off, all recipients with the text of the nexthop. */

import { singleServer } from "../../lib/daemon/single.ts";
import { combine, openDispositionTables } from "../../lib/delivery/agent.ts";
import { type Attempt, bounced, type Disposition, deferred } from "../../lib/delivery/disposition.ts";
import {
  type DeliveryRequest,
  type DeliveryResult,
  markRecipientDone,
  serveDelivery,
} from "../../lib/delivery/request.ts";
import { dsn, splitDsn } from "../../lib/delivery/status.ts";
import { fatal } from "../../lib/log/log.ts";

const DEFAULT_STATUS: ReadonlyMap<string, string> = new Map([
  ["error", "5.0.0"],
  ["retry", "4.0.0"],
]);

export const main = singleServer({
  profile: { files: "write" },
  parameters: ["default_delivery_status_filter"],
  async preJail(service) {
    if (!DEFAULT_STATUS.has(service.name)) fatal(`bad error service name: ${service.name}`);
    await openDispositionTables();
  },
  keeps: true,
  serve: (client, service) => serveDelivery(client, (request) => deliver(request, service.name)),
});

async function deliver(request: DeliveryRequest, service: string): Promise<DeliveryResult> {
  const { status, text } = splitDsn(request.nexthop, DEFAULT_STATUS.get(service) ?? "5.0.0");
  const outcome = dsn(status, text);
  const dispositions: Disposition[] = [];
  for (const recipient of request.recipients) {
    const attempt: Attempt = {
      message: request,
      recipient,
      relay: "none",
      markDone: (done) => markRecipientDone(request, done),
    };
    dispositions.push(await (service === "retry" ? deferred(attempt, outcome) : bounced(attempt, outcome)));
  }
  return { disposition: combine(dispositions) };
}
