/** A long deferred queue made in a script: one message that the system itself deferred, copied under many queue IDs. */
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  futimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { makeQueueId } from "../../lib/queue/queue_id.ts";
import type { Instance } from "../../packaging/instance.ts";

/** Seconds until they are due: after the measurement. */
const LATER = 6 * 3600;
/** Of microseconds: the hash directories, which are named after their first digit, fill evenly. */
const STEP = 19;

export interface Model {
  readonly content: Buffer;
  readonly uid: number;
  readonly gid: number;
}

const files = (instance: Instance, queue: string): string[] =>
  readdirSync(join(instance.queue, queue), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

/** Takes the only deferred message, with its log, out of the queue of a stopped system. */
export function takeModel(instance: Instance): Model {
  const [path, ...others] = files(instance, "deferred");
  if (path === undefined || others.length > 0) throw new Error(`${others.length} deferred messages too many`);
  const { uid, gid } = statSync(path);
  const content = readFileSync(path);
  for (const file of [path, ...files(instance, "defer")]) rmSync(file);
  return { content, uid, gid };
}

/** Makes so many deferred messages, none of them due, while the system is stopped. */
export function fillDeferred(instance: Instance, { content, uid, gid }: Model, count: number): void {
  const deferred = join(instance.queue, "deferred");
  makeHashDirectories(instance, uid, gid);
  const seconds = Math.floor(Date.now() / 1000);
  const temporary = join(deferred, "new.1");
  for (let index = 0; index < count; index++) {
    const fd = openSync(temporary, "wx", 0o600);
    writeSync(fd, content);
    fchmodSync(fd, 0o700);
    fchownSync(fd, uid, gid);
    futimesSync(fd, seconds + LATER, seconds + LATER);
    const inode = BigInt(fstatSync(fd).ino);
    closeSync(fd);
    const id = makeQueueId({ seconds, microseconds: (index * STEP) % 1_000_000, inode }, false);
    renameSync(temporary, join(deferred, id.charAt(0), id));
  }
}

function makeHashDirectories(instance: Instance, uid: number, gid: number): void {
  for (const digit of "0123456789ABCDEF") {
    const path = join(instance.queue, "deferred", digit);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const fd = openSync(path, "r");
    fchownSync(fd, uid, gid);
    closeSync(fd);
  }
}

/** Puts what a stopped system has begun with back into the deferred queue. */
export function deferAgain(instance: Instance): void {
  const later = Date.now() / 1000 + LATER;
  for (const queue of ["incoming", "active"])
    for (const name of readdirSync(join(instance.queue, queue))) {
      const target = join(instance.queue, "deferred", name.charAt(0), name);
      renameSync(join(instance.queue, queue, name), target);
      utimesSync(target, later, later);
    }
}

export const countFiles = (instance: Instance, queue: string): number =>
  readdirSync(join(instance.queue, queue)).length;

const HASHED = Array.from("0123456789ABCDEF", (digit) => `deferred/${digit}`);

/** Messages that wait or are under way. */
export const countQueued = (instance: Instance): number =>
  [...HASHED, "incoming", "active"].reduce((sum, queue) => sum + countFiles(instance, queue), 0);

/** Empties the queue of a stopped system. */
export function removeQueued(instance: Instance): void {
  for (const queue of ["deferred", "incoming", "active", "defer"])
    for (const name of readdirSync(join(instance.queue, queue)))
      rmSync(join(instance.queue, queue, name), { recursive: true });
}
