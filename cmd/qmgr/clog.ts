/** Advice when one destination fills the active queue (queue.md 21). */
import { warning } from "../../lib/log/log.ts";
import type { Manager } from "./manager.ts";
import type { Queue } from "./queue.ts";

export function clogWarning(manager: Manager, queue: Queue): void {
  const { clogWarnTime, helpfulWarnings, activeLimit } = manager.settings;
  if (!helpfulWarnings || clogWarnTime <= 0) return;
  const entries = queue.todo.length + queue.busy.length;
  if (entries <= activeLimit / 5) return;
  const now = manager.clock.now();
  if (now < queue.clogWarnTime) return;
  queue.clogWarnTime = now + clogWarnTime;
  for (const line of advice(manager, queue, entries)) warning(line);
}

function advice(manager: Manager, queue: Queue, entries: number): string[] {
  const { activeLimit } = manager.settings;
  const { transport, nexthop } = queue;
  const limit = transport.settings.concurrencyLimit;
  const active = manager.messageCount;
  const lines = [`mail for ${nexthop} is using up ${entries} of ${active} active queue entries`];
  const share = entries / Math.max(1, active);
  if (share < 0.9) lines.push("this may slow down other mail deliveries");
  if (limit > 0 && limit <= queue.busy.length + 1)
    lines.push(
      `you may need to increase the main.cf ${transport.name}_destination_concurrency_limit from ${limit}`,
    );
  else if (queue.window > activeLimit * share)
    lines.push(`you may need to increase the main.cf qmgr_message_active_limit from ${activeLimit}`);
  else if (transport.queues.size > 1)
    lines.push(`you may need a separate master.cf transport for ${nexthop}`);
  else
    lines.push(
      `you may need to reduce ${transport.name} connect and helo timeouts`,
      "so that Postfix quickly skips unavailable hosts",
      "you may need to increase the main.cf minimal_backoff_time and maximal_backoff_time",
      "so that Postfix wastes less time on undeliverable mail",
      `you may need to increase the master.cf ${transport.name} process limit`,
    );
  lines.push(
    "please avoid flushing the whole queue when you have",
    "lots of deferred mail, that is bad for performance",
    "to turn off these warnings specify: qmgr_clog_warn_time = 0",
  );
  return lines;
}
