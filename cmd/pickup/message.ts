/** One maildrop file: who it is from, and its way through cleanup (queue.md 11). */

import { parameter } from "../../lib/config/configuration.ts";
import { receiveOverrides } from "../../lib/config/receive_overrides.ts";
import { receive, send } from "../../lib/ipc/attributes.ts";
import { connectService } from "../../lib/ipc/client.ts";
import { type CleanupConnection, connectCleanup } from "../../lib/ipc/clients/cleanup_connection.ts";
import { expectService } from "../../lib/ipc/expectations.ts";
import {
  CLEANUP_FLAG,
  CleanupFlags,
  CleanupStatus,
  cleanupStatusBit,
  cleanupStatusDetail,
} from "../../lib/ipc/protocols/cleanup.ts";
import { warning } from "../../lib/log/log.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import { MODE_FROM_POSTDROP } from "../../lib/queue/directories.ts";
import type { QueueId } from "../../lib/queue/queue_id.ts";
import { RecordReader } from "../../lib/queue/record_reader.ts";
import { lowerAscii, splitAny } from "../../lib/sys/bytes.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { safeOpen, tryLock } from "../../lib/sys/files.ts";
import { closeSync, constants } from "../../lib/sys/fs.ts";
import { effectiveUid } from "../../lib/sys/identity.ts";
import { copyMessage } from "./copy.ts";

/** Whether the file leaves maildrop, and which one it is: its name may have become another file's. */
export type Outcome = { readonly kind: "keep" } | { readonly kind: "remove"; readonly inode: bigint };
/** Whether it was dealt with for good. */
type Verdict = "remove" | "keep";

export interface Submitted {
  /** Name of the maildrop file. */
  readonly id: QueueId;
  readonly path: string;
  readonly uid: number;
  /** Comes from another queue, by postsuper -r. */
  readonly requeued: boolean;
  /** Seconds since 1970. */
  readonly modified: number;
  /** Bytes, when it was opened: a complete message does not grow. */
  readonly size: number;
}

const FUTURE_SECONDS = 2 * 3600;
const DAY_SECONDS = 86_400;

/** `seen`: the inode that the scan found under the name; `complain`: says why a file stays. */
export async function takeMessage(
  id: QueueId,
  seen: bigint,
  complain: (text: string) => void,
): Promise<Outcome> {
  const path = queues().path("maildrop", id);
  const opened = safeOpen(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW, 0);
  if (!opened.ok) {
    const say = opened.code === "EPERM" ? warning : complain;
    if (opened.code !== "ENOENT") say(`open input file ${path}: ${opened.reason}`);
    if (opened.code === "EACCES")
      say(
        `if this file was created by Postfix < 1.1, then you may have to chmod a+r ${parameter("queue_directory")}/${path}`,
      );
    // what is no message (a file with other names, say) goes; what cannot be opened just now stays
    return opened.code === "EPERM" ? { kind: "remove", inode: seen } : { kind: "keep" };
  }
  const { uid, mode, mtimeMs, size } = opened.stat;
  const submitted: Submitted = {
    id,
    path,
    uid,
    requeued: uid === effectiveUid() && (mode & MODE_FROM_POSTDROP) === 0,
    modified: Math.floor(mtimeMs / 1000),
    size,
  };
  try {
    // it may come out of the middle of a delivery: what that will have done must be marked before it is copied
    if (submitted.requeued && !tryLock(opened.fd, "exclusive")) return { kind: "keep" };
    const { inode } = queues().files.fstat(opened.fd);
    const verdict = await passToCleanup(opened.fd, submitted);
    return verdict === "keep" ? { kind: "keep" } : { kind: "remove", inode };
  } finally {
    closeSync(opened.fd);
  }
}

async function passToCleanup(fd: number, submitted: Submitted): Promise<Verdict> {
  const service = parameter("cleanup_service_name");
  // for cleanup, or for the queue manager after it
  expectService("private", parameter("rewrite_service_name"));
  let connection: CleanupConnection | undefined;
  try {
    connection = await connectCleanup(connectService);
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    warning(`connect to public/${service}: ${errorText(error)}`);
    return "keep";
  }
  return connection === undefined ? "keep" : transfer(fd, submitted, connection);
}

/** The connection is free for the next message when cleanup has given its answer. */
async function transfer(
  fd: number,
  submitted: Submitted,
  { channel, queueId, release }: CleanupConnection,
): Promise<Verdict> {
  const { path } = submitted;
  send(channel, CleanupFlags, { flags: cleanupFlags(submitted.requeued) });
  const reader = new RecordReader(fd, path, {
    // a submission holds no pointers; a requeued file may, from edits by Milters
    raw: !submitted.requeued,
    maximum: parameter("line_length_limit"),
    limit: submitted.size,
  });
  let status = cleanupStatusBit("WRITE");
  let reason = "";
  let answered = false;
  try {
    if (!(await copyMessage(reader, channel, queueId, sane(submitted, queueId)))) return "remove";
    await channel.flush();
    const reply = await receive(channel, CleanupStatus);
    if (reply.kind === "value") {
      ({ status, reason } = reply.value);
      answered = true;
    }
  } catch (error) {
    // cleanup went away: the file is offered again
    if (error instanceof TypeError || error instanceof RangeError) throw error;
    warning(`${path}: ${errorText(error)}`);
  } finally {
    if (answered) release();
    else channel.destroy();
  }
  if (status === 0) return "remove";
  if (reason === "") warning(`${path}: error writing ${queueId}: ${cleanupStatusDetail(status).text}`);
  return (status & (cleanupStatusBit("BAD") | cleanupStatusBit("RCPT"))) !== 0 ? "remove" : "keep";
}

/** Times that cannot be are not believed. */
function sane(submitted: Submitted, queueId: string): Submitted {
  const now = Math.floor(Date.now() / 1000);
  const ahead = submitted.modified - now;
  if (ahead > FUTURE_SECONDS) {
    warning(`${queueId}: message ${submitted.path} dated ${ahead} seconds into the future`);
    return { ...submitted, modified: now };
  }
  if (ahead < -DAY_SECONDS)
    warning(
      `${queueId}: message ${submitted.path} has been queued for ${Math.floor(-ahead / DAY_SECONDS)} days`,
    );
  return submitted;
}

function cleanupFlags(requeued: boolean): number {
  let flags =
    CLEANUP_FLAG.bounce | CLEANUP_FLAG.filter | CLEANUP_FLAG.bcc | CLEANUP_FLAG.map | CLEANUP_FLAG.milter;
  const overrides = receiveOverrides();
  if (overrides.has("no_address_mappings")) flags &= ~(CLEANUP_FLAG.bcc | CLEANUP_FLAG.map);
  if (overrides.has("no_header_body_checks")) flags &= ~CLEANUP_FLAG.filter;
  if (overrides.has("no_milters") || requeued) flags &= ~CLEANUP_FLAG.milter;
  const classes = words(parameter("smtputf8_autodetect_classes"));
  if (!requeued && parameter("smtputf8_enable") && (classes.has("sendmail") || classes.has("all")))
    flags |= CLEANUP_FLAG.smtputf8Autodetect;
  return flags;
}

const words = (list: string): ReadonlySet<string> => new Set(splitAny(list, ", \t\r\n").map(lowerAscii));
