/** One delivery request from beginning to end. */
import type { DeliveryRequest, DeliveryResult } from "../../lib/delivery/request.ts";
import { ClientAbort } from "../../lib/log/log.ts";
import type { Agent } from "./agent.ts";
import { Delivery } from "./delivery.ts";
import { refuseByFlags } from "./flags.ts";
import { deliverToPath } from "./path_route.ts";
import { Route } from "./route.ts";

/** Delivers a request as far as that is possible now. */
export async function deliver(request: DeliveryRequest, agent: Agent): Promise<DeliveryResult> {
  if (request.nexthop === "") throw new ClientAbort("empty nexthop hostname");
  const delivery = new Delivery(request, agent);
  if (await refuseByFlags(delivery)) return delivery.result();
  const { mode } = agent.settings;
  if (mode === "lmtp" && request.nexthop.startsWith("unix:"))
    await deliverToPath(delivery, request.nexthop.slice(5));
  else await new Route(delivery).run();
  return delivery.result();
}
