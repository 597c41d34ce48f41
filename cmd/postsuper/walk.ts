/** Goes through a queue's files; signals are seen now and then. */
import { Progress } from "../../lib/daemon/progress.ts";
import { fatal } from "../../lib/log/log.ts";
import { QueueScan } from "../../lib/queue/scan.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";

/** Files between two turns of the event loop. */
const TURN = 200;

export async function walk(
  queue: string,
  hashed: boolean,
  visit: (path: string, name: string) => void,
  onLeave?: (directory: string, depth: number) => void,
): Promise<void> {
  let scan: QueueScan;
  try {
    scan = new QueueScan(queue, { recursive: hashed, ...(onLeave === undefined ? {} : { onLeave }) });
  } catch (error) {
    // a queue from before there was this directory
    if (queue === "trace" && errorCode(error) === "ENOENT") return;
    fatal(`scan_dir_push: open directory ${queue}: ${errorText(error)}`);
  }
  const progress = new Progress((count) => `${queue}: ${count} files`);
  try {
    let count = 0;
    for (let name = scan.next(); name !== undefined; name = scan.next()) {
      // where there are hash directories such a name is one, or nobody knows what it is
      if (hashed && name.length === 1)
        fatal(`scan_dir_push: open directory ${scan.directory}/${name}: Not a directory`);
      visit(`${scan.directory}/${name}`, name);
      progress.step();
      if (++count % TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    scan.close();
    progress.end();
  }
}
