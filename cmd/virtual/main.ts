/** virtual(8): delivers to mailboxes of recipients that have no account, named by tables. It acts as the mailbox's owner, one delivery at a time. */
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
import { deliverVirtual } from "./mailbox.ts";
import { currentSettings, openSettings, type VirtualSettings } from "./settings.ts";

let settings: VirtualSettings | undefined;

export const main = singleServer({
  profile: { files: "write", actsAsUsers: true },
  privileged: true,
  clientLimit: 1,
  parameters: [
    "virtual_mailbox_base",
    "virtual_minimum_uid",
    "virtual_mailbox_limit",
    "virtual_mailbox_lock",
  ],
  async preJail() {
    settings = await openSettings();
  },
  async serve({ channel }, service) {
    if (settings === undefined) return;
    const current = await currentSettings(settings);
    settings = current;
    await serveDelivery(channel, (request) => deliver(request, service.name, current));
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
