/** What flags= demands of a request before any server is looked for (delivery.md 8.1). */
import { internalToExternal } from "../../lib/address/quote.ts";
import { deliveredAddresses } from "../../lib/delivery/delivered_headers.ts";
import { dsn } from "../../lib/delivery/status.ts";
import { warning } from "../../lib/log/log.ts";
import { foldCase } from "../../lib/tables/casefold.ts";
import type { Delivery } from "./delivery.ts";
import { mapGeneric } from "./generic.ts";

/** Ends the delivery when a flag cannot be satisfied; true when it did. */
export async function refuseByFlags(delivery: Delivery): Promise<boolean> {
  const { request, agent } = delivery;
  const { flags, settings } = agent;
  for (const letter of [...(flags.deliveredTo ? ["D"] : []), ...(flags.originalTo ? ["O"] : [])])
    if (request.recipients.length > 1) {
      warning(`flag \`${letter}' requires ${agent.service}_destination_recipient_limit = 1`);
      await delivery.finish(dsn("4.3.5", "mail system configuration error"), agent.service);
      return true;
    }
  const [recipient] = request.recipients;
  if (!flags.deliveredTo || recipient === undefined) return false;
  const mapped = internalToExternal(await mapGeneric(recipient.recipient, agent.tables));
  if (!deliveredAddresses(request, settings.utf8).has(foldCase(mapped, settings.utf8))) return false;
  await delivery.finish(dsn("5.4.6", `mail forwarding loop for ${recipient.recipient}`), agent.service);
  return true;
}
