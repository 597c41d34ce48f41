/** The conversation with one client: greeting, flags, records, status (ipc.md 5.1), and what becomes of the queue file. */

import { parameter } from "../../lib/config/configuration.ts";
import { addFlowTokens } from "../../lib/daemon/flow_control.ts";
import type { Client } from "../../lib/daemon/single.ts";
import { receive, send } from "../../lib/ipc/attributes.ts";
import {
  CleanupAgain,
  CleanupFlags,
  CleanupGreeting,
  CleanupStatus,
  cleanupStatusBit,
} from "../../lib/ipc/protocols/cleanup.ts";
import type { SharedTrigger } from "../../lib/ipc/trigger.ts";
import { removed } from "../../lib/log/events/cleanup.ts";
import { ClientAbort, log, warning } from "../../lib/log/log.ts";
import type { LogQueue, Queues } from "../../lib/queue/directories.ts";
import { type ClockCheck, createQueueFile, type QueueFile } from "../../lib/queue/queue_file.ts";
import { RecordDecoder } from "../../lib/queue/record_decoder.ts";
import type { SpareFilesIn } from "../../lib/queue/spare_files.ts";
import { type Channel, ChannelTimeout } from "../../lib/sys/channel.ts";
import { errorCode, errorText, SysError } from "../../lib/sys/errno.ts";
import { statSync } from "../../lib/sys/fs.ts";
import { bounceMessage } from "./bounce_message.ts";
import { Message } from "./message.ts";
import { MessageProcessor, type Pipeline } from "./processor.ts";

/** What the messages of this process share. */
export interface Shared {
  readonly pipeline: Pipeline;
  readonly queues: Queues;
  readonly spares: SpareFilesIn;
  readonly clock: ClockCheck;
  /** Tells the queue manager about new mail. */
  readonly trigger: SharedTrigger;
  /** Unfinished files, removed when the process dies. */
  readonly unfinished: Set<Unfinished>;
}

export interface Unfinished {
  discard(): void;
}

/** Serves one client: a message, and those that follow on a connection that is kept. */
export async function serveCleanup({ channel, kept }: Client, shared: Shared): Promise<void> {
  for (;;) {
    const inStep = await serveMessage(channel, shared);
    if (!inStep || kept?.stays !== true || !(await kept.next())) return;
    const again = receive(channel, CleanupAgain);
    if ((again instanceof Promise ? await again : again).kind !== "value") return;
  }
}

/** False when the client did not keep to the protocol, and what it sends next may be anything. */
async function serveMessage(channel: Channel, shared: Shared): Promise<boolean> {
  const file = await createQueueFile(shared.queues, "incoming", { spares: shared.spares });
  const unfinished: Unfinished = { discard: () => file.discard() };
  shared.unfinished.add(unfinished);
  // from the moment that the file is complete it must survive the end of this process
  const keep = (): boolean => shared.unfinished.delete(unfinished);
  try {
    removeSpuriousLogs(shared.queues, file);
    return await converse(channel, file, shared, keep);
  } catch (error) {
    throw clientFailure(error);
  } finally {
    shared.unfinished.delete(unfinished);
  }
}

/** A failed system call ends this message, not those of the other clients. */
function clientFailure(error: unknown): unknown {
  if (error instanceof ChannelTimeout || (error instanceof SysError && isSocketCall(error))) return error;
  return errorCode(error) === undefined
    ? error
    : new ClientAbort(error instanceof Error ? error.message : String(error));
}

const isSocketCall = (error: SysError): boolean => error.call === "socket" || error.call === "write";

const LOGS: ReadonlyArray<LogQueue> = ["defer", "bounce", "trace"];

