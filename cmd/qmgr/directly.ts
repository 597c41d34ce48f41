/** What the queue manager does about recipients itself, without a delivery agent. Rare, and done beside the scheduler. */
import { type Attempt, deferred, sent } from "../../lib/delivery/disposition.ts";
import { dsn } from "../../lib/delivery/status.ts";
import { Rec } from "../../lib/queue/records.ts";
import type { Disk } from "./disk.ts";
import type { Manager } from "./manager.ts";
import type { Message } from "./message.ts";
import type { Recipient } from "./recipient.ts";
import { messageStats } from "./request.ts";
import type { SiteStatus } from "./transport.ts";

const attempt = (message: Message, recipient: Recipient, markDone?: () => void): Attempt => ({
  message: { queueId: message.id, flags: message.traceFlags | 1, stats: messageStats(message) },
  recipient: {
    originalRecipient: recipient.original,
    recipient: recipient.address,
    offset: recipient.offset,
    dsnOriginalRecipient: recipient.dsnOriginal,
    notifyFlags: recipient.notify,
  },
  relay: "none",
  ...(markDone === undefined ? {} : { markDone }),
});

/** Records recipients as deferred when even the retry transport is dead. */
export function deferDirectly(
  manager: Manager,
  message: Message,
  recipients: ReadonlyArray<Recipient>,
  cause: SiteStatus,
): void {
  message.hasProblems = true;
  message.references++;
  const all = [...recipients];
  void (async () => {
    for (const recipient of all) await deferred(attempt(message, recipient), dsn(cause.status, cause.reason));
    manager.release(message);
  })();
}

/** A notice to the sender of double bounces reached us: nobody is left to be told. */
export async function discardNotice(disk: Disk, message: Message, recipient: Recipient): Promise<void> {
  const markDone = (): void => {
    disk.overwrite("active", message.id, recipient.offset, String.fromCharCode(Rec.DONE));
  };
  const outcome = await sent(
    attempt(message, recipient, markDone),
    dsn("2.0.0", "undeliverable postmaster notification discarded"),
  );
  if (outcome === "retry") message.hasProblems = true;
}
