/** Opening a mailbox file with its locks (delivery.md 3.3). The steps are synchronous; waiting between attempts is the caller's. */
import { closeSync, constants, fstatSync, fsyncSync, ftruncateSync, lstatSync, openSync, type Stats, statSync, unlinkSync, writeSync } from "node:fs";
import { check, fatal, warning } from "../log/log.ts";
import { pathOf, splitAny } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { recordLock, safeOpen, tryLock } from "../sys/files.ts";
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

export type MailboxOpenResult = { readonly ok: true; readonly mailbox: OpenMailbox } | { readonly ok: false; readonly dsn: Dsn };

type Step<T> = { readonly kind: "done"; readonly value: T } | { readonly kind: "held" } | { readonly kind: "failed"; readonly code: string; readonly reason: string };

/** Opens and locks; `act` runs each synchronous step with the rights that the mailbox needs. */
export async function openMailbox(options: MailboxOpenOptions, act: <T>(step: () => T) => T): Promise<MailboxOpenResult> {
  let dotlock: string | undefined;
  if (options.locks.dotlock && act(() => wantsDotlock(options.path))) {
    const lock = await retrying(options, () => act(() => makeDotlock(options.path, options.staleTime)));
    if (lock.kind === "done") dotlock = lock.value;
    else {
      const held = lock.kind === "held";
      const reason = `unable to create lock file ${options.path}.lock: ${held ? "File exists" : lock.reason}`;
      if (held) return refused("4.2.0", reason);
      if (!options.dotlockOptional) return refused(mailboxStatus(lock.code, options.defaultStatus), reason);
      warning(reason);
    }
  }
  const opened = await openLocked(options, act);
  if (!opened.ok) {
    if (dotlock !== undefined) releaseDotlock(dotlock, act);
    return opened;
  }
  return { ok: true, mailbox: { ...opened.mailbox, dotlock } };
}

const refused = (status: string, reason: string): { readonly ok: false; readonly dsn: Dsn } => ({ ok: false, dsn: dsn(status, reason) });

async function openLocked(options: MailboxOpenOptions, act: <T>(step: () => T) => T): Promise<MailboxOpenResult> {
  const { path, locks } = options;
  const flags = constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | constants.O_NONBLOCK;
  const file = act(() => safeOpen(path, flags, 0o600, options.owner));
  if (!file.ok) return refused(mailboxStatus(file.code, options.defaultStatus), file.reason);
  const { fd } = file;
  const fail = (status: string, reason: string): MailboxOpenResult => {
    closeSync(fd);
    return refused(status, reason);
  };
  if (!file.stat.isFile()) return { ok: true, mailbox: { fd, path, stat: file.stat, dotlock: undefined } };
  for (const lock of [locks.flock && (() => tryLock(fd, "exclusive")), locks.fcntl && (() => recordLock(fd, "exclusive"))]) {
    if (lock === false) continue;
    const result = await retrying(options, () => lockStep(lock));
    if (result.kind === "done") continue;
    const held = result.kind === "held";
    const text = held ? "Resource temporarily unavailable" : result.reason;
    return fail(
      held ? "4.2.0" : mailboxStatus(result.code, options.defaultStatus),
      `unable to lock for exclusive access: ${text}`,
    );
  }
  const stat = fstatSync(fd);
  if (stat.nlink !== 1) {
    warning(`${path}: file status changed unexpectedly`);
    return fail("4.2.0", "target file status changed unexpectedly");
  }
  return { ok: true, mailbox: { fd, path, stat, dotlock: undefined } };
}

function lockStep(lock: () => boolean): Step<true> {
  try {
    return lock() ? { kind: "done", value: true } : { kind: "held" };
  } catch (error) {
    return failed(error);
  }
}

function failed(error: unknown): { readonly kind: "failed"; readonly code: string; readonly reason: string } {
  const code = errorCode(error);
  if (code === undefined) throw error;
  return { kind: "failed", code, reason: errorText(error) };
}

/** First pause between looks at a lock that somebody holds, in milliseconds; each one is twice as long, up to the last. */
const FIRST_LOOK = 4;
const LAST_LOOK = 250;

/**
 * Tries as often, and in all for as long, as deliver_lock_attempts and deliver_lock_delay say; within each delay it looks
 * again at short intervals, since most holders are done in milliseconds.
 */
async function retrying<T>(options: MailboxOpenOptions, step: () => Step<T>): Promise<Step<T>> {
  let look = FIRST_LOOK;
  for (let attempt = 1; ; attempt++) {
    let result = step();
    if (result.kind !== "held" || attempt >= options.attempts) return result;
    let rest = options.delay * 1000 * (1 + Math.random() / 2);
    while (rest > 0) {
      const pause = Math.min(rest, look * (0.75 + Math.random() / 2));
      await new Promise((resolve) => setTimeout(resolve, pause));
      rest -= pause;
      look = Math.min(LAST_LOOK, look * 2);
      if (rest > 0) result = step();
      if (result.kind !== "held") return result;
    }
  }
}

function wantsDotlock(path: string): boolean {
  try {
    return statSync(pathOf(path)).isFile();
  } catch (error) {
    return errorCode(error) === "ENOENT";
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

const releaseDotlock = (lock: string, act: <T>(step: () => T) => T): void => {
  act(() => check(`remove ${lock}`, () => unlinkSync(pathOf(lock))));
};

/** Closes the file, which drops its locks, and removes the dot lock. */
export function closeMailbox(mailbox: OpenMailbox, act: <T>(step: () => T) => T): void {
  if (mailbox.dotlock !== undefined) releaseDotlock(mailbox.dotlock, act);
  check(`close ${mailbox.path}`, () => closeSync(mailbox.fd));
}

export interface Appended<R> {
  readonly result: R;
  /** Size of the file before. */
  readonly offset: number;
}

/**
 * Appends chunks to an open mailbox and syncs it; a failure takes back what was written and is thrown. `result` is what `chunks`
 * returned.
 */
export function appendToMailbox<R>(mailbox: OpenMailbox, chunks: Generator<Buffer, R>, accept: (result: R) => boolean): Appended<R> {
  const regular = mailbox.stat.isFile();
  const offset = regular ? fstatSync(mailbox.fd).size : 0;
  const takeBack = (): void => {
    if (regular) check(`truncate ${mailbox.path}`, () => ftruncateSync(mailbox.fd, offset));
  };
  try {
    const result = writeChunks(mailbox.fd, chunks);
    if (!accept(result)) takeBack();
    else if (regular) fsyncSync(mailbox.fd);
    return { result, offset };
  } catch (error) {
    takeBack();
    throw error;
  }
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
