/** Getting one deferred message tried again at once (queue.md 31). */

import { warning } from "../../lib/log/log.ts";
import { isReady, MODE_UNTHROTTLE, type Queues } from "../../lib/queue/directories.ts";
import type { QueueId } from "../../lib/queue/queue_id.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import * as fs from "../../lib/sys/fs.ts";

/** Resets the time stamps of a message; false when it is not in that queue. */
function touch(queues: Queues, queue: string, id: QueueId, now: number): boolean {
  try {
    queues.setTime(queue, id, now);
    return true;
  } catch (error) {
    if (errorCode(error) !== "ENOENT")
      warning(`${queues.path(queue, id)}: update queue file time stamps: ${errorText(error)}`);
    return false;
  }
}

/** Lets the queue manager forget what it knows of the destinations of this message; false when the file is not complete. */
function unthrottle(queues: Queues, queue: string, id: QueueId): boolean {
  const path = queues.path(queue, id);
  let fd: number;
  try {
    fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") warning(`${path}: open: ${errorText(error)}`);
    return false;
  }
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile() || !isReady(stat.mode)) return false;
    fs.fchmodSync(fd, (stat.mode & 0o7777) | MODE_UNTHROTTLE);
    return true;
  } finally {
    fs.closeSync(fd);
  }
}

/** Moves a deferred message to the incoming queue with a time stamp of now. A message that is in neither queue is none of ours any more. */
export function deliverMessage(queues: Queues, id: QueueId, now: number, unthrottled: boolean): boolean {
  const queue = ["deferred", "incoming"].find((candidate) => touch(queues, candidate, id, now));
  if (queue === undefined) return false;
  if (unthrottled && !unthrottle(queues, queue, id)) return false;
  if (queue === "incoming") return true;
  try {
    queues.move(id, "deferred", "incoming");
  } catch (error) {
    if (errorCode(error) !== "ENOENT")
      warning(
        `rename from ${queues.path("deferred", id)} to ${queues.path("incoming", id)}: ${errorText(error)}`,
      );
  }
  return true;
}
