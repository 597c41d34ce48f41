/** The message that a notice is about, as its queue file has it. */

import { ClientAbort, check } from "../../lib/log/log.ts";
import { readTime, splitNameValue } from "../../lib/queue/attributes.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import type { QueueId } from "../../lib/queue/queue_id.ts";
import { RecordReader } from "../../lib/queue/record_reader.ts";
import { Rec } from "../../lib/queue/records.ts";
import { decodeSize } from "../../lib/queue/size_record.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { tryLock } from "../../lib/sys/files.ts";
import { closeSync, constants, openSync } from "../../lib/sys/fs.ts";

export interface Original {
  readonly fd: number;
  readonly path: string;
  /** Offset of the content; undefined when the file does not tell. */
  readonly dataOffset: number | undefined;
  /** Bytes of content; undefined when the file does not tell. */
  readonly size: number | undefined;
  /** Envelope sender, internal form; undefined when the file does not tell. */
  readonly sender: string | undefined;
  /** Seconds since 1970; 0 when unknown. */
  readonly arrival: number;
  /** With its angle brackets; empty when unknown. */
  readonly messageId: string;
}

/** Opens the queue file under a shared lock; undefined when there is none. `threaded`: the Message-Id is wanted. */
export function openOriginal(queueName: string, queueId: QueueId, threaded: boolean): Original | undefined {
  const path = queues().path(queueName, queueId);
  let fd: number;
  try {
    fd = openSync(pathOf(path), constants.O_RDWR);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw new ClientAbort(`open ${queueName} ${queueId}: ${errorText(error)}`);
  }
  try {
    lockShared(fd, path);
    return { fd, path, ...readEnvelope(fd, path, threaded) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

export const closeOriginal = (original: Original): void => {
  check(`close ${original.path}`, () => closeSync(original.fd));
};

function lockShared(fd: number, path: string): void {
  let reason = "Resource temporarily unavailable";
  try {
    if (tryLock(fd, "shared")) return;
  } catch (error) {
    reason = errorText(error);
  }
  throw new ClientAbort(`cannot get shared lock on ${path}: ${reason}`);
}

function readEnvelope(fd: number, path: string, threaded: boolean): Omit<Original, "fd" | "path"> {
  const reader = new RecordReader(fd, path, { bufferSize: 4096 });
  let dataOffset: number | undefined;
  let size: number | undefined;
  let sender: string | undefined;
  let arrival = 0;
  for (;;) {
    const type = reader.read();
    if (type < 0) break;
    if (type === Rec.CONTENT) {
      dataOffset = reader.position;
      break;
    }
    if (type === Rec.TIME && arrival === 0) arrival = readTime(reader.string)?.seconds ?? 0;
    if (type === Rec.FROM) sender ??= reader.string;
    if (type !== Rec.SIZE || size !== undefined) continue;
    const fields = decodeSize(reader.string);
    if (fields.kind === "size") size = fields.fields.contentSize;
  }
  const after = threaded && dataOffset !== undefined && size !== undefined ? dataOffset + size : undefined;
  const messageId = after === undefined ? "" : readMessageId(reader, after);
  return { dataOffset, size, sender, arrival, messageId };
}

/** The message_id attribute after the content. */
function readMessageId(reader: RecordReader, offset: number): string {
  reader.seek(offset);
  for (;;) {
    const type = reader.read();
    if (type < 0 || type === Rec.END) return "";
    if (type !== Rec.ATTRIBUTE) continue;
    const attribute = splitNameValue(reader.string);
    if (attribute.kind === "attribute" && attribute.name === "message_id") return attribute.value;
  }
}
