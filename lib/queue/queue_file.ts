/** Making a message file: created under a temporary name, renamed to its queue ID, filled, and committed. */

import { fatal, warning } from "../log/log.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { constants } from "../sys/fs.ts";
import { type TimeOfDay, timeOfDay } from "../sys/process.ts";
import { MODE_READY, type Queues } from "./directories.ts";
import { pause } from "./file_system.ts";
import { makeQueueId, type QueueId } from "./queue_id.ts";
import { RecordWriter } from "./record_writer.ts";
import { Rec } from "./records.ts";
import type { OpenFile, SpareFilesIn } from "./spare_files.ts";

/** Outcome of a commit in cleanup's status bits: 0 done, 4 the file is too big, 2 any other failure. */
export type CommitResult = { readonly status: 0 } | { readonly status: 2 | 4; readonly error: unknown };

const CREATE_PAUSE_SECONDS = 10;
const RENAME_LIMIT = 1000;
const WRITING_MODE = 0o600;

export interface CreateOptions {
  /** Permission bits besides the owner's, for the time of writing and for good: 0444 in maildrop. Default 0. */
  readonly extraMode?: number;
  /** Seconds between attempts to create a file; tests shorten it. */
  readonly retryPause?: number;
  /** Called with the path as soon as a file exists under it, and again after its rename (for removal by a signal). */
  readonly onPath?: (path: string) => void;
  /** Files to write over instead of making a new one. */
  readonly spares?: SpareFilesIn;
}

export class QueueFile {
  readonly writer: RecordWriter;
  #open = true;

  constructor(
    private readonly queues: Queues,
    readonly id: QueueId,
    /** Where the file is now. */
    public queue: string,
    readonly fd: number,
    /** The time that the ID was made from. */
    readonly created: TimeOfDay,
    private readonly extraMode: number,
    /** Size of a file that is used again. */
    private readonly oldSize = 0,
  ) {
    this.writer = new RecordWriter(queues.files, fd);
  }

  get path(): string {
    return this.queues.path(this.queue, this.id);
  }

  /** Moves the file to another queue; before the commit when it must not be seen in the old one. */
  moveTo(queue: string): void {
    this.queues.move(this.id, this.queue, queue);
    this.queue = queue;
  }

  /**
   * Makes the file complete and durable: flush, mode, fsync, close, in this order. The mode comes before fsync so that it is
   * durable too. The descriptor is closed in any case.
   */
  async commit(clock?: ClockCheck): Promise<CommitResult> {
    const { files } = this.queues;
    try {
      this.writer.flush();
      if (this.oldSize > this.writer.position) files.ftruncate(this.fd, this.writer.position);
      files.fchmod(this.fd, MODE_READY | this.extraMode);
      await files.fsync(this.fd);
      const reset = clock !== undefined && !clock.settled && clock.check(files.fstat(this.fd).modified);
      this.close();
      if (reset) this.#resetTime();
      return { status: 0 };
    } catch (error) {
      if (this.#open) this.#closeAfter();
      return { status: errorCode(error) === "EFBIG" ? 4 : 2, error };
    }
  }

  /** Closes without making the file complete. Throws when that fails. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.writer.release();
    this.queues.files.close(this.fd);
  }

  /** Closes and removes the file. */
  discard(): void {
    this.#closeAfter();
    const path = this.path;
    try {
      this.queues.files.unlink(path);
    } catch (error) {
      if (errorCode(error) !== "ENOENT") warning(`${this.id}: remove ${path}: ${errorText(error)}`);
    }
  }

  #closeAfter(): void {
    try {
      this.close();
    } catch (error) {
      warning(`${this.id}: close ${this.path}: ${errorText(error)}`);
    }
  }

  #resetTime(): void {
    try {
      this.queues.files.utimes(this.path, Math.floor(Date.now() / 1000));
    } catch (error) {
      if (errorCode(error) !== "ENOENT") fatal(`${this.id}: update file time stamps: ${errorText(error)}`);
    }
  }
}

