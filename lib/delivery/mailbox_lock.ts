/** Opening a mailbox file with its locks (delivery.md 3.3). The steps are synchronous; waiting between attempts is the caller's. */

import { check, fatal, warning } from "../log/log.ts";
import { pathOf, splitAny } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { recordLock, safeOpen, tryLock } from "../sys/files.ts";
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  type Stats,
  statSync,
  synced,
  unlinkSync,
  writeSync,
} from "../sys/fs.ts";
import { mailboxStatus } from "./copy.ts";
import { type Dsn, dsn } from "./status.ts";

/** Lock methods of mailbox_delivery_lock and virtual_mailbox_lock. */
export interface LockMethods {
  readonly fcntl: boolean;
  readonly flock: boolean;
  readonly dotlock: boolean;
}

export function parseLockMethods(parameter: string, value: string): LockMethods {
  const methods = { fcntl: false, flock: false, dotlock: false };
  for (const word of splitAny(value, ", \t\r\n")) {
    if (word === "fcntl" || word === "flock" || word === "dotlock") methods[word] = true;
    else fatal(`unknown ${parameter} value "${word}" in "${value}"`);
  }
  return methods;
}

export interface MailboxOpenOptions {
  readonly path: string;
  readonly locks: LockMethods;
  /** Owner of a file that is made here. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  /** A dot lock that cannot be made for other reasons than a holder is only warned about (/file destinations). */
  readonly dotlockOptional: boolean;
  /** DSN code for errors without a better one. */
  readonly defaultStatus: string;
  /** deliver_lock_attempts, deliver_lock_delay, stale_lock_time; times in seconds. */
  readonly attempts: number;
  readonly delay: number;
  readonly staleTime: number;
}

export interface OpenMailbox {
  readonly fd: number;
  readonly path: string;
  readonly stat: Stats;
  /** Name of the dot lock that is ours, if any. */
  readonly dotlock: string | undefined;
}

/** What stands in the way of an open, locked mailbox: a lock that somebody holds, or a failure for good. */
export type OpenStep =
  | { readonly kind: "open"; readonly mailbox: OpenMailbox }
  | { readonly kind: "held"; readonly lock: "dotlock" | "flock" | "fcntl" }
  | { readonly kind: "failed"; readonly dsn: Dsn };

/** Opening a mailbox step by step: `advance()` goes on where a lock was held, synchronously and with the rights in force. */
export class MailboxOpening {
  readonly #options: MailboxOpenOptions;
  #dotlock: string | undefined;
  /** The dot lock was taken, or given up on, or is not wanted. */
  #dotlockDone = false;
  #fd = -1;
  #stat: Stats | undefined;
  #flocked = false;

  constructor(options: MailboxOpenOptions) {
    this.#options = options;
  }

  advance(): OpenStep {
    const { path, locks } = this.#options;
    if (!this.#dotlockDone) {
      const lock = locks.dotlock && wantsDotlock(path) ? this.#takeDotlock() : undefined;
      if (lock !== undefined) return lock;
      this.#dotlockDone = true;
    }
    if (this.#stat === undefined) {
      const failed = this.#open();
      if (failed !== undefined) return failed;
    }
    const { stat } = this;
    if (!stat.isFile()) return this.#opened(stat);
    if (locks.flock && !this.#flocked) {
      const lock = this.#lock("flock", () => tryLock(this.#fd, "exclusive"));
      if (lock !== undefined) return lock;
      this.#flocked = true;
    }
    if (locks.fcntl) {
      const lock = this.#lock("fcntl", () => recordLock(this.#fd, "exclusive"));
      if (lock !== undefined) return lock;
    }
    const now = fstatSync(this.#fd);
    if (now.nlink === 1) return this.#opened(now);
    warning(`${path}: file status changed unexpectedly`);
    return this.#fail(dsn("4.2.0", "target file status changed unexpectedly"));
  }

  /** The failure that a lock which stays held amounts to. With the rights in force. */
  giveUp(lock: "dotlock" | "flock" | "fcntl"): OpenStep {
    return this.#fail(
      dsn(
        "4.2.0",
        lock === "dotlock"
          ? `unable to create lock file ${this.#options.path}.lock: File exists`
          : "unable to lock for exclusive access: Resource temporarily unavailable",
      ),
    );
  }

  get stat(): Stats {
    if (this.#stat === undefined) throw new Error("the mailbox is not open");
    return this.#stat;
  }

  #opened(stat: Stats): OpenStep {
    return {
      kind: "open",
      mailbox: { fd: this.#fd, path: this.#options.path, stat, dotlock: this.#dotlock },
    };
  }

  #fail(failure: Dsn): OpenStep {
    if (this.#fd >= 0) check(`close ${this.#options.path}`, () => closeSync(this.#fd));
    if (this.#dotlock !== undefined) releaseDotlock(this.#dotlock);
    return { kind: "failed", dsn: failure };
  }

  #takeDotlock(): OpenStep | undefined {
    const { path, staleTime, dotlockOptional, defaultStatus } = this.#options;
    const lock = makeDotlock(path, staleTime);
    switch (lock.kind) {
      case "done":
        this.#dotlock = lock.value;
        return undefined;
      case "held":
        return { kind: "held", lock: "dotlock" };
      case "failed": {
        const reason = `unable to create lock file ${path}.lock: ${lock.reason}`;
        if (!dotlockOptional) return this.#fail(dsn(mailboxStatus(lock.code, defaultStatus), reason));
        warning(reason);
        return undefined;
      }
    }
  }

  #open(): OpenStep | undefined {
    const { path, owner, defaultStatus } = this.#options;
    const flags = constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | constants.O_NONBLOCK;
    const file = safeOpen(path, flags, 0o600, owner);
    if (!file.ok) return this.#fail(dsn(mailboxStatus(file.code, defaultStatus), file.reason));
    this.#fd = file.fd;
    this.#stat = file.stat;
    return undefined;
  }

