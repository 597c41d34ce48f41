/** The name of a destination's log (queue.md 31): letters, digits and underscores alone, so that no request can leave the directory. */
import { toAsciiDomain } from "../../lib/address/hostname.ts";
import { parseQueueId, type QueueId } from "../../lib/queue/queue_id.ts";
import { lowerAscii } from "../../lib/sys/bytes.ts";

/** Undefined when the domain cannot have a log. */
export function logNameOf(site: string): QueueId | undefined {
  const ascii = toAsciiDomain(site);
  return ascii === undefined ? undefined : parseQueueId(lowerAscii(ascii).replace(/[^A-Za-z0-9]/g, "_"));
}
