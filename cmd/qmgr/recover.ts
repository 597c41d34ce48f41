/** Start-up: what an earlier queue manager had in its active queue is looked at anew (queue.md 18.1). */
import { warning } from "../../lib/log/log.ts";
import { isQueueId } from "../../lib/queue/queue_id.ts";
import type { Disk } from "./disk.ts";

export function recoverActive(disk: Disk, now: number): void {
  recoverDirectory(disk, "active", now);
}

function recoverDirectory(disk: Disk, path: string, now: number): void {
  for (const name of disk.list(path) ?? []) {
    if (name.length === 1) {
      recoverDirectory(disk, `${path}/${name}`, now);
      continue;
    }
    if (!isQueueId(name)) {
      warning(`qmgr_move: ignored: queue active id ${name}`);
      continue;
    }
    if (!disk.setTime("active", name, now) || !disk.move(name, "active", "incoming"))
      warning(`qmgr_move: rename ${name} from active to incoming: No such file or directory`);
  }
}
