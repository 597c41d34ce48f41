/** Grouping resolved recipients into entries (queue.md 21). */
import { clogWarning } from "./clog.ts";
import { Entry } from "./entry.ts";
import { Job, reviveJob } from "./job.ts";
import type { Manager } from "./manager.ts";
import type { Message } from "./message.ts";
import { Peer } from "./peer.ts";
import type { Queue } from "./queue.ts";
import type { Recipient } from "./recipient.ts";

export function createEntry(manager: Manager, message: Message, peer: Peer): Entry {
  const entry = new Entry(message, peer);
  const { job, queue } = peer;
  entry.peerLink = peer.entries.append(entry);
  peer.references++;
  entry.queueLink = queue.todo.append(entry);
  queue.recount();
  job.readEntries++;
  message.references++;
  clogWarning(manager, queue);
  return entry;
}

/** A place for recipients of this message at this destination. */
export function peerFor(message: Message, queue: Queue): Peer {
  const job = Job.findOrCreate(message, queue.transport);
  return Peer.findOrCreate(job, queue);
}

export function addRecipient(manager: Manager, entry: Entry, recipient: Recipient): void {
  entry.recipients.push(recipient);
  entry.peer.job.recipientCount++;
  entry.message.recipientCount++;
  manager.recipientCount++;
}

/** Gives each bound recipient a place in an entry. The order is that of `sortRecipients`. */
export function assignRecipients(
  manager: Manager,
  message: Message,
  recipients: ReadonlyArray<Recipient>,
): void {
  const single = message.verpDelimiters !== "";
  const touched = new Set<Job>();
  for (const recipient of recipients) {
    const { queue } = recipient;
    if (queue === undefined) continue;
    const peer = peerFor(message, queue);
    const limit = queue.transport.settings.recipientLimit;
    let entry = single ? undefined : peer.entries.last;
    if (entry === undefined || (limit > 0 && entry.recipients.length >= limit))
      entry = createEntry(manager, message, peer);
    addRecipient(manager, entry, recipient);
    touched.add(peer.job);
  }
  for (const job of touched) reviveJob(job);
  for (const job of message.jobs)
    if (job.hasEntries && !job.isBlocker) job.transport.candidateCache = undefined;
}
