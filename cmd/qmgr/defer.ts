/** Deferring what waits for a destination or transport that has just died (queue.md 26.5, 26.7). */
import { lowerAscii } from "../../lib/sys/bytes.ts";
import { addRecipient, createEntry, peerFor } from "./assign.ts";
import type { Entry } from "./entry.ts";
import { reviveJob } from "./job.ts";
import { type Manager, RETRY_TRANSPORT } from "./manager.ts";
import { Queue } from "./queue.ts";
import { finishEntry } from "./scheduler.ts";
import type { SiteStatus, Transport } from "./transport.ts";

/** Where the recipients of dead sites go: error(8) logs each with the reason; undefined when that is dead too. */
export function retryQueue(manager: Manager, cause: SiteStatus): Queue | undefined {
  const retry = manager.transport(RETRY_TRANSPORT);
  if (retry.dead !== undefined) return undefined;
  const nexthop = `${cause.status} ${cause.reason}`;
  const queue = Queue.findOrCreate(retry, lowerAscii(nexthop), nexthop);
  return queue.dead === undefined ? queue : undefined;
}

function moveEntry(manager: Manager, entry: Entry, target: Queue): void {
  const { message } = entry;
  const peer = peerFor(message, target);
  const moved = createEntry(manager, message, peer);
  for (const recipient of entry.recipients) {
    recipient.queue = target;
    addRecipient(manager, moved, recipient);
  }
  reviveJob(peer.job);
  finishEntry(manager, entry);
}

/** Defers all entries of a destination that no agent has. */
export function deferQueue(manager: Manager, queue: Queue, cause: SiteStatus): void {
  if (queue.todo.length === 0) return;
  const found = retryQueue(manager, cause);
  const target = found === queue ? undefined : found;
  for (const entry of [...queue.todo]) {
    if (entry.stage !== "todo") continue;
    if (target !== undefined) {
      moveEntry(manager, entry, target);
      continue;
    }
    manager.services.deferDirectly(entry.message, entry.recipients, cause);
    finishEntry(manager, entry);
  }
}

/** A transport whose agents cannot be reached: it rests, and all that waits for it is deferred. */
export function throttleTransport(manager: Manager, transport: Transport, cause: SiteStatus): void {
  transport.throttle(cause);
  for (const queue of [...transport.queues.values()]) deferQueue(manager, queue, cause);
}
