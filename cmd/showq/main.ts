/** showq(8): tells what is in the queue (queue.md 32, ipc.md 5.7). */
import { singleServer } from "../../lib/daemon/single.ts";
import { send } from "../../lib/ipc/attributes.ts";
import { LIST_TERMINATOR, ShowqGreeting } from "../../lib/ipc/protocols/showq.ts";
import { listQueue } from "./list.ts";

/** In this order, and whether the queue may have hash subdirectories. */
const QUEUES = [
  { name: "maildrop", hashed: false },
  { name: "active", hashed: true },
  { name: "incoming", hashed: true },
  { name: "deferred", hashed: true },
  { name: "hold", hashed: true },
] as const;

export const main = singleServer({
  profile: { files: "read" },
  parameters: ["duplicate_filter_limit", "empty_address_recipient"],
  serve: async ({ channel }) => {
    send(channel, ShowqGreeting, {});
    for (const { name, hashed } of QUEUES) await listQueue(channel, name, hashed);
    channel.write(LIST_TERMINATOR);
    await channel.flush();
  },
});
