/** Taking a message into the active queue: read, resolve, assign (queue.md 19, 21, 25.2). */
import type { ExtensionRules } from "../../lib/address/split.ts";
import { messageSkipped } from "../../lib/log/events/qmgr.ts";
import { log, warning } from "../../lib/log/log.ts";
import { MODE_EXPIRE, MODE_UNTHROTTLE } from "../../lib/queue/directories.ts";
import type { QueueId } from "../../lib/queue/queue_id.ts";
import { RecordReader } from "../../lib/queue/record_reader.ts";
import { assignRecipients } from "./assign.ts";
import { bindRecipient } from "./bind.ts";
import type { Disk, FileState } from "./disk.ts";
import { moveSlotsOfMessage } from "./job.ts";
import type { Manager } from "./manager.ts";
import { Message } from "./message.ts";
import { readEnvelope } from "./read_envelope.ts";
import { type Recipient, sortRecipients } from "./recipient.ts";
import { type ResolvedRecipient, type RewriteService, resolveRecipients } from "./resolve.ts";
import type { Scan } from "./scan.ts";

/** Seconds for which a message rests that another agent still holds. */
const LOCKED_DELAY = 60;
/** Mostly a file is read with one call; envelopes are read one after the other, so that one buffer serves them all. */
const BUFFER_SIZE = 16384;
let readBuffer: Buffer | undefined;

export interface Feeder {
  readonly manager: Manager;
  readonly disk: Disk;
  readonly resolver: RewriteService;
  readonly extensionRules: ExtensionRules;
  /** Notes that a double bounce reached its end; resolves when that is recorded. */
  readonly discardNotice: (message: Message, recipient: Recipient) => Promise<void>;
}

/** True until the time of the next attempt. A time that is further ahead than we ever set it was set before the clock went back. */
function rests({ settings }: Manager, until: number, now: number): boolean {
  const longest = Math.max(settings.minimalBackoff, settings.maximalBackoff, LOCKED_DELAY);
  return until > now + 1 && until <= now + longest + 1;
}

/** Tries to take a file of a scan; false when it is not (yet) to be delivered. */
export function feedMessage(feeder: Feeder, scan: Scan, id: QueueId): boolean {
  const { manager, disk } = feeder;
  const state = disk.openable(scan.queue, id);
  if (state === undefined) return false;
  const now = manager.clock.now();
  if (!scan.flags.all && rests(manager, state.modified, now)) return false;
  if (!disk.move(id, scan.queue, "active")) {
    warning(`${id}: rename from ${scan.queue} to active: No such file or directory`);
    return false;
  }
  const flushEach = (state.mode & MODE_UNTHROTTLE) !== 0;
  const message = new Message(
    id,
    {
      flushEach,
      flushDeferTransports: flushEach || scan.flags.flushDeferTransports,
      forceExpire: (state.mode & MODE_EXPIRE) !== 0,
    },
    now,
    manager.clock.timeOfDay(),
    manager.settings.recipientMinimum,
  );
  manager.messageCount++;
  return openMessage(feeder, message, state, now);
}

function openMessage(feeder: Feeder, message: Message, state: FileState, now: number): boolean {
  const { manager, disk } = feeder;
  const fd = disk.open("active", message.id);
  if (fd === undefined) {
    saveCorrupt(disk, message.id);
    forget(manager, message);
    return false;
  }
  try {
    if (!disk.lock(fd)) {
      log(messageSkipped({ queueId: message.id }));
      disk.setTime("active", message.id, now + LOCKED_DELAY);
      disk.move(message.id, "active", "incoming");
      forget(manager, message);
      return false;
    }
    const recipients = read(feeder, message, fd);
    if (recipients === undefined) {
      saveCorrupt(disk, message.id);
      forget(manager, message);
      return false;
    }
    if (message.flags.flushEach) disk.changeMode(fd, state.mode & ~MODE_UNTHROTTLE);
    message.references++;
    if (message.flags.forceExpire && (disk.size("defer", message.id) ?? 0) > 0) {
      message.hasProblems = true;
      message.recipientOffset = 0;
      manager.release(message);
      return true;
    }
    disk.removeIfPresent("defer", message.id);
    assign(feeder, message, recipients);
    return true;
  } finally {
    disk.close(fd);
  }
}

function read(feeder: Feeder, message: Message, fd: number): Recipient[] | undefined {
  readBuffer ??= Buffer.allocUnsafeSlow(BUFFER_SIZE);
  const path = feeder.disk.queues.path("active", message.id);
  const reader = new RecordReader(fd, path, { raw: true, buffer: readBuffer });
  return readEnvelope(feeder.manager, message, reader);
}

/** Resolves and assigns what was read. The caller holds a reference to the message, which is released at the end. */
function assign(feeder: Feeder, message: Message, recipients: ReadonlyArray<Recipient>): void {
  const { manager } = feeder;
  const sorted = sortRecipients(recipients);
  message.assigning = true;
  manager.unassignedCount += sorted.length;
  manager.assigningCount++;
  const resolved = resolveRecipients(manager.settings, feeder.resolver, message, sorted);
  if (resolved instanceof Promise)
    void resolved.then((answers) => assignResolved(feeder, message, sorted.length, answers));
  else assignResolved(feeder, message, sorted.length, resolved);
}

function assignResolved(
  feeder: Feeder,
  message: Message,
  count: number,
  answers: ReadonlyArray<ResolvedRecipient>,
): void {
  const { manager } = feeder;
  manager.unassignedCount -= count;
  manager.assigningCount--;
  const bound: Recipient[] = [];
  for (const { recipient, resolution } of answers) {
    const binding = bindRecipient(manager, message, recipient, resolution, feeder.extensionRules);
    if (binding.kind === "bound") bound.push(recipient);
    else if (binding.kind === "deferred") manager.services.deferDirectly(message, [recipient], binding.cause);
    else {
      message.references++;
      void feeder.discardNotice(message, recipient).then(() => manager.release(message));
    }
  }
  assignRecipients(manager, message, sortRecipients(bound));
  message.assigning = false;
  // Jobs that waited for these recipients, and got none, must be looked at again.
  for (const job of message.jobs)
    if (job.isBlocker) {
      job.blockerTag = 0;
      job.transport.currentJob = job.transport.jobs.first;
      job.transport.candidateCache = undefined;
    }
  if (message.recipientOffset === 0) moveSlotsOfMessage(message);
  manager.release(message);
  manager.wake();
}

/** Reads more recipients of an active message; false when the file could not be read. */
export function refillMessage(feeder: Feeder, message: Message): boolean {
  const { disk } = feeder;
  if (message.refillFailed) return false;
  const fd = disk.open("active", message.id);
  if (fd === undefined) {
    message.refillFailed = true;
    return false;
  }
  let recipients: Recipient[] | undefined;
  const { recipientOffset } = message;
  try {
    recipients = read(feeder, message, fd);
  } finally {
    disk.close(fd);
  }
  if (recipients === undefined) {
    message.recipientOffset = recipientOffset;
    message.refillFailed = true;
    return false;
  }
  message.references++;
  assign(feeder, message, recipients);
  return true;
}

/** Moves a file that cannot be used out of the way, for a human to look at. */
export function saveCorrupt(disk: Disk, id: QueueId): void {
  if (disk.move(id, "active", "corrupt"))
    warning(`saving corrupt file "${id}" from queue "active" to queue "corrupt"`);
}

/** The message is no longer in the active queue. */
export function forget(manager: Manager, message: Message): void {
  manager.messageCount--;
  if ((message.traceFlags & 256) !== 0) manager.probeCount--;
}
