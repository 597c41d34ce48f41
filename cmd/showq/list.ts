/** One queue: its files in the order of the directory, as fast as the client takes them, in constant memory. */

import { parameter } from "../../lib/config/configuration.ts";
import { warning } from "../../lib/log/log.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import type { MessageQueue } from "../../lib/queue/directories.ts";
import { parseQueueId } from "../../lib/queue/queue_id.ts";
import { QueueScan } from "../../lib/queue/scan.ts";
import type { ByteOutput } from "../../lib/sys/byte_output.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { Listing, Message } from "./message.ts";

/** Files after which other clients get their turn. */
const TURN = 64;

export async function listQueue(channel: Channel, queue: MessageQueue, hashed: boolean): Promise<void> {
  const scan = openScan(queue, hashed);
  if (scan === undefined) return;
  const listing = new Listing(
    queues(),
    queue,
    parameter("smtputf8_enable"),
    parameter("empty_address_recipient"),
    parameter("duplicate_filter_limit"),
  );
  let count = 0;
  try {
    for (let name = scan.next(); name !== undefined; name = scan.next()) {
      const id = parseQueueId(name);
      const status = id === undefined ? undefined : listing.queues.openable(queue, id);
      const message =
        id === undefined || status === undefined ? undefined : Message.open(listing, id, status);
      if (message !== undefined)
        try {
          while (message.proceed()) await send(channel, listing.output);
        } finally {
          message.close();
        }
      if (++count % TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    if (listing.output.length > 0) await send(channel, listing.output);
  } finally {
    scan.close();
  }
}

/** Sends what was written; its memory is free again when the kernel has it all. */
async function send(channel: Channel, output: ByteOutput): Promise<void> {
  channel.write(output.view());
  await channel.flush();
  output.clear();
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
