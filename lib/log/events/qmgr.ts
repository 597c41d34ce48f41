/** Lines of the queue manager (logging.md 9.3). */
import { defineEvent } from "../event.ts";

/** A message entered the active queue. */
export const messageActive = defineEvent<{ queueId: string; from: string; size: number; nrcpt: number }>(
  "message_active",
  "info",
  (f) => `${f.queueId}: from=<${f.from}>, size=${f.size}, nrcpt=${f.nrcpt} (queue active)`,
);

/** The last recipient of a message is finished. */
export const messageRemoved = defineEvent<{ queueId: string }>(
  "message_removed",
  "info",
  (f) => `${f.queueId}: removed`,
);

/** The sender is told that the rest is given up. */
export const messageExpired = defineEvent<{
  queueId: string;
  from: string;
  status: "expired" | "force-expired";
}>(
  "message_expired",
  "info",
  (f) => `${f.queueId}: from=<${f.from}>, status=${f.status}, returned to sender`,
);

/** An agent that an earlier queue manager started still works on it. */
export const messageSkipped = defineEvent<{ queueId: string }>(
  "message_skipped",
  "info",
  (f) => `${f.queueId}: skipped, still being delivered`,
);
