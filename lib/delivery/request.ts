/** The server side of the delivery protocol: one request with its queue file, opened and locked (ipc.md 5.4, queue.md 28). */

import type { Client } from "../daemon/single.ts";
import { receive, send } from "../ipc/attributes.ts";
import {
  DeliveryGreeting,
  DeliveryReply,
  DeliveryRequest as DeliveryRequestMessage,
  decodeMessageStats,
  Recipient,
} from "../ipc/protocols/delivery.ts";
import { ClientAbort, check, panic, warning } from "../log/log.ts";
import { queues } from "../queue/configured_queues.ts";
import { MODE_CORRUPT } from "../queue/directories.ts";
import { isQueueId, type QueueId } from "../queue/queue_id.ts";
import { Rec } from "../queue/records.ts";
import { pathOf } from "../sys/bytes.ts";
import type { Channel } from "../sys/channel.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { tryLock } from "../sys/files.ts";
import { closeSync, constants, fchmodSync, fstatSync, openSync, statSync, writeSync } from "../sys/fs.ts";
import { effectiveUid } from "../sys/identity.ts";
import type { Disposition } from "./disposition.ts";
import { type MessageStats, moment } from "./stats.ts";
import { type Dsn, NO_DSN } from "./status.ts";

export type { Recipient };

/** A delivery request with its open queue file. */
export interface DeliveryRequest extends Omit<DeliveryRequestMessage, "time" | "recipientCount" | "queueId"> {
  readonly queueId: QueueId;
  readonly stats: MessageStats;
  readonly recipients: ReadonlyArray<Recipient>;
  /** The queue file, open for reading and writing under a shared lock for the time of the delivery. */
  readonly fd: number;
  /** Its path, relative to the queue directory. */
  readonly path: string;
}

export interface DeliveryResult {
  readonly disposition: Disposition;
  /** What is wrong with the destination as a whole: the queue manager then leaves it alone for a while. */
  readonly siteTrouble?: Dsn | undefined;
}

/** More recipients than any queue manager sends; a bound for hostile peers. */
const RECIPIENT_LIMIT = 1_000_000;

/** Serves one client: greets, reads the request, delivers, answers and waits for the client's close, or for its next request when it is kept. */
export async function serveDelivery(
  { channel, kept }: Pick<Client, "channel" | "kept">,
  deliver: (request: DeliveryRequest) => Promise<DeliveryResult>,
): Promise<void> {
  // the queue manager connects before it has work: there is no limit to the wait for it
  const { timeLimit } = channel;
  greet(channel);
  if (!(await requested(channel))) return;
  for (;;) {
    channel.timeLimit = timeLimit;
    const inStep = await serveRequest(channel, deliver);
    const stays = kept?.stays === true && inStep;
    if (stays) greet(channel);
    await channel.flush();
    if (!stays) {
      // it closes first, unless it expects to be served again
      if (kept === undefined || !inStep) await channel.drain();
      return;
    }
    if (!(await kept.next())) return;
  }
}

/** Says hello, and goes out with what is said already. */
function greet(channel: Channel): void {
  channel.timeLimit = 0;
  send(channel, DeliveryGreeting, {});
  channel.push();
}

const requested = async (channel: Channel): Promise<boolean> =>
  (channel.readable || (await channel.more())) && !(channel.buffered === 0 && channel.atEnd);

/** Reads the request, delivers, and answers; the answer is not flushed. False when the client did not keep to the protocol. */
async function serveRequest(
  channel: Channel,
  deliver: (request: DeliveryRequest) => Promise<DeliveryResult>,
): Promise<boolean> {
  const request = await readRequest(channel);
  const inStep = request !== undefined && channel.buffered === 0;
  let result: DeliveryResult = { disposition: "retry" };
  if (request !== undefined)
    try {
      result = await deliver(request);
    } finally {
      check(`close ${request.path}`, () => closeSync(request.fd));
    }
  const { status: dsnStatus, ...rest } = result.siteTrouble ?? NO_DSN;
  send(channel, DeliveryReply, { ...rest, dsnStatus, status: result.disposition === "finished" ? 0 : -1 });
  return inStep;
}

