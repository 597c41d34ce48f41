/** Appending to bounce, defer and trace logs: locked, durable, all or nothing. */

import { warning } from "../log/log.ts";
import { toBytes } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { constants } from "../sys/fs.ts";
import type { LogQueue, Queues } from "./directories.ts";
import { pause } from "./file_system.ts";
import { formatLogEntry, type LogEntry } from "./log_entry.ts";
import type { QueueId } from "./queue_id.ts";

export interface AppendOptions {
  /** backwards_bounce_logfile_compatibility */
  readonly oldStyle: boolean;
  /** deliver_lock_attempts */
  readonly lockAttempts: number;
  /** deliver_lock_delay, seconds; each wait is 0.75 to 1.25 times that. */
  readonly lockDelay: number;
}

/** The append failed; the message is Postfix's text, and nothing of the entry stays in the log. */
export class LogAppendError extends Error {
  constructor(
    text: string,
    readonly reason: unknown,
  ) {
    super(text);
    this.name = "LogAppendError";
  }
}

/** Appends an entry to a log and returns when it is on disk. Throws LogAppendError. */
export async function appendLog(
  queues: Queues,
  queue: LogQueue,
  id: QueueId,
  entry: LogEntry,
  options: AppendOptions,
): Promise<void> {
  const { files } = queues;
  const failed = (what: string, error: unknown): LogAppendError =>
    new LogAppendError(`${what} ${queue} ${id}: ${errorText(error)}`, error);
  let fd: number;
  try {
    fd = openForAppend(queues, queue, id);
  } catch (error) {
    throw failed("open file", error);
  }
  try {
    try {
      await lockForAppend(queues, fd, options);
    } catch (error) {
      throw failed("lock file", error);
    }
    const { size } = files.fstat(fd);
    try {
      const bytes = toBytes(formatLogEntry(entry, options.oldStyle));
      for (let done = 0; done < bytes.length; )
        done += files.write(fd, bytes, done, bytes.length - done, null);
      await files.fsync(fd);
    } catch (error) {
      try {
        files.ftruncate(fd, size);
      } catch (truncateError) {
        warning(`truncate file ${queue} ${id}: ${errorText(truncateError)}`);
      }
      throw failed("append file", error);
    }
  } finally {
    try {
      files.close(fd);
    } catch (error) {
      warning(`append file ${queue} ${id}: ${errorText(error)}`);
    }
  }
}

const FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT;

function openForAppend(queues: Queues, queue: LogQueue, id: QueueId): number {
  const path = queues.path(queue, id);
  try {
    return queues.files.open(path, FLAGS, 0o600);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
    queues.makeDirectories(path);
    return queues.files.open(path, FLAGS, 0o600);
  }
}

async function lockForAppend(queues: Queues, fd: number, options: AppendOptions): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    if (queues.files.tryLock(fd, "exclusive")) return;
    if (attempt >= options.lockAttempts)
      throw Object.assign(new Error("Resource temporarily unavailable"), { code: "EAGAIN" });
    await pause(options.lockDelay * (0.75 + Math.random() / 2));
  }
}