  #lock(kind: "flock" | "fcntl", take: () => boolean): OpenStep | undefined {
    try {
      return take() ? undefined : { kind: "held", lock: kind };
    } catch (error) {
      const { code, reason } = failed(error);
      return this.#fail(
        dsn(
          mailboxStatus(code, this.#options.defaultStatus),
          `unable to lock for exclusive access: ${reason}`,
        ),
      );
    }
  }
}

type Step<T> =
  | { readonly kind: "done"; readonly value: T }
  | { readonly kind: "held" }
  | { readonly kind: "failed"; readonly code: string; readonly reason: string };

function failed(error: unknown): { readonly kind: "failed"; readonly code: string; readonly reason: string } {
  const code = errorCode(error);
  if (code === undefined) throw error;
  return { kind: "failed", code, reason: errorText(error) };
}

/** First pause between looks at a lock that somebody holds, in milliseconds; each one is twice as long, up to the last. */
const FIRST_LOOK = 4;
const LAST_LOOK = 250;

/**
 * Opens and locks; `act` runs each synchronous step. A held lock is tried as often, and in all for as long, as
 * deliver_lock_attempts and deliver_lock_delay say; within each delay it is looked at again at short intervals, since most
 * holders are done in milliseconds.
 */
export async function openMailbox(
  options: MailboxOpenOptions,
  act: (step: () => OpenStep) => OpenStep,
): Promise<OpenStep> {
  const opening = new MailboxOpening(options);
  const advance = () => act(() => opening.advance());
  let result = advance();
  let held: string | undefined;
  let attempts = 0;
  let look = FIRST_LOOK;
  while (result.kind === "held") {
    if (held !== result.lock) {
      held = result.lock;
      attempts = 1;
      look = FIRST_LOOK;
    } else attempts++;
    if (attempts >= options.attempts) {
      const { lock } = result;
      return act(() => opening.giveUp(lock));
    }
    let rest = options.delay * 1000 * (0.75 + Math.random() / 2);
    while (rest > 0 && result.kind === "held" && result.lock === held) {
      const pause = Math.min(rest, look * (0.75 + Math.random() / 2));
      await new Promise((resolve) => setTimeout(resolve, pause));
      rest -= pause;
      look = Math.min(LAST_LOOK, look * 2);
      result = advance();
    }
  }
  return result;
}

function wantsDotlock(path: string): boolean {
  try {
    return statSync(pathOf(path)).isFile();
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return true;
  }
}

/** Takes PATH.lock, removing one that is older than `staleTime` seconds. */
function makeDotlock(path: string, staleTime: number): Step<string> {
  const lock = `${path}.lock`;
  try {
    const held = lstatSync(pathOf(lock));
    if (Date.now() / 1000 > held.ctimeMs / 1000 + staleTime) unlinkSync(pathOf(lock));
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined) throw error;
    if (code !== "ENOENT" && code !== "EACCES" && code !== "EPERM" && code !== "EISDIR") return failed(error);
  }
  try {
    closeSync(openSync(pathOf(lock), constants.O_WRONLY | constants.O_EXCL | constants.O_CREAT, 0));
    return { kind: "done", value: lock };
  } catch (error) {
    return errorCode(error) === "EEXIST" ? { kind: "held" } : failed(error);
  }
}

const releaseDotlock = (lock: string): void => {
  check(`remove ${lock}`, () => unlinkSync(pathOf(lock)));
};

/** Closes the file, which drops its locks, and removes the dot lock; with the rights that made it. */
export function closeMailbox(mailbox: OpenMailbox): void {
  if (mailbox.dotlock !== undefined) releaseDotlock(mailbox.dotlock);
  check(`close ${mailbox.path}`, () => closeSync(mailbox.fd));
}

/** What was written to an open mailbox, not yet on disk. */
export interface Appended<R> {
  readonly result: R;
  /** Size of the file before. */
  readonly offset: number;
  /** Cuts the file back to that size. */
  readonly takeBack: () => void;
}

/**
 * Appends chunks to an open mailbox; a failure takes back what was written and is thrown. `result` is what `chunks` returned: one that is not
 * accepted is taken back too.
 */
export function appendToMailbox<R>(
  mailbox: OpenMailbox,
  chunks: Generator<Buffer, R>,
  accept: (result: R) => boolean,
): Appended<R> {
  const regular = mailbox.stat.isFile();
  const offset = regular ? fstatSync(mailbox.fd).size : 0;
  const takeBack = (): void => {
    if (regular) check(`truncate ${mailbox.path}`, () => ftruncateSync(mailbox.fd, offset));
  };
  try {
    const result = writeChunks(mailbox.fd, chunks);
    if (!accept(result)) takeBack();
    return { result, offset, takeBack };
  } catch (error) {
    takeBack();
    throw error;
  }
}

/** Waits until what was written is on disk; what has no disk (a pipe, /dev/null) is not waited for. Throws the error of the system. */
export async function syncMailbox(mailbox: OpenMailbox): Promise<void> {
  if (mailbox.stat.isFile()) await synced(mailbox.fd);
}

/** Writes all chunks; the result is what the generator returned. */
export function writeChunks<R>(fd: number, chunks: Generator<Buffer, R>): R {
  for (;;) {
    const next = chunks.next();
    if (next.done === true) return next.value;
    let at = 0;
    while (at < next.value.length) at += writeSync(fd, next.value, at);
  }
}
