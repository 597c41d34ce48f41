/** Actions on everything that is in the named queues. */
import { queues } from "../../lib/queue/configured_queues.ts";
import { isReady } from "../../lib/queue/directories.ts";
import { isQueueId } from "../../lib/queue/queue_id.ts";
import { errorCode } from "../../lib/sys/errno.ts";
import { ACTION_QUEUES, perform, removeFile } from "./actions.ts";
import type { KnownQueue } from "./queue_list.ts";
import { queueKind } from "./queue_list.ts";
import type { Action, Report } from "./report.ts";
import { walk } from "./walk.ts";

export async function actOnAll(
  action: Action,
  names: ReadonlyArray<KnownQueue>,
  report: Report,
): Promise<void> {
  for (const queue of names) {
    if (action === "delete") await deleteAll(queue, report);
    else if (ACTION_QUEUES[action].has(queue))
      await walk(queue, queueKind(queue).hashed, (path, name) => {
        if (!isQueueId(name) || !isFile(path)) return;
        // what lies at a place of its own is for -s
        if (path === queues().path(queue, name) && perform(action, queue, name)) report.count(action);
      });
  }
}

/** Every file goes, logs and unfinished ones too; only messages are counted. */
async function deleteAll(queue: KnownQueue, report: Report): Promise<void> {
  const { messages, hashed } = queueKind(queue);
  await walk(queue, hashed, (path, name) => {
    const message = messages && isQueueId(name) && isReadyFile(path);
    if (isDirectory(path)) return;
    if (removeFile(path) && message) report.count("delete");
  });
}

function isReadyFile(path: string): boolean {
  const status = statusOf(path);
  return status?.regular === true && isReady(status.mode);
}

/** With ALL, what is not complete yet moves, too: whoever writes it goes on where it is. */
const isFile = (path: string): boolean => statusOf(path)?.regular === true;

const isDirectory = (path: string): boolean => statusOf(path)?.directory === true;

function statusOf(path: string) {
  try {
    return queues().files.lstat(path);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
