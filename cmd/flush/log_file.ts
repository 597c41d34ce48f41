/** The log of one destination: queue IDs, one a line, appended to and emptied under an exclusive lock. */

import type { Queues } from "../../lib/queue/directories.ts";
import type { QueueId } from "../../lib/queue/queue_id.ts";
import { errorCode } from "../../lib/sys/errno.ts";
import * as fs from "../../lib/sys/fs.ts";

export const FLUSH_QUEUE = "flush";

/** Takes an exclusive lock without blocking the process; resolves when it is held. */
export type Lock = (fd: number) => Promise<void>;

const APPEND = fs.constants.O_RDWR | fs.constants.O_APPEND;

function openLog(queues: Queues, path: string, create: boolean): number | undefined {
  const flags = create ? APPEND | fs.constants.O_CREAT : APPEND;
  try {
    return fs.openSync(path, flags, 0o600);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
    if (!create) return undefined;
    queues.makeDirectories(path);
    return fs.openSync(path, flags, 0o600);
  }
}

/** Runs `work` on the locked log; undefined when there is none. A log that was removed before we had the lock is opened anew. */
async function withLog<T>(
  queues: Queues,
  lock: Lock,
  name: QueueId,
  create: boolean,
  work: (fd: number) => T,
): Promise<T | undefined> {
  const path = queues.path(FLUSH_QUEUE, name);
  for (;;) {
    const fd = openLog(queues, path, create);
    if (fd === undefined) return undefined;
    try {
      await lock(fd);
      if (fs.fstatSync(fd).nlink === 0) continue;
      return work(fd);
    } finally {
      fs.closeSync(fd);
    }
  }
}

export const appendToLog = (queues: Queues, lock: Lock, name: QueueId, id: QueueId): Promise<void> =>
  withLog(queues, lock, name, true, (fd) => {
    fs.writeSync(fd, `${id}\n`);
  });

const CHUNK = 65536;

/** Calls `visit` with each line, then empties the log and sets its time; the number of lines. */
export const drainLog = (
  queues: Queues,
  lock: Lock,
  name: QueueId,
  now: number,
  visit: (line: string) => void,
): Promise<number | undefined> =>
  withLog(queues, lock, name, false, (fd) => {
    const buffer = Buffer.allocUnsafe(CHUNK);
    let lines = 0;
    let rest = "";
    for (let at = 0; ; ) {
      const count = fs.readSync(fd, buffer, 0, CHUNK, at);
      if (count === 0) break;
      at += count;
      const parts = (rest + buffer.toString("latin1", 0, count)).split("\n");
      rest = (parts.pop() ?? "").slice(0, CHUNK);
      for (const part of parts) {
        lines++;
        visit(part);
      }
    }
    if (rest !== "") {
      lines++;
      visit(rest);
    }
    if (lines > 0) fs.ftruncateSync(fd, 0);
    fs.futimesSync(fd, now, now);
    return lines;
  });
