/** The queue directories: names, paths with hash subdirectories, moving files between them. Paths are relative to $queue_directory. */
import { info, panic, warning } from "../log/log.ts";
import { lowerAscii, splitAny } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { type FileStatus, type FileSystem, fileSystem } from "./file_system.ts";
import { hashKey, isQueueId, type QueueId } from "./queue_id.ts";

/** Directories of message files. */
export type MessageQueue = "maildrop" | "incoming" | "active" | "deferred" | "hold" | "corrupt" | "saved";
/** Directories of per-message logs. */
export type LogQueue = "bounce" | "defer" | "trace";
export type QueueName = MessageQueue | LogQueue | "flush";

const USUAL_QUEUES: ReadonlyArray<QueueName> = [
  "maildrop",
  "incoming",
  "active",
  "deferred",
  "hold",
  "bounce",
  "defer",
  "trace",
];
const VALID_NAME = /^[A-Za-z0-9]{1,100}$/;
export const isQueueName = (name: string): boolean => VALID_NAME.test(name);

/** Owner bits of a complete message file. */
export const MODE_READY = 0o700;
/** Owner bits of a file that a delivery agent found unreadable. */
export const MODE_CORRUPT = 0o400;
/** Group r: unthrottle destinations when the file is read. */
export const MODE_UNTHROTTLE = 0o040;
/** Group x: return the message when the file is read. */
export const MODE_EXPIRE = 0o010;
/** Other r: written by postdrop. */
export const MODE_FROM_POSTDROP = 0o004;

export const isReady = (mode: number): boolean => (mode & 0o700) === MODE_READY;

export interface QueueSettings {
  /** hash_queue_names */
  readonly hashQueueNames: string;
  /** hash_queue_depth, at least 1. */
  readonly hashQueueDepth: number;
  /** enable_long_queue_ids */
  readonly longQueueIds: boolean;
}

const OLD_LINK_SECONDS = 60;

export class Queues {
  readonly longIds: boolean;
  readonly #hashed: ReadonlySet<string>;
  readonly #depth: number;
  /** Of the usual queues, whose names need no check. */
  readonly #depths: ReadonlyMap<string, number>;

  constructor(
    settings: QueueSettings,
    readonly files: FileSystem = fileSystem,
  ) {
    this.#hashed = new Set(splitAny(settings.hashQueueNames, ", \t\r\n\v\f").map(lowerAscii));
    this.#depth = settings.hashQueueDepth;
    this.longIds = settings.longQueueIds;
    this.#depths = new Map(USUAL_QUEUES.map((queue) => [queue, this.depth(queue)]));
  }

  /** Levels of hash subdirectories below a queue directory. */
  depth(queue: string): number {
    return this.#hashed.has(lowerAscii(queue)) ? this.#depth : 0;
  }

  /** The directory, with its hash levels, that holds a file. */
  directory(queue: string, id: string): string {
    const known = this.#depths.get(queue);
    if (known === undefined && !isQueueName(queue)) panic(`mail_queue_dir: bad queue name: ${queue}`);
    const depth = known ?? this.depth(queue);
    if (depth === 0) return queue;
    const key = hashKey(id);
    let path = queue;
    for (let level = 0; level < depth; level++) path += `/${key.charAt(level) || "_"}`;
    return path;
  }

  /** The path of a file. The ID must have been checked: a bad one is a broken invariant. */
  path(queue: string, id: string): string {
    if (!isQueueId(id)) panic(`mail_queue_path: bad queue ID: ${id}`);
    return `${this.directory(queue, id)}/${id}`;
  }

  /** Makes the hash subdirectories of a path (whose last part is a file name) with mode 0700. */
  makeDirectories(path: string): void {
    const parts = path.split("/");
    for (let count = 1; count < parts.length; count++) {
      const directory = parts.slice(0, count).join("/");
      try {
        this.files.mkdir(directory, 0o700);
      } catch (error) {
        if (errorCode(error) === "EEXIST") continue;
        throw error;
      }
      this.#ownGroup(directory);
    }
  }

  #ownGroup(directory: string): void {
    const group = process.getegid?.();
    if (group === undefined || this.files.lstat(directory).gid === group) return;
    try {
      this.files.chown(directory, -1, group);
    } catch (error) {
      warning(`make_dirs: chgrp ${directory}: ${errorText(error)}`);
      throw error;
    }
  }

  /** rename() that believes the outcome rather than the error of a network file system. */
  rename(from: string, to: string): void {
    try {
      this.files.rename(from, to);
    } catch (error) {
      if (!this.#exists(from) && this.#exists(to)) {
        info(`sane_rename(${from},${to}): worked around spurious NFS error`);
        return;
      }
      throw error;
    }
  }

  #exists(path: string): boolean {
    try {
      this.files.lstat(path);
      return true;
    } catch (error) {
      if (errorCode(error) === "ENOENT") return false;
      throw error;
    }
  }

  /** rename(), making missing hash directories of the target. */
  renameMakingDirectories(from: string, to: string): void {
    try {
      this.rename(from, to);
    } catch (error) {
      if (errorCode(error) !== "ENOENT" || !this.#exists(from)) throw error;
      this.makeDirectories(to);
      this.rename(from, to);
    }
  }

  /** Moves a message to another queue. Throws; ENOENT when the file is gone. */
  move(id: QueueId, from: string, to: string): void {
    this.renameMakingDirectories(this.path(from, id), this.path(to, id));
  }

  /** Removes a file; false when there was none. Throws other errors. */
  remove(queue: string, id: QueueId): boolean {
    try {
      this.files.unlink(this.path(queue, id));
      return true;
    } catch (error) {
      if (errorCode(error) === "ENOENT") return false;
      throw error;
    }
  }

  /** Sets modification (for deferred mail: the time of the next attempt) and access time, in seconds since 1970. */
  setTime(queue: string, id: QueueId, seconds: number): void {
    this.files.utimes(this.path(queue, id), seconds);
  }

  /** lstat() of a file that does exist. */
  status(queue: string, id: QueueId): FileStatus | undefined {
    try {
      return this.files.lstat(this.path(queue, id));
    } catch (error) {
      if (errorCode(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  /** The "OK to open" check of every reader: the file's status, or undefined (said why where it deserves it). */
  openable(queue: string, id: string, complain: (text: string) => void = warning): FileStatus | undefined {
    if (!isQueueName(queue)) {
      warning(`bad mail queue name: ${queue}`);
      return undefined;
    }
    if (!isQueueId(id)) return undefined;
    const path = this.path(queue, id);
    let status: FileStatus;
    try {
      status = this.files.lstat(path);
    } catch (error) {
      if (errorCode(error) !== "ENOENT") complain(`${path}: ${errorText(error)}`);
      return undefined;
    }
    if (!status.regular) {
      complain(`${path}: uid ${status.uid}: not a regular file`);
      return undefined;
    }
    if (!isReady(status.mode)) return undefined;
    if (status.links > 1 && status.changed < Date.now() / 1000 - OLD_LINK_SECONDS)
      complain(`${path}: uid ${status.uid}: file has ${status.links} links`);
    return status;
  }
}
