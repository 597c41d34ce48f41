/** The end of a delivery attempt: notices, then removal, another attempt later, or the corner for corrupt files (queue.md 27). */
import { loggedAddress } from "../../lib/delivery/disposition.ts";
import type { NoticeEnvelope } from "../../lib/ipc/clients/bounce.ts";
import { BOUNCE_FLAG } from "../../lib/ipc/protocols/bounce.ts";
import { DELIVERY_FLAG } from "../../lib/ipc/protocols/delivery.ts";
import { messageExpired, messageRemoved } from "../../lib/log/events/qmgr.ts";
import { log, warning } from "../../lib/log/log.ts";
import { Rec } from "../../lib/queue/records.ts";
import { SizeHint } from "../../lib/queue/size_record.ts";
import { errorText } from "../../lib/sys/errno.ts";
import type { Disk } from "./disk.ts";
import { forget, saveCorrupt } from "./feed.ts";
import { freeJob } from "./job.ts";
import type { Manager } from "./manager.ts";
import type { Message } from "./message.ts";
import type { Settings } from "./settings.ts";

/** bounce(8) under its three names. Each is true on success, and logs its failure. */
export interface Notices {
  flush(service: "bounce" | "defer", envelope: NoticeEnvelope): Promise<boolean>;
  flushVerp(service: "bounce" | "defer", envelope: NoticeEnvelope, delimiters: string): Promise<boolean>;
  warn(envelope: NoticeEnvelope): Promise<boolean>;
  trace(envelope: NoticeEnvelope): Promise<boolean>;
}

export interface Finisher {
  readonly manager: Manager;
  readonly disk: Disk;
  readonly notices: Notices;
  /** Reads the rest of the recipients; false when that failed. */
  readonly refill: (message: Message) => boolean;
}

export async function finishMessage(finisher: Finisher, message: Message): Promise<void> {
  const { manager, disk } = finisher;
  if (await flushBounceLog(finisher, message)) message.hasProblems = true;

  if (message.hasProblems && disk.openable("active", message.id) === undefined)
    return corrupt(finisher, message);
  if (message.recipientOffset > 0) {
    // A refill keeps its own reference: the message comes back here when those recipients are done.
    if (!finisher.refill(message)) corrupt(finisher, message);
    return;
  }

  const traced =
    (message.traceFlags & (DELIVERY_FLAG.userVerify | DELIVERY_FLAG.record | DELIVERY_FLAG.recordDelayed)) !==
      0 || (message.hints & SizeHint.NOTIFY_SUCCESS) !== 0;
  if (traced) await reportTrace(finisher, message);

  if (message.hasProblems) await tellAboutProblems(finisher, message);
  if (message.hasProblems) deferMessage(finisher, message);
  else remove(finisher, message);
  drop(finisher, message);
  manager.wake();
}

/** Everything bounce(8) must know to write a notice. */
const envelope = (message: Message, flags = 0): NoticeEnvelope => ({
  flags: message.traceFlags | flags,
  queueName: "active",
  queueId: message.id,
  encoding: message.encoding,
  sendopts: message.sendOptions,
  sender: message.senderText,
  envelopeId: message.envelopeId,
  retFlags: message.returnFlags,
});

const flushLog = (
  { manager, notices }: Finisher,
  message: Message,
  service: "bounce" | "defer",
  flags: number,
): Promise<boolean> =>
  message.verpDelimiters !== "" && manager.settings.verpBounces
    ? notices.flushVerp(service, envelope(message, flags), message.verpDelimiters)
    : notices.flush(service, envelope(message, flags));

/** True when bounced recipients could not be reported. */
async function flushBounceLog(finisher: Finisher, message: Message): Promise<boolean> {
  const size = finisher.disk.size("bounce", message.id);
  if (size === undefined) return false;
  if (size === 0) {
    finisher.disk.removeIfPresent("bounce", message.id);
    return false;
  }
  return !(await flushLog(finisher, message, "bounce", 0));
}

async function reportTrace(finisher: Finisher, message: Message): Promise<void> {
  if (!(await finisher.notices.trace(envelope(message)))) {
    message.hasProblems = true;
    return;
  }
  if (message.traceOffset > 0)
    finisher.disk.overwrite("active", message.id, message.traceOffset, String.fromCharCode(Rec.KILLED));
}

/** Returns a message that was tried for too long, or tells the sender once that it is late. */
async function tellAboutProblems(finisher: Finisher, message: Message): Promise<void> {
  const { manager } = finisher;
  const now = manager.clock.now();
  const expired = now >= message.createTime + lifetime(manager.settings, message);
  if (message.flags.forceExpire || expired) {
    log(
      messageExpired({
        queueId: message.id,
        from: loggedAddress(message.senderText),
        status: message.flags.forceExpire ? "force-expired" : "expired",
      }),
    );
    message.hasProblems = !(await flushLog(finisher, message, "defer", BOUNCE_FLAG.deleteRecipients));
    return;
  }
  if (message.warnTime <= 0 || now < message.warnTime - 1) return;
  if (!(await finisher.notices.warn(envelope(message)))) return;
  const warned = `${String.fromCharCode(Rec.WARN_TIME)}${String.fromCharCode(15)}${"-1".padStart(15)}`;
  finisher.disk.overwrite("active", message.id, message.warnOffset, warned);
}

const lifetime = (settings: Settings, message: Message): number =>
  message.senderText === "" ? settings.bounceLifetime : settings.queueLifetime;

/** Seconds until the next attempt: the age of the message within limits; the lower limit wins. */
export const backoff = (age: number, minimal: number, maximal: number): number =>
  Math.max(Math.min(age, maximal), minimal);

function deferMessage({ manager, disk }: Finisher, message: Message): void {
  const now = manager.clock.now();
  const { minimalBackoff, maximalBackoff } = manager.settings;
  const delay = backoff(now - message.createTime, minimalBackoff, maximalBackoff);
  if (!disk.setTime("active", message.id, now + delay) || !disk.move(message.id, "active", "deferred"))
    warning(`${message.id}: rename from active to deferred: No such file or directory`);
}

function remove({ manager, disk }: Finisher, message: Message): void {
  try {
    if (manager.settings.dontRemove) disk.move(message.id, "active", "saved");
    else disk.remove("active", message.id, message.dataOffset + message.dataSize);
    log(messageRemoved({ queueId: message.id }));
  } catch (error) {
    warning(`qmgr_active_done_3_generic: remove ${message.id} from active: ${errorText(error)}`);
  }
}

function corrupt(finisher: Finisher, message: Message): void {
  saveCorrupt(finisher.disk, message.id);
  drop(finisher, message);
  finisher.manager.wake();
}

function drop({ manager }: Finisher, message: Message): void {
  for (const job of message.jobs) freeJob(job);
  forget(manager, message);
}
