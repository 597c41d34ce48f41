/** One action on one message file that is where the caller says. */

import { fatal, verbose, warning } from "../../lib/log/log.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import { isReady, MODE_EXPIRE } from "../../lib/queue/directories.ts";
import type { QueueId } from "../../lib/queue/queue_id.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { safeOpen } from "../../lib/sys/files.ts";
import { closeSync, constants } from "../../lib/sys/fs.ts";
import { type KnownQueue, LOG_QUEUES } from "./queue_list.ts";
import type { Action } from "./report.ts";

/** Queues in which an action finds its messages. */
export const ACTION_QUEUES: Readonly<Record<Action, ReadonlySet<KnownQueue>>> = {
  delete: new Set(["maildrop", "incoming", "active", "deferred", "hold"]),
  requeue: new Set(["incoming", "active", "deferred", "hold"]),
  hold: new Set(["incoming", "active", "deferred"]),
  release: new Set(["hold"]),
  expire: new Set(["incoming", "active", "deferred", "hold"]),
};

/** False when the file has gone meanwhile, or when there was nothing to do. */
export function perform(action: Action, queue: KnownQueue, id: QueueId): boolean {
  switch (action) {
    case "delete":
      return remove(queue, id);
    case "requeue":
      return move(queue, "maildrop", id);
    case "hold":
      return move(queue, "hold", id);
    case "release":
      return move(queue, "deferred", id);
    case "expire":
      return expire(queue, id);
  }
}

/** The logs first: without the message they would be nobody's. */
function remove(queue: KnownQueue, id: QueueId): boolean {
  for (const log of LOG_QUEUES) removeFile(queues().path(log, id));
  return removeFile(queues().path(queue, id));
}

export function removeFile(path: string): boolean {
  try {
    queues().files.unlink(path);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false;
    warning(`remove file ${path}: ${errorText(error)}`);
    return false;
  }
  verbose(() => `removed file ${path}`);
  return true;
}

function move(from: KnownQueue, to: KnownQueue, id: QueueId): boolean {
  return renameFile(queues().path(from, id), queues().path(to, id));
}

/** False when the file has gone meanwhile. Other failures end the program: the queue needs a look. */
export function renameFile(from: string, to: string): boolean {
  try {
    queues().renameMakingDirectories(from, to);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false;
    fatal(`rename file ${from} as ${to}: ${errorText(error)}`);
  }
  verbose(() => `renamed file ${from} as ${to}`);
  return true;
}

function expire(queue: KnownQueue, id: QueueId): boolean {
  const path = queues().path(queue, id);
  const opened = safeOpen(path, constants.O_WRONLY, 0);
  if (!opened.ok) {
    if (opened.code !== "ENOENT") warning(`expire file ${path}: ${opened.reason}`);
    return false;
  }
  try {
    const mode = opened.stat.mode & 0o7777;
    if (!isReady(mode) || (mode & MODE_EXPIRE) !== 0) return false;
    queues().files.fchmod(opened.fd, mode | MODE_EXPIRE);
    return true;
  } catch (error) {
    warning(`expire file ${path}: ${errorText(error)}`);
    return false;
  } finally {
    closeSync(opened.fd);
  }
}
