/** What recipients need of other services: verify(8) for probes of aliases, the trace log for NOTIFY=SUCCESS. */
import { sent, traceExpansion } from "../../lib/delivery/disposition.ts";
import { NO_STATS } from "../../lib/delivery/stats.ts";
import { dsn } from "../../lib/delivery/status.ts";
import { DELIVERY_FLAG, NO_MOMENT } from "../../lib/ipc/protocols/delivery.ts";
import type { Message } from "./message.ts";
import type { RecipientEntry, RecipientServices } from "./recipients.ts";

const attempt = (message: Message, recipient: RecipientEntry, flags: number) => ({
  message: {
    queueId: message.queueId,
    flags,
    stats: { ...NO_STATS, incomingArrival: message.arrival ?? NO_MOMENT },
  },
  recipient: {
    originalRecipient: recipient.original,
    recipient: recipient.address,
    offset: 0,
    dsnOriginalRecipient: recipient.dsnOriginal,
    notifyFlags: recipient.notify,
  },
  relay: "none",
});

export const deliveryServices: RecipientServices = {
  async reportMultiple(message, recipient) {
    await sent(
      attempt(message, recipient, DELIVERY_FLAG.mtaVerify),
      dsn("2.0.0", "aliased to multiple recipients"),
    );
  },
  traceExpansion: (message, recipient) =>
    traceExpansion(attempt(message, recipient, 0), dsn("2.0.0", "alias expanded", { action: "expanded" })),
};