/** Compares the file system's clock with ours, until it was found right once. One per process. */
export class ClockCheck {
  #state: "unknown" | "ahead" | "good" = "unknown";

  /** The clocks agree: nothing more to look at. */
  get settled(): boolean {
    return this.#state === "good";
  }

  /** True when the time stamps of this file must be reset. */
  check(modified: number): boolean {
    if (this.#state === "good") return false;
    const ahead = modified - Math.floor(Date.now() / 1000);
    if (ahead > 0) {
      if (this.#state === "unknown") {
        warning(`file system clock is ${ahead} seconds ahead of local clock`);
        warning("resetting file time stamps - this hurts performance");
      }
      this.#state = "ahead";
      return true;
    }
    if (ahead < -100) warning(`file system clock is ${-ahead} seconds behind local clock`);
    this.#state = "good";
    return false;
  }
}

/** Creates a message file in `incoming` or `maildrop`. Keeps trying while the directory cannot be written to, as Postfix does. */
export async function createQueueFile(
  queues: Queues,
  queue: string,
  options: CreateOptions = {},
): Promise<QueueFile> {
  const extraMode = options.extraMode ?? 0;
  const next = async (): Promise<OpenFile> =>
    options.spares?.takeUp() ??
    (await createTemporary(queues, queue, WRITING_MODE | extraMode, options.retryPause));
  let file = await next();
  options.onPath?.(file.path);
  try {
    for (let attempt = 1; ; attempt++) {
      const { fd, path, inode } = file;
      const created = timeOfDay();
      const id = makeQueueId({ ...created, inode }, queues.longIds);
      const target = queues.path(queue, id);
      const failure = tryRename(queues, path, target);
      if (failure === undefined) {
        options.onPath?.(target);
        if (file.spare) options.spares?.forget(file);
        return new QueueFile(queues, id, queue, fd, created, extraMode, file.size);
      }
      if (attempt >= RENAME_LIMIT) fatal(`mail_queue_enter: rename ${path} to ${target}: giving up`);
      const code = errorCode(failure);
      if (code === "EPERM" || code === "EISDIR") continue;
      if (code === "ENOENT" && file.spare) {
        queues.files.close(fd);
        file = await next();
        continue;
      }
      warning(`mail_queue_enter: rename ${path} to ${target}: ${errorText(failure)}`);
      await pause(0.01);
    }
  } catch (error) {
    queues.files.close(file.fd);
    throw error;
  }
}

function tryRename(queues: Queues, path: string, target: string): unknown {
  try {
    queues.renameMakingDirectories(path, target);
    return undefined;
  } catch (error) {
    return error;
  }
}

async function createTemporary(
  queues: Queues,
  queue: string,
  mode: number,
  retryPause = CREATE_PAUSE_SECONDS,
): Promise<OpenFile> {
  for (;;) {
    const path = `${queue}/${timeOfDay().microseconds}.${process.pid}`;
    let fd: number;
    try {
      fd = queues.files.open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, mode);
    } catch (error) {
      const code = errorCode(error);
      if (code === "EEXIST" || code === "EISDIR") continue;
      warning(`mail_queue_enter: create file ${path}: ${errorText(error)}`);
      await pause(retryPause);
      continue;
    }
    try {
      return { fd, path, inode: queues.files.fstat(fd).inode, size: 0, spare: false };
    } catch (error) {
      queues.files.close(fd);
      throw error;
    }
  }
}

/** Changes the type byte of a record in place: a recipient is done, an attribute is spent. Not made durable, as in Postfix. */
export function setRecordType(queues: Queues, fd: number, offset: number, type: number): void {
  queues.files.write(fd, Uint8Array.of(type), 0, 1, offset);
}

/** Marks the recipient record at this offset as done. */
export const markDone = (queues: Queues, fd: number, offset: number): void =>
  setRecordType(queues, fd, offset, Rec.DONE);
