/** One queue: its files in the order of the directory, as fast as the client takes them, in constant memory. */

import { parameter } from "../../lib/config/configuration.ts";
import { warning } from "../../lib/log/log.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import type { MessageQueue } from "../../lib/queue/directories.ts";
import { parseQueueId } from "../../lib/queue/queue_id.ts";
import { QueueScan } from "../../lib/queue/scan.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { type Listing, Message } from "./message.ts";

/** Files after which other clients get their turn. */
const TURN = 64;
const READ_SIZE = 4096;

export async function listQueue(channel: Channel, queue: MessageQueue, hashed: boolean): Promise<void> {
  const scan = openScan(queue, hashed);
  if (scan === undefined) return;
  const listing: Listing = {
    channel,
    queues: queues(),
    queue,
    buffer: Buffer.allocUnsafeSlow(READ_SIZE),
    utf8: parameter("smtputf8_enable"),
    emptyAddress: parameter("empty_address_recipient"),
    rememberedLimit: parameter("duplicate_filter_limit") || Number.POSITIVE_INFINITY,
  };
  let count = 0;
  try {
    for (let name = scan.next(); name !== undefined; name = scan.next()) {
      const id = parseQueueId(name);
      const status = id === undefined ? undefined : listing.queues.openable(queue, id);
      const message =
        id === undefined || status === undefined ? undefined : Message.open(listing, id, status);
      if (message !== undefined)
        try {
          while (message.proceed()) await channel.flush();
        } finally {
          message.close();
        }
      if (++count % TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    scan.close();
  }
}

function openScan(queue: string, hashed: boolean): QueueScan | undefined {
  try {
    return new QueueScan(queue, { recursive: hashed });
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    warning(`open directory ${queue}: ${errorText(error)}`);
    return undefined;
  }
}
