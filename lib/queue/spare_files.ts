/**
 * Queue files whose messages are finished, kept in `spare` to be written over: to make and to remove a file costs far more than its content
 * (each waits for the journal of the file system). The queue manager lays them down, cleanup takes them up.
 *
 * A file in `spare` is never a message, and is taken up only without its ready mode. After a crash of the machine an old name may come back with
 * new bytes behind it, if the bytes went to the disk before the renaming did; so a file is taken up only after its directory was synced. And its old
 * content is forgotten before a new one is written, or such a crash might leave a mixture of both.
 */

import { warning } from "../log/log.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { constants } from "../sys/fs.ts";
import { after, type Timer } from "../sys/timers.ts";
import type { Queues } from "./directories.ts";
import type { QueueId } from "./queue_id.ts";

export const SPARE = "spare";

/** A larger file is not kept. */
export const SPARE_SIZE_LIMIT = 128 * 1024;

const NOT_READY = 0o600;

/** Seconds after which an idle system removes what it keeps: content of mail does not stay on the disk. */
const IDLE_SECONDS = 60;

/** The queue manager's end: lays finished files down. */
export class SpareFilesOut {
  /** Files in the directory at most, as far as we know: cleanup does not say what it takes. */
  #count: number | undefined;
  #used = false;
  #timer: Timer | undefined;

  constructor(
    private readonly queues: Queues,
    private readonly limit: number,
    private readonly idleSeconds = IDLE_SECONDS,
  ) {}

  /** Lays the file of a finished message down; false when it must be removed instead, or is gone. Throws. */
  layDown(queue: string, id: QueueId, size: number): boolean {
    if (this.limit === 0 || size > SPARE_SIZE_LIMIT || !this.#room()) return false;
    const spare = `${SPARE}/${id}`;
    try {
      this.queues.rename(this.queues.path(queue, id), spare);
    } catch (error) {
      if (errorCode(error) === "ENOENT") return false;
      throw error;
    }
    // whoever dies here leaves it where it is no message, and where nobody takes up what is ready
    this.queues.files.chmod(spare, NOT_READY);
    this.#count = (this.#count ?? 0) + 1;
    this.#used = true;
    this.#watch();
    return true;
  }

  #watch(): void {
    this.#timer ??= after(
      this.idleSeconds,
      () => {
        this.#timer = undefined;
        if (!this.#used) return this.clear();
        this.#used = false;
        this.#watch();
      },
      { background: true },
    );
  }

  /** Removes all files. */
  clear(): void {
    for (const name of this.#list() ?? [])
      try {
        this.queues.files.unlink(`${SPARE}/${name}`);
      } catch (error) {
        complain(error, `remove ${SPARE}/${name}`);
      }
    this.#count = undefined;
  }

  #room(): boolean {
    if (this.#count === undefined || this.#count >= this.limit) this.#count = this.#list()?.length;
    return this.#count !== undefined && this.#count < this.limit;
  }

  /** Undefined when there is no directory: nothing is kept then. */
  #list(): string[] | undefined {
    try {
      return this.queues.files.readdir(SPARE);
    } catch (error) {
      complain(error, `open directory ${SPARE}`);
      return undefined;
    }
  }
}

/** A file that is about to become a message. */
export interface OpenFile {
  readonly fd: number;
  readonly path: string;
  readonly inode: bigint;
  /** Bytes of an old content. */
  readonly size: number;
  readonly spare: boolean;
}

/** Looks for files when fewer are known. */
const LOW = 32;
/** New files made until the directory is looked at again. */
const LOOK_EVERY = 16;

/** cleanup's end: takes files up. */
export class SpareFilesIn {
  #names: string[] = [];
  #looking = false;
  #madeSince = LOOK_EVERY;
  #blockSize = 0;

  constructor(
    private readonly queues: Queues,
    private readonly limit: number,
    /** Bytes that a record may have, its header included. */
    private readonly recordLimit: number,
  ) {}

  /**
   * A file to be written over; undefined when there is none and a new one must be made. It belongs to who renames it: no name comes back, since
   * it is the queue ID of the old message, and so the rename fails when another process was faster.
   */
  takeUp(): OpenFile | undefined {
    if (this.limit === 0) return undefined;
    if (this.#names.length < LOW && !this.#looking && this.#madeSince >= LOOK_EVERY) void this.look();
    for (let name = this.#names.pop(); name !== undefined; name = this.#names.pop()) {
      const file = this.#open(`${SPARE}/${name}`);
      if (file !== undefined) return file;
    }
    this.#madeSince++;
    return undefined;
  }

  /**
   * What the file had, which belongs to us now, is not to be seen again: after a crash of the machine a block of it has its new content, or zeros, which
   * no reader takes for a record; and in every block there begins one.
   */
  forget({ fd, size }: OpenFile): void {
    if (size === 0) return;
    const { files } = this.queues;
    const block = this.#blockSize;
    if (block <= this.recordLimit) {
      files.ftruncate(fd, 0);
      return;
    }
    try {
      files.zeroRange(fd, Math.ceil(size / block) * block);
    } catch (error) {
      // not every file system can do that
      if (errorCode(error) === undefined) throw error;
      files.ftruncate(fd, 0);
    }
  }

  /** Learns what there is. A process that starts waits for it, so that its first message has a file. */
  async look(): Promise<void> {
    if (this.limit === 0) return;
    this.#looking = true;
    this.#madeSince = 0;
    try {
      this.#blockSize = this.queues.files.blockSize(SPARE);
      const known = new Set(this.#names);
      const found = this.queues.files.readdir(SPARE).filter((name) => !known.has(name));
      if (found.length > 0) await this.#syncDirectory();
      this.#names.push(...found.slice(0, this.limit));
      if (found.length >= LOW) this.#madeSince = LOOK_EVERY;
    } catch (error) {
      complain(error, `look into ${SPARE}`);
    } finally {
      this.#looking = false;
    }
  }

  async #syncDirectory(): Promise<void> {
    const { files } = this.queues;
    const fd = files.open(SPARE, constants.O_RDONLY | constants.O_DIRECTORY, 0);
    try {
      await files.fsync(fd);
    } finally {
      files.close(fd);
    }
  }

  #open(path: string): OpenFile | undefined {
    const { files } = this.queues;
    let fd: number;
    try {
      fd = files.open(path, constants.O_RDWR | constants.O_NOFOLLOW, 0);
    } catch (error) {
      // another process was faster
      complain(error, `open ${path}`);
      return undefined;
    }
    try {
      const { regular, links, mode, inode, size } = files.fstat(fd);
      if (regular && links === 1 && mode === NOT_READY) return { fd, path, inode, size, spare: true };
    } catch (error) {
      complain(error, `status of ${path}`);
    }
    files.close(fd);
    return undefined;
  }
}

/** Says what failed; that nothing is there is no failure. Whatever is no failure of the system is thrown. */
function complain(error: unknown, what: string): void {
  const code = errorCode(error);
  if (code === undefined) throw error;
  if (code !== "ENOENT") warning(`${what}: ${errorText(error)}`);
}