/** Logs of an earlier message with the same queue ID. */
function removeSpuriousLogs(queues: Queues, { id }: QueueFile): void {
  for (const queue of LOGS) {
    // looking first is cheaper than an unlink that fails, and there is hardly ever anything
    if (statSync(queues.path(queue, id), { throwIfNoEntry: false }) === undefined) continue;
    try {
      if (queues.remove(queue, id)) warning(`${queue}: removed spurious ${id} log`);
    } catch (error) {
      throw new ClientAbort(`${queue}: remove ${id} log: ${errorText(error)}`);
    }
  }
}

async function converse(
  channel: Channel,
  file: QueueFile,
  shared: Shared,
  keep: () => void,
): Promise<boolean> {
  let message: Message;
  try {
    send(channel, CleanupGreeting, { queueId: file.id });
    channel.push();
    const flags = receive(channel, CleanupFlags);
    const received = flags instanceof Promise ? await flags : flags;
    const { settings } = shared.pipeline.addresses;
    message = new Message(
      file.id,
      file.created,
      file.writer,
      received.kind === "value" ? received.value.flags : 0,
      settings,
    );
    if (received.kind !== "value") message.fail("BAD");
    else {
      const processor = new MessageProcessor(message, shared.pipeline);
      await readRecords(channel, message, processor);
      processor.finish();
    }
    await finish(message, file, shared, keep);
  } catch (error) {
    file.discard();
    throw error;
  }
  const { status } = message;
  send(channel, CleanupStatus, { status, reason: message.reason });
  const flushed = channel.flush();
  if (flushed instanceof Promise) await flushed;
  return (status & cleanupStatusBit("BAD")) === 0 && channel.buffered === 0;
}

/** With line_length_limit, far longer than any record of our clients; bounds the memory for one. */
const RECORD_LIMIT = 1024 * 1024;

async function readRecords(channel: Channel, message: Message, processor: MessageProcessor): Promise<void> {
  const input = new RecordDecoder(channel.name, RECORD_LIMIT + parameter("line_length_limit"));
  try {
    for (;;) {
      if (channel.buffered > 0) {
        input.push(channel.peek());
        channel.consume(channel.buffered);
        const progress = processor.run(input);
        if ((progress instanceof Promise ? await progress : progress) === "end") return;
      }
      if (channel.buffered === 0 && !(await channel.more())) {
        input.end();
        await processor.run(input);
        return;
      }
    }
  } catch (error) {
    if (error instanceof ChannelTimeout) message.warn(`read timeout on ${channel.name}`);
    else if (!(error instanceof SysError && isSocketCall(error))) throw error;
    message.fail("BAD");
  }
}

/** Makes the message permanent, or returns or removes it. */
async function finish(message: Message, file: QueueFile, shared: Shared, keep: () => void): Promise<void> {
  const bounces = message.canBounce;
  if (bounces) {
    if (await bounceMessage(message, shared.pipeline.addresses.settings)) {
      message.status = 0;
      message.set("discard");
    } else message.status = cleanupStatusBit("WRITE");
  }
  const discarded = message.has("discard");
  if (message.status === 0 && !discarded) {
    if (await commit(message, file, shared)) {
      keep();
      return;
    }
  }
  if (message.traced) removeTrace(message, shared.queues);
  if (message.oversized && !bounces) warning("mail_stream_cleanup: close error");
  file.discard();
  log(
    removed({ queueId: message.queueId, why: discarded && message.status === 0 ? "discarded" : "canceled" }),
  );
}

async function commit(message: Message, file: QueueFile, shared: Shared): Promise<boolean> {
  const hold = message.has("hold");
  if (hold) {
    file.moveTo("hold");
    // the queue manager will not see this message
    addFlowTokens(1);
  }
  const result = await file.commit(shared.clock);
  if (result.status !== 0) {
    message.writeFailed(result.error);
    return false;
  }
  if (!hold) shared.trigger.fire();
  return true;
}

function removeTrace(message: Message, queues: Queues): void {
  try {
    queues.remove("trace", message.queueId);
  } catch (error) {
    message.warn(`remove trace log: ${errorText(error)}`);
  }
}