async function readRequest(channel: Channel): Promise<DeliveryRequest | undefined> {
  const common = await receive(channel, DeliveryRequestMessage);
  if (common.kind !== "value") {
    if (common.kind === "bad") warning("deliver_request_get: error receiving common attributes");
    return undefined;
  }
  const { time, recipientCount, ...attributes } = common.value;
  const stats = decodeMessageStats(time);
  if (stats === undefined) {
    warning(`msg_stats_scan: size mis-match: ${time.length} != 88`);
    warning("deliver_request_get: error receiving common attributes");
    return undefined;
  }
  const { queueName, queueId } = attributes;
  const openable = queues().openable(queueName, queueId) !== undefined;
  if (!openable || !isQueueId(queueId)) return undefined;
  const recipients = await readRecipients(channel, recipientCount);
  if (recipients === undefined) return undefined;
  if (recipients.length === 0) {
    warning(`${queueId}: no recipients in delivery request for destination ${attributes.nexthop}`);
    return undefined;
  }
  const file = openQueueFile(queueName, queueId);
  if (file === undefined) return undefined;
  const arrived = stats.agentHandoff.seconds === 0 ? { ...stats, agentHandoff: moment() } : stats;
  return { ...attributes, queueId, stats: arrived, recipients, ...file };
}

async function readRecipients(channel: Channel, count: number): Promise<Recipient[] | undefined> {
  const recipients: Recipient[] = [];
  if (count > RECIPIENT_LIMIT) {
    warning("deliver_request_get: error receiving recipient attributes");
    return undefined;
  }
  for (let index = 0; index < count; index++) {
    const coming = receive(channel, Recipient);
    const recipient = coming instanceof Promise ? await coming : coming;
    if (recipient.kind !== "value") {
      warning("deliver_request_get: error receiving recipient attributes");
      return undefined;
    }
    recipients.push(recipient.value);
  }
  return recipients;
}

function openQueueFile(queueName: string, queueId: QueueId): { fd: number; path: string } | undefined {
  const path = queues().path(queueName, queueId);
  let fd: number;
  try {
    fd = openSync(pathOf(path), constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    if (errorCode(error) !== "ENOENT")
      throw new ClientAbort(`open ${queueName} ${queueId}: ${errorText(error)}`);
    warning(`open ${queueName} ${queueId}: ${errorText(error)}`);
    return undefined;
  }
  if (!isOfQueue(fd, queueName)) {
    closeSync(fd);
    throw new ClientAbort(`open ${queueName} ${queueId}: not a file of the mail system`);
  }
  let reason = "Resource temporarily unavailable";
  try {
    if (tryLock(fd, "shared")) return { fd, path };
  } catch (error) {
    reason = errorText(error);
  }
  closeSync(fd);
  throw new ClientAbort(`shared lock ${path}: ${reason}`);
}

/** Root could open, and mark, any file that the owner of the queue made a link to. */
function isOfQueue(fd: number, queueName: string): boolean {
  const stat = fstatSync(fd);
  return stat.isFile() && (effectiveUid() !== 0 || stat.uid === statSync(queueName).uid);
}

const DONE = Uint8Array.of(Rec.DONE);

/** Overwrites the type of the recipient's record: the queue manager will not try it again. Offset -1: somebody else does that. */
export function markRecipientDone(request: Pick<DeliveryRequest, "fd" | "path">, recipient: Recipient): void {
  if (recipient.offset === -1) return;
  if (recipient.offset <= 0) panic(`deliver_completed: bad offset: ${recipient.offset}`);
  try {
    writeSync(request.fd, DONE, 0, 1, recipient.offset);
  } catch (error) {
    throw new ClientAbort(`update queue file ${request.path}: ${errorText(error)}`);
  }
}

/** The queue file is broken: the queue manager moves it to `corrupt` when it sees this mode. */
export function markCorrupt(request: Pick<DeliveryRequest, "fd" | "path">, recordType: number): void {
  warning(`bad record type: ${recordType} in message content`);
  warning(`corrupted queue file: ${request.path}`);
  check(`set mode of ${request.path}`, () => fchmodSync(request.fd, MODE_CORRUPT));
}
