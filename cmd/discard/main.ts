/** discard(8): pretends to deliver, with the text of the nexthop as the reason. */

import { singleServer } from "../../lib/daemon/single.ts";
import { combine, openDispositionTables } from "../../lib/delivery/agent.ts";
import { type Disposition, sent } from "../../lib/delivery/disposition.ts";
import {
  type DeliveryRequest,
  type DeliveryResult,
  markRecipientDone,
  serveDelivery,
} from "../../lib/delivery/request.ts";
import { dsn, splitDsn } from "../../lib/delivery/status.ts";

export const main = singleServer({
  profile: { files: "write" },
  patient: true,
  preJail: openDispositionTables,
  keeps: true,
  serve: (client) => serveDelivery(client, deliver),
});

async function deliver(request: DeliveryRequest): Promise<DeliveryResult> {
  const { status, text } = splitDsn(request.nexthop, "2.0.0");
  const dispositions: Disposition[] = [];
  for (const recipient of request.recipients)
    dispositions.push(
      await sent(
        {
          message: request,
          recipient,
          relay: "none",
          markDone: (done) => markRecipientDone(request, done),
        },
        dsn(status, text),
      ),
    );
  return { disposition: combine(dispositions) };
}
