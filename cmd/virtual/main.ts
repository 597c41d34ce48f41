/** virtual(8): delivers to mailboxes of recipients that have no account, named by tables. It acts as the mailbox's owner. */
import { singleServer } from "../../lib/daemon/single.ts";
import { combine } from "../../lib/delivery/agent.ts";
import type { Disposition } from "../../lib/delivery/disposition.ts";
import {
  type DeliveryRequest,
  type DeliveryResult,
  markRecipientDone,
  serveDelivery,
} from "../../lib/delivery/request.ts";
import { marksDone } from "../../lib/delivery/status.ts";
import { panic } from "../../lib/log/log.ts";
import { changedTable, refreshTables } from "../../lib/tables/open.ts";
import { deliverVirtual } from "./mailbox.ts";
import { openSettings, type VirtualSettings } from "./settings.ts";

let settings: VirtualSettings | undefined;

export const main = singleServer({
  profile: { files: "write", actsAsUsers: true },
  privileged: true,
  parameters: [
    "virtual_mailbox_base",
    "virtual_minimum_uid",
    "virtual_mailbox_limit",
    "virtual_mailbox_lock",
  ],
  async preJail() {
    settings = await openSettings();
  },
  changedTable,
  refreshTables,
  keeps: true,
  async serve(client, service) {
    const ready = settings ?? panic("virtual: not initialized");
    await serveDelivery(client, (request) => deliver(request, service.name, ready));
  },
});

async function deliver(
  request: DeliveryRequest,
  service: string,
  current: VirtualSettings,
): Promise<DeliveryResult> {
  const dispositions: Disposition[] = [];
  for (const recipient of request.recipients) {
    const disposition = await deliverVirtual(request, recipient, service, current);
    if (disposition === "finished" && marksDone(request.flags)) markRecipientDone(request, recipient);
    dispositions.push(disposition);
  }
  return { disposition: combine(dispositions) };
}
