/** One queue: its files in the order of the directory, as fast as the client takes them, in constant memory. */

import { warning } from "../../lib/log/log.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import type { MessageQueue } from "../../lib/queue/directories.ts";
import { parseQueueId } from "../../lib/queue/queue_id.ts";
import { QueueScan } from "../../lib/queue/scan.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { showMessage } from "./message.ts";

const FLUSH_AT = 32 * 1024;
/** Files after which other clients get their turn. */
const TURN = 64;
const READ_SIZE = 4096;

export async function listQueue(channel: Channel, queue: MessageQueue, hashed: boolean): Promise<void> {
  const scan = openScan(queue, hashed);
  if (scan === undefined) return;
  const buffer = Buffer.allocUnsafeSlow(READ_SIZE);
  let count = 0;
  try {
    for (let name = scan.next(); name !== undefined; name = scan.next()) {
      const id = parseQueueId(name);
      const status = id === undefined ? undefined : queues().openable(queue, id);
      if (id !== undefined && status !== undefined) {
        const waiting = showMessage(channel, queue, id, status, buffer);
        if (waiting !== undefined) await waiting;
      }
      if (channel.unsent > FLUSH_AT) await channel.flush();
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
