/** Delivery into a Maildir: written under tmp/, linked to new/ when it is on disk (maildir(5), delivery.md 4.6). */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  unlinkSync,
} from "node:fs";
import { hostname } from "node:os";
import { check } from "../log/log.ts";
import { encodeUtf8, pathOf } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import type { TimeOfDay } from "../sys/process.ts";
import { type CopyEnd, type CopySource, copyMessage, MAILDIR, mailboxStatus, writeErrorDsn } from "./copy.ts";
import { writeChunks } from "./mailbox_lock.ts";
import { type Dsn, dsn } from "./status.ts";

export type MailboxOutcome =
  | { readonly kind: "delivered" }
  | { readonly kind: "failed"; readonly dsn: Dsn; readonly code: string | undefined }
  | { readonly kind: "corrupt"; readonly recordType: number };

/** Delivers synchronously with the rights in force; `directory` ends in a slash. `now` is the start of the delivery. */
export function deliverMaildir(
  source: CopySource,
  directory: string,
  defaultStatus: string,
  now: TimeOfDay,
): MailboxOutcome {
  const host = encodeUtf8(hostname());
  const temporary = `${directory}tmp/${now.seconds}.P${process.pid}.${host}`;
  const failed = (error: unknown, what: string): MailboxOutcome => {
    const code = errorCode(error);
    if (code === undefined) throw error;
    return {
      kind: "failed",
      dsn: dsn(mailboxStatus(code, defaultStatus), `${what}: ${errorText(error)}`),
      code,
    };
  };
  let fd: number;
  try {
    fd = withDirectories([`${directory}tmp`], () =>
      openSync(pathOf(temporary), constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600),
    );
  } catch (error) {
    return failed(error, `create maildir file ${temporary}`);
  }
  try {
    const written = writeMessage(fd, source, now);
    const { dev, ino } = fstatSync(fd, { bigint: true });
    closeSync(fd);
    if (written.kind !== "delivered") return written;
    const name = `${now.seconds}.V${dev.toString(16)}I${ino.toString(16)}M${now.microseconds}.${host}`;
    const target = `${directory}new/${name}`;
    try {
      withDirectories([`${directory}cur`, `${directory}new`], () =>
        linkSync(pathOf(temporary), pathOf(target)),
      );
    } catch (error) {
      return failed(error, `create maildir file ${target}`);
    }
    return written;
  } finally {
    check(`remove ${temporary}`, () => unlinkSync(pathOf(temporary)));
  }
}

/** Writes and syncs the message. */
export function writeMessage(fd: number, source: CopySource, now: TimeOfDay): MailboxOutcome {
  let end: CopyEnd;
  try {
    end = writeChunks(fd, copyMessage(source, MAILDIR, now.seconds));
    if (end.kind === "complete") fsyncSync(fd);
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined) throw error;
    return { kind: "failed", dsn: writeErrorDsn(error), code };
  }
  return outcomeOf(end);
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
