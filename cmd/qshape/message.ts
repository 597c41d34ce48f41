/** What qshape wants to know of a queue file. */

import { readTime } from "../../lib/queue/attributes.ts";
import { RecordReader } from "../../lib/queue/record_reader.ts";
import { Rec } from "../../lib/queue/records.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { errorCode } from "../../lib/sys/errno.ts";
import { closeSync, constants, fstatSync, openSync } from "../../lib/sys/fs.ts";

/** No envelope has longer records. */
const RECORD_LIMIT = 64 * 1024;

export interface Envelope {
  /** Seconds since 1970. */
  readonly time: number;
  readonly sender: string;
  /** Those that are not done. */
  readonly recipients: ReadonlyArray<string>;
}

/** A message that is complete and not force-expired. */
const MODE_MASK = 0o733;
const MODE_COUNTED = 0o700;
const SIZE = /^ *(\d+)/;

/** Undefined for what is no complete message, or has gone meanwhile. */
export function readEnvelope(path: string, buffer: Buffer): Envelope | undefined {
  let fd: number;
  try {
    fd = openSync(pathOf(path), constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "ELOOP") return undefined;
    throw error;
  }
  try {
    const status = fstatSync(fd);
    if (!status.isFile() || (status.mode & MODE_MASK) !== MODE_COUNTED) return undefined;
    return scan(new RecordReader(fd, path, { buffer, maximum: RECORD_LIMIT }), status.mtimeMs / 1000);
  } finally {
    closeSync(fd);
  }
}

function scan(reader: RecordReader, modified: number): Envelope | undefined {
  let time: number | undefined;
  let size: number | undefined;
  let sender: string | undefined;
  const recipients: string[] = [];
  for (let type = reader.read(); type > 0; type = reader.read()) {
    switch (type) {
      case Rec.TIME:
        time ??= readTime(reader.text)?.seconds;
        break;
      case Rec.SIZE: {
        const digits = SIZE.exec(reader.text)?.[1];
        if (digits !== undefined && Number.isSafeInteger(Number(digits))) size ??= Number(digits);
        break;
      }
      case Rec.FROM:
        sender ??= reader.string;
        break;
      case Rec.RECIPIENT:
        recipients.push(reader.string);
        break;
      case Rec.CONTENT:
        if (size !== undefined) reader.skip(size);
    }
  }
  // without a recipient it is as good as gone
  return sender === undefined || recipients.length === 0
    ? undefined
    : { time: time ?? modified, sender, recipients };
}
