/** pickup's line: a local submission entered the queue (logging.md 9.2). */
import { defineEvent } from "../event.ts";

export const pickedUp = defineEvent<{
  queueId: string;
  uid: number;
  /** As info_log_address_format says. */
  sender: string;
  /** Name of the file, for requeued mail. */
  originalId: string | undefined;
}>(
  "picked_up",
  "info",
  ({ queueId, uid, sender, originalId }) =>
    `${queueId}: uid=${uid} from=<${sender}>${originalId === undefined ? "" : ` orig_id=${originalId}`}`,
);
