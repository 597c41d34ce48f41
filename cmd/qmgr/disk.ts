/** The queue manager's calls on the queue directories: few, and none that a message does not need. */

import { fatal, warning } from "../../lib/log/log.ts";
import { isReady, type Queues } from "../../lib/queue/directories.ts";
import type { QueueId } from "../../lib/queue/queue_id.ts";
import type { SpareFilesOut } from "../../lib/queue/spare_files.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import * as fs from "../../lib/sys/fs.ts";

export interface FileState {
  readonly mode: number;
  /** Seconds since the epoch, whole. */
  readonly modified: number;
}

const LINK_WARNING_AGE = 60;

export class Disk {
  readonly queues: Queues;
  readonly #lock: (fd: number) => boolean;
  readonly #spares: SpareFilesOut | undefined;

  /** `lock` takes an exclusive lock without waiting. */
  constructor(queues: Queues, lock: (fd: number) => boolean, spares?: SpareFilesOut) {
    this.queues = queues;
    this.#lock = lock;
    this.#spares = spares;
  }

  /** Names in a directory; undefined when it is gone or no directory. */
  list(directory: string): string[] | undefined {
    try {
      return fs.readdirSync(directory);
    } catch (error) {
      const code = errorCode(error);
      if (code === "ENOENT") return undefined;
      if (code !== "ENOTDIR") fatal(`open directory ${directory}: ${errorText(error)}`);
      warning(`open directory ${directory}: ${errorText(error)}`);
      return undefined;
    }
  }

  /** The check of queue.md 3.2: a regular file, complete. */
  openable(queue: string, id: QueueId): FileState | undefined {
    const path = this.queues.path(queue, id);
    let stat: fs.Stats | undefined;
    try {
      stat = fs.lstatSync(path, { throwIfNoEntry: false });
    } catch (error) {
      warning(`${path}: ${errorText(error)}`);
    }
    if (stat === undefined) return undefined;
    if (!stat.isFile()) {
      warning(`${path}: uid ${stat.uid}: not a regular file`);
      return undefined;
    }
    if (!isReady(stat.mode)) return undefined;
    if (stat.nlink > 1 && stat.ctimeMs / 1000 < Date.now() / 1000 - LINK_WARNING_AGE)
      warning(`${path}: uid ${stat.uid}: file has ${stat.nlink} links`);
    return { mode: stat.mode & 0o7777, modified: Math.floor(stat.mtimeMs / 1000) };
  }

  /** Size of a file; undefined when there is none. */
  size(queue: string, id: QueueId): number | undefined {
    return fs.statSync(this.queues.path(queue, id), { throwIfNoEntry: false })?.size;
  }

  /** Moves a message file; false when it is gone. Any other failure is the end: no message may be left half way. */
  move(id: QueueId, from: string, to: string): boolean {
    try {
      this.queues.move(id, from, to);
      return true;
    } catch (error) {
      if (errorCode(error) === "ENOENT") return false;
      return fatal(`rename ${id} from ${from} to ${to}: ${errorText(error)}`);
    }
  }

  /** Sets the time before which the file is not looked at; false when it is gone. */
  setTime(queue: string, id: QueueId, seconds: number): boolean {
    try {
      this.queues.setTime(queue, id, seconds);
      return true;
    } catch (error) {
      if (errorCode(error) === "ENOENT") return false;
      return fatal(`${this.queues.path(queue, id)}: update file time stamps: ${errorText(error)}`);
    }
  }

  /** Removes a log that is mostly not there. */
  removeIfPresent(queue: string, id: QueueId): void {
    if (this.size(queue, id) === undefined) return;
    try {
      this.queues.remove(queue, id);
    } catch (error) {
      fatal(`unlink ${this.queues.path(queue, id)}: ${errorText(error)}`);
    }
  }

  /** Removes a message of so many bytes; throws. */
  remove(queue: string, id: QueueId, size: number): void {
    if (this.#spares?.layDown(queue, id, size)) return;
    fs.unlinkSync(this.queues.path(queue, id));
  }

  /** Opens a message to read and edit it; undefined (said so) when it is gone. */
  open(queue: string, id: QueueId): number | undefined {
    try {
      return fs.openSync(this.queues.path(queue, id), "r+");
    } catch (error) {
      if (errorCode(error) !== "ENOENT") fatal(`open ${queue} ${id}: ${errorText(error)}`);
      warning(`open ${queue} ${id}: ${errorText(error)}`);
      return undefined;
    }
  }

  lock(fd: number): boolean {
    return this.#lock(fd);
  }

  close(fd: number): void {
    fs.closeSync(fd);
  }

  changeMode(fd: number, mode: number): void {
    fs.fchmodSync(fd, mode);
  }

  /** Overwrites bytes of a complete message; false when it is gone. Throws other failures. */
  overwrite(queue: string, id: QueueId, offset: number, bytes: string): boolean {
    const fd = this.open(queue, id);
    if (fd === undefined) return false;
    try {
      fs.writeSync(fd, Buffer.from(bytes, "latin1"), 0, bytes.length, offset);
      return true;
    } finally {
      fs.closeSync(fd);
    }
  }
}
