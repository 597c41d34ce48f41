/** Delivery into a Maildir: written under tmp/, linked to new/ when it is on disk (maildir(5), delivery.md 4.6). */

import { check } from "../log/log.ts";
import { encodeUtf8, pathOf } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import {
  closeSync,
  constants,
  fileIdentity,
  linkSync,
  mkdirSync,
  openSync,
  synced,
  unlinkSync,
} from "../sys/fs.ts";
import type { TimeOfDay } from "../sys/process.ts";
import { type CopyEnd, type CopySource, copyMessage, MAILDIR, mailboxStatus, writeErrorDsn } from "./copy.ts";
import { writeChunks } from "./mailbox_lock.ts";
import { type Dsn, dsn } from "./status.ts";

export type MailboxOutcome =
  | { readonly kind: "delivered" }
  | { readonly kind: "failed"; readonly dsn: Dsn; readonly code: string | undefined }
  | { readonly kind: "corrupt"; readonly recordType: number };

/** Runs synchronous work with the rights of the mailbox's owner. */
export type ActAsOwner = <T>(work: () => T) => T;

let host: string | undefined;

/** Delivers into `directory`, which ends in a slash. The rights are needed for everything but the wait for the disk. `now` is the start of the delivery. */
export async function deliverMaildir(
  source: CopySource,
  directory: string,
  asOwner: ActAsOwner,
  defaultStatus: string,
  now: TimeOfDay,
): Promise<MailboxOutcome> {
  host ??= encodeUtf8(process.getBuiltinModule("node:os").hostname());
  const namedBy = host;
  const begun = asOwner(() => write(source, directory, namedBy, defaultStatus, now));
  if (begun.kind !== "written") return begun;
  const { fd, temporary } = begun;
  const unsynced = await syncFailure(fd);
  return asOwner(() => {
    try {
      const { device, file } = fileIdentity(fd);
      closeSync(fd);
      if (unsynced !== undefined) return unsynced;
      const name = `${now.seconds}.V${device}I${file}M${now.microseconds}.${namedBy}`;
      return publish(temporary, directory, name, defaultStatus);
    } finally {
      check(`remove ${temporary}`, () => unlinkSync(pathOf(temporary)));
    }
  });
}

type Begun = MailboxOutcome | { readonly kind: "written"; readonly fd: number; readonly temporary: string };

/** Deliveries of this process to one folder, by whatever path, that may begin in the same second. */
const NAMES = 1000;

/** Writes the message to its temporary file, which is left behind only when that succeeds. */
function write(
  source: CopySource,
  directory: string,
  host: string,
  defaultStatus: string,
  now: TimeOfDay,
): Begun {
  const nameOf = (number: number): string =>
    `${directory}tmp/${now.seconds}.P${process.pid}${number === 0 ? "" : `Q${number}`}.${host}`;
  let temporary = nameOf(0);
  let fd: number | undefined;
  for (let number = 1; fd === undefined; number++) {
    try {
      fd = withDirectories([`${directory}tmp`], () =>
        openSync(pathOf(temporary), constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600),
      );
    } catch (error) {
      if (errorCode(error) !== "EEXIST" || number >= NAMES)
        return failure(error, `create maildir file ${temporary}`, defaultStatus);
      temporary = nameOf(number);
    }
  }
  const outcome = writeMessage(fd, source, now);
  if (outcome.kind === "delivered") return { kind: "written", fd, temporary };
  check(`close ${temporary}`, () => closeSync(fd));
  check(`remove ${temporary}`, () => unlinkSync(pathOf(temporary)));
  return outcome;
}

function writeMessage(fd: number, source: CopySource, now: TimeOfDay): MailboxOutcome {
  try {
    return outcomeOf(writeChunks(fd, copyMessage(source, MAILDIR, now.seconds)));
  } catch (error) {
    return writeFailure(error);
  }
}

/** Gives the complete file its name under new/. */
function publish(temporary: string, directory: string, name: string, defaultStatus: string): MailboxOutcome {
  const target = `${directory}new/${name}`;
  try {
    withDirectories([`${directory}cur`, `${directory}new`], () =>
      linkSync(pathOf(temporary), pathOf(target)),
    );
    return { kind: "delivered" };
  } catch (error) {
    return failure(error, `create maildir file ${target}`, defaultStatus);
  }
}

function failure(error: unknown, what: string, defaultStatus: string): MailboxOutcome {
  const code = errorCode(error);
  if (code === undefined) throw error;
  return {
    kind: "failed",
    dsn: dsn(mailboxStatus(code, defaultStatus), `${what}: ${errorText(error)}`),
    code,
  };
}

/** The outcome of an error while the message was written or synced. */
export function writeFailure(error: unknown): MailboxOutcome & { readonly kind: "failed" } {
  const code = errorCode(error);
  if (code === undefined) throw error;
  return { kind: "failed", dsn: writeErrorDsn(error), code };
}

/** Waits until the file is on disk; a failure is that of the delivery. */
async function syncFailure(fd: number): Promise<MailboxOutcome | undefined> {
  try {
    await synced(fd);
    return undefined;
  } catch (error) {
    return writeFailure(error);
  }
}

/** What the end of a copy means for the delivery. */
export function outcomeOf(end: CopyEnd): MailboxOutcome {
  switch (end.kind) {
    case "complete":
      return { kind: "delivered" };
    case "corrupt":
      return end;
    case "unreadable":
      return { kind: "failed", dsn: end.dsn, code: undefined };
  }
}

/** Does something, after making the directories if they were missing. */
function withDirectories<T>(directories: ReadonlyArray<string>, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
  for (const directory of directories) mkdirSync(pathOf(directory), { recursive: true, mode: 0o700 });
  return work();
}
