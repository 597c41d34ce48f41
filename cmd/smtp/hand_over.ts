/** best_mx_transport: mail for a domain whose best server we are goes to another delivery agent. */

import { passToTransport } from "../../lib/delivery/pass.ts";
import { markRecipientDone } from "../../lib/delivery/request.ts";
import { DELIVERY_FLAG } from "../../lib/ipc/protocols/delivery.ts";
import type { Delivery } from "./delivery.ts";

/** Passes all remaining recipients on; `value` is `transport[:nexthop]`. */
export async function handOver(delivery: Delivery, value: string): Promise<void> {
  const { request } = delivery;
  for (const recipient of delivery.remaining) {
    const attempt = {
      message: request,
      recipient,
      relay: "none",
      filter: delivery.agent.tables.statusFilter,
    };
    const disposition = await passToTransport(request, recipient, value, attempt);
    if (disposition === "finished" && (request.flags & DELIVERY_FLAG.markDone) !== 0)
      markRecipientDone(request, recipient);
    delivery.handedOver(recipient, disposition);
  }
}
