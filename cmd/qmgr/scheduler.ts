/** The scheduler: which entry a transport delivers next, and what follows when an entry is done (queue.md 24.3, 24.7, 26.6). */
import { verbose } from "../../lib/log/log.ts";
import type { Entry } from "./entry.ts";
import { type Job, moveSlots, retireJob, unusedSlots } from "./job.ts";
import type { Manager } from "./manager.ts";
import { type Peer, selectPeer } from "./peer.ts";
import { preempt } from "./preempt.ts";
import type { Queue } from "./queue.ts";
import type { Transport } from "./transport.ts";
import { nextInTurn } from "./turns.ts";

/** A refill is due before recipients run out: enough room, or room and enough time. */
function wantsRefill(job: Job, now: number): boolean {
  const { message, transport } = job;
  if (message.recipientOffset === 0 || message.assigning || message.references === 0) return false;
  const room = message.recipientLimit - message.recipientCount;
  return (
    room >= transport.settings.refillLimit ||
    (room > 0 && now - message.refillTime >= transport.settings.refillDelay)
  );
}

/** A destination of the job that can take an entry now; more recipients are read when they run out. */
function findPeer(manager: Manager, job: Job, now: number): Peer | undefined {
  const { message } = job;
  if (wantsRefill(job, now)) manager.refill(message);
  const peer = selectPeer(job);
  if (peer !== undefined || message.recipientOffset === 0) return peer;
  if (message.assigning || message.references === 0 || message.recipientLimit <= message.recipientCount)
    return undefined;
  manager.refill(message);
  return selectPeer(job);
}

function markBlocked(job: Job): void {
  const tag = job.transport.blockerTag;
  job.blockerTag = tag;
  for (const peer of job.peers) if (peer.entries.length > 0) peer.queue.blockerTag = tag;
}

function take(transport: Transport, entry: Entry): Entry {
  const { peer, queue } = entry;
  const { job } = peer;
  if (entry.peerLink !== undefined) peer.entries.remove(entry.peerLink);
  entry.peerLink = undefined;
  if (entry.queueLink !== undefined) queue.todo.remove(entry.queueLink);
  entry.queueLink = queue.busy.append(entry);
  entry.stage = "busy";
  queue.recount();
  job.selectedEntries++;
  job.slotsAvailable++;
  job.slotsUsed++;
  if (transport.candidateCache?.current !== job) transport.candidateCache = undefined;
  transport.currentJob = job;
  verbose(
    () =>
      `qmgr_peer_select: ${job.message.id} ${transport.name} ${queue.name} (${queue.busy.length} of ${queue.window})`,
    2,
  );
  if (!job.hasEntries && job.message.recipientOffset === 0) retireJob(job);
  return entry;
}

/** Chooses the entry for an agent of the transport and marks it busy. */
export function selectEntry(manager: Manager, transport: Transport): Entry | undefined {
  if (!manager.settings.preemptive) {
    const next = nextInTurn(transport);
    return next === undefined ? undefined : take(transport, next);
  }
  let job = transport.currentJob;
  if (job === undefined) return undefined;
  const now = manager.clock.now();
  if (transport.settings.slotCost >= 2) job = preempt(job, now);
  for (let link = job.jobLink; link !== undefined; link = link.next) {
    const candidate = link.value;
    if (candidate.isBlocker) continue;
    const entry = findPeer(manager, candidate, now)?.entries.first;
    if (entry !== undefined) return take(transport, entry);
    // While its recipients are being resolved it keeps its place, and is unblocked when they are there.
    if (candidate.hasEntries || candidate.message.assigning) markBlocked(candidate);
    else retireJob(candidate);
  }
  transport.currentJob = undefined;
  return undefined;
}

/** Gives an entry back that could not be handed to an agent. */
export function unselectEntry(entry: Entry): void {
  const { peer, queue } = entry;
  const { job } = peer;
  if (entry.queueLink !== undefined) queue.busy.remove(entry.queueLink);
  entry.queueLink = queue.todo.append(entry);
  entry.peerLink = peer.entries.append(entry);
  entry.stage = "todo";
  queue.recount();
  job.selectedEntries--;
  job.slotsAvailable--;
  job.slotsUsed--;
}

/** A destination has room again, or none for long: the jobs that it blocked are looked at again. */
export function updateBlocker(queue: Queue): void {
  const { transport } = queue;
  if (queue.blockerTag === 0) return;
  const room = queue.window > queue.busy.length;
  if (queue.blockerTag === transport.blockerTag && room && queue.todo.length > 0) {
    transport.blockerTag += 2;
    transport.currentJob = transport.jobs.first;
    transport.candidateCache = undefined;
  }
  if (room || queue.state.kind === "dead") queue.blockerTag = 0;
}

/** An entry is delivered, deferred or moved: it goes, and whatever waited for its place goes on. */
export function finishEntry(manager: Manager, entry: Entry): void {
  const { message, peer, queue } = entry;
  const { job } = peer;
  const { transport } = queue;
  const wasBusy = entry.stage === "busy";
  if (entry.queueLink !== undefined) (wasBusy ? queue.busy : queue.todo).remove(entry.queueLink);
  entry.queueLink = undefined;
  if (!wasBusy) {
    if (entry.peerLink !== undefined) peer.entries.remove(entry.peerLink);
    entry.peerLink = undefined;
    job.selectedEntries++;
  }
  const count = entry.recipients.length;
  job.recipientCount -= count;
  message.recipientCount -= count;
  manager.recipientCount -= count;

  const allRead = message.recipientOffset === 0;
  for (const other of message.jobs)
    if (other !== job && (allRead || other.stackLevel < 0) && unusedSlots(other) > 0) moveSlots(other);
  if (allRead) moveSlots(job);

  queue.recount();
  if (wasBusy && transport.settings.destinationRateDelay > 0) {
    if (queue.state.kind === "dead") queue.revive();
    queue.suspend(transport.settings.destinationRateDelay, () => updateBlocker(queue));
  }
  if (queue.state.kind !== "suspended") updateBlocker(queue);
  if (--peer.references === 0) peer.discard();
  queue.lastDone = manager.clock.now();
  queue.discardIfIdle();
  manager.release(message);
}
