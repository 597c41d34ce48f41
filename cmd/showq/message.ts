/** One message: its sender, size and time, the recipients that failed so far with their reasons, and the others. */

import { internalToExternal } from "../../lib/address/quote.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { encode } from "../../lib/ipc/attributes.ts";
import { LIST_TERMINATOR, ShowqMessage, ShowqRecipient } from "../../lib/ipc/protocols/showq.ts";
import { warning } from "../../lib/log/log.ts";
import { readTime } from "../../lib/queue/attributes.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import { type MessageQueue, MODE_EXPIRE } from "../../lib/queue/directories.ts";
import type { FileStatus } from "../../lib/queue/file_system.ts";
import { readLog } from "../../lib/queue/log_reader.ts";
import type { QueueId } from "../../lib/queue/queue_id.ts";
import { RecordReader } from "../../lib/queue/record_reader.ts";
import { Rec } from "../../lib/queue/records.ts";
import { printable, trimSpace } from "../../lib/sys/bytes.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { errorCode, errorText, unless } from "../../lib/sys/errno.ts";
import { closeSync, constants, openSync } from "../../lib/sys/fs.ts";

const FLUSH_AT = 32 * 1024;
/** No envelope has longer records; users make the files in maildrop where everybody may write there. */
const RECORD_LIMIT = 64 * 1024;
const SIZE_TEXT = /^[0-9 ]+$/;

/** Address of the queue file as it is shown: quoted, without control characters. */
const shown = (address: string): string =>
  printable(address === "" ? '""' : internalToExternal(address), parameter("smtputf8_enable"));

/** Writes a message to the channel. A promise is given only for a message with so many recipients that the client must catch up. */
export function showMessage(
  channel: Channel,
  queue: MessageQueue,
  id: QueueId,
  status: FileStatus,
  buffer: Buffer,
): Promise<void> | undefined {
  const path = queues().path(queue, id);
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    // moved or done meanwhile
    if (errorCode(error) !== "ENOENT") warning(`open ${path}: ${errorText(error)}`);
    return undefined;
  }
  const lines = messageLines(fd, path, queue, id, status, buffer);
  let waiting = false;
  try {
    // no for-of: leaving it would end the generator
    for (let line = lines.next(); line.done !== true; line = lines.next()) {
      channel.write(line.value);
      if (channel.unsent > FLUSH_AT) {
        waiting = true;
        return finish(channel, lines, fd);
      }
    }
  } finally {
    if (!waiting) closeSync(fd);
  }
  return undefined;
}

/** The rest of a long message. The reader's memory is used by no other file until it resolves. */
async function finish(channel: Channel, lines: Generator<string>, fd: number): Promise<void> {
  try {
    await channel.flush();
    for (let line = lines.next(); line.done !== true; line = lines.next()) {
      channel.write(line.value);
      if (channel.unsent > FLUSH_AT) await channel.flush();
    }
  } finally {
    lines.return(undefined);
    closeSync(fd);
  }
}

function* messageLines(
  fd: number,
  path: string,
  queue: MessageQueue,
  id: QueueId,
  status: FileStatus,
  buffer: Buffer,
): Generator<string> {
  const reader = new RecordReader(fd, path, { buffer, maximum: RECORD_LIMIT });
  let time: number | undefined;
  let size: number | undefined;
  let sender: string | undefined;
  let original: string | undefined;
  let listed: ReadonlySet<string> = new Set();
  const skip = (why: string): void => warning(`${id}: ${why} -- skipping remainder of this file`);

  records: for (let type = reader.read(); type > 0; type = reader.read()) {
    switch (type) {
      case Rec.TIME:
        time ??= readTime(reader.text)?.seconds;
        break;
      case Rec.SIZE:
        if (size === undefined && queue !== "maildrop") size = readSize(reader.text, id);
        break;
      case Rec.FROM: {
        const address = reader.string;
        if (sender !== undefined) {
          skip(`duplicate sender address: ${address}`);
          break records;
        }
        sender = address === "" ? parameter("empty_address_recipient") : address;
        yield encode(
          ShowqMessage,
          {
            queueName: queue,
            queueId: id,
            time: time ?? status.modified,
            size: size ?? status.size,
            forcedExpire: (status.mode & MODE_EXPIRE) !== 0 ? 1 : 0,
            sender: shown(sender),
          },
          "attr0",
          true,
        );
        listed = yield* loggedRecipients(id);
        break;
      }
      case Rec.ORIGINAL_RECIPIENT:
      case Rec.RECIPIENT: {
        const address = shown(reader.string);
        if (sender === undefined) {
          skip(`missing sender address: ${address}`);
          break records;
        }
        if (type === Rec.ORIGINAL_RECIPIENT) {
          original = address;
          break;
        }
        if (!listed.has(address))
          yield encode(
            ShowqRecipient,
            { originalRecipient: original ?? address, recipient: address, logClass: "", reason: "" },
            "attr0",
            true,
          );
        original = undefined;
        break;
      }
      case Rec.DONE:
      case Rec.CANCELED:
        original = undefined;
        break;
      case Rec.CONTENT:
        if (size !== undefined) reader.skip(size);
        break;
    }
  }
  if (sender !== undefined) yield LIST_TERMINATOR;
}

function readSize(text: string, id: QueueId): number | undefined {
  const size = SIZE_TEXT.test(text) ? Number(trimSpace(text).split(/ +/, 1)[0]) : Number.NaN;
  if (Number.isSafeInteger(size)) return size;
  warning(`${id}: malformed size record: ${text.slice(0, 100)} -- using file size instead`);
  return undefined;
}

/** The entries of the defer and bounce logs; gives back the recipients that were named, as far as they are to be remembered. */
function* loggedRecipients(id: QueueId): Generator<string, ReadonlySet<string>> {
  const listed = new Set<string>();
  const limit = parameter("duplicate_filter_limit");
  for (const log of ["defer", "bounce"] as const) {
    const entries = unless(["ENOENT", "EACCES"], () =>
      readLog(queues(), log, id, { utf8: parameter("smtputf8_enable") }),
    );
    if (entries === undefined) continue;
    for (const { originalRecipient, recipient, reason } of entries) {
      yield encode(ShowqRecipient, { originalRecipient, recipient, logClass: log, reason }, "attr0", true);
      if (limit === 0 || listed.size < limit) listed.add(recipient);
    }
  }
  return listed;
}
