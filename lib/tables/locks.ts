/** Locks on table files that do not stop the rest of the process while they wait. */
import { type LockKind, recordLock, tryLock, unlock } from "../sys/files.ts";

/** flock(2) for most types, fcntl(2) for lmdb. */
export type LockStyle = "flock" | "record";

const SHORTEST_MS = 1;
const LONGEST_MS = 50;
const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Unit tests on Node have no foreign calls; every program runs on Bun. */
const available = (): boolean => typeof Bun !== "undefined";

/** True when the lock was obtained at once. */
export function tryFileLock(fd: number, style: LockStyle, kind: LockKind): boolean {
  if (!available()) return true;
  return style === "flock" ? tryLock(fd, kind) : recordLock(fd, kind);
}

/** Waits for a lock. */
export async function lockFile(fd: number, style: LockStyle, kind: LockKind): Promise<void> {
  for (let wait = SHORTEST_MS; !tryFileLock(fd, style, kind); wait = Math.min(2 * wait, LONGEST_MS))
    await pause(wait);
}

export function unlockFile(fd: number, style: LockStyle): void {
  if (!available()) return;
  if (style === "flock") unlock(fd);
  else recordLock(fd, "none");
}

/** Runs one piece of work after the other. */
export class Sequencer {
  private last: Promise<unknown> = Promise.resolve();
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work);
    this.last = result.catch(() => undefined);
    return result;
  }
}
