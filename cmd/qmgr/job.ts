/** A job: what one message has for one transport, and its places in the transport's lists (queue.md 24.1, 24.2, 25.1). */
import { verbose } from "../../lib/log/log.ts";
import { type Link, List } from "./list.ts";
import type { Message } from "./message.ts";
import type { Peer } from "./peer.ts";
import type { Queue } from "./queue.ts";
import type { Transport } from "./transport.ts";

const NO_JOBS: ReadonlyArray<Job> = [];

export class Job {
  readonly message: Message;
  readonly transport: Transport;
  readonly peers = new List<Peer>();
  /** Index of the peers, when there are many. */
  peerOf: Map<Queue, Peer> | undefined;
  readEntries = 0;
  selectedEntries = 0;
  slotsUsed = 0;
  /** May be negative. */
  slotsAvailable = 0;
  recipientCount = 0;
  recipientLimit = 0;
  /** 0 in the list, more on a stack of preempting jobs, -1 while on no list. */
  stackLevel = -1;
  stackParent: Job | undefined;
  /** Jobs that preempted it. Most have none, and most of the thousands of jobs in memory should cost little. */
  stackChildren: ReadonlyArray<Job> = NO_JOBS;
  blockerTag = 0;
  jobLink: Link<Job> | undefined;
  timeLink: Link<Job> | undefined;

  constructor(message: Message, transport: Transport) {
    this.message = message;
    this.transport = transport;
  }

  get hasEntries(): boolean {
    return this.selectedEntries < this.readEntries;
  }
  get isBlocker(): boolean {
    return this.blockerTag === this.transport.blockerTag;
  }
  /** The most entries that it may come to have. */
  get maximumEntries(): number {
    return this.readEntries + this.message.recipientUnread;
  }

  static findOrCreate(message: Message, transport: Transport): Job {
    let job = message.jobs.find((known) => known.transport === transport);
    if (job === undefined) {
      job = new Job(message, transport);
      message.jobs.push(job);
    }
    if (job.stackLevel < 0) linkJob(job);
    return job;
  }
}

/** Last member that a new job of that time must follow; `passed` is called for each that it comes before. */
function placeFor(
  list: List<Job>,
  time: number,
  stacked: boolean,
  passed: (job: Job) => void,
): Link<Job> | undefined {
  let link = list.tail;
  for (; link !== undefined; link = link.previous) {
    const other = link.value;
    if (!(stacked && other.stackParent !== undefined) && other.message.queuedTime <= time) break;
    passed(other);
  }
  return link;
}

function linkJob(job: Job): void {
  const { transport } = job;
  const time = job.message.queuedTime;

  let current = transport.currentJob === undefined;
  const place = placeFor(transport.jobs, time, true, (passed) => {
    if (passed === transport.currentJob) current = true;
  });
  job.jobLink = transport.jobs.insertAfter(place, job);
  if (current) transport.currentJob = job;

  const former = transport.nextUnread;
  let unread = former === undefined;
  const timePlace = placeFor(transport.jobsByTime, time, false, (passed) => {
    if (passed === former) unread = true;
  });
  job.timeLink = transport.jobsByTime.insertAfter(timePlace, job);
  job.stackLevel = 0;
  if (unread) transport.nextUnread = job;
  if (transport.unusedSlots > 0) {
    giveSlots(job, transport.unusedSlots);
    transport.unusedSlots = 0;
  }
  if (unread && former !== undefined) moveSlots(former);
}

export function giveSlots(job: Job, slots: number): void {
  job.recipientLimit += slots;
  job.message.recipientLimit += slots;
}

export const unusedSlots = (job: Job): number =>
  Math.min(job.recipientLimit - job.recipientCount, job.message.recipientLimit - job.message.recipientCount);

/** Passes a job's unused recipient slots on to the oldest job that still has recipients to read. */
export function moveSlots(job: Job): void {
  const { transport } = job;
  if (transport.nextUnread === job) {
    let link = job.timeLink?.next;
    while (link !== undefined && link.value.message.recipientOffset === 0) link = link.next;
    transport.nextUnread = link?.value;
  }
  const slots = unusedSlots(job);
  if (slots <= 0) return;
  giveSlots(job, -slots);
  transport.unusedSlots += slots;
  if (transport.nextUnread !== undefined && transport.unusedSlots > 0) {
    giveSlots(transport.nextUnread, transport.unusedSlots);
    transport.unusedSlots = 0;
  }
}

/** Slots of a message whose file has been read to the end. */
export function moveSlotsOfMessage(message: Message): void {
  for (const job of message.jobs) moveSlots(job);
}

/** Takes a preempting job off its stack: its parent is charged for the slots that were really used. */
export function popJob(job: Job): void {
  verbose(() => `qmgr_job_pop: ${job.message.id}`, 2);
  const parent = job.stackParent;
  if (parent !== undefined) {
    if (job.stackLevel === parent.stackLevel + 1)
      parent.slotsAvailable -= job.slotsUsed * job.transport.settings.slotCost;
    parent.stackChildren = parent.stackChildren.filter((child) => child !== job);
  }
  for (const child of job.stackChildren) child.stackParent = parent;
  if (parent !== undefined && job.stackChildren.length > 0)
    parent.stackChildren = [...parent.stackChildren, ...job.stackChildren];
  job.stackChildren = NO_JOBS;
  job.stackParent = undefined;
  job.stackLevel = 0;
  job.transport.candidateCache = undefined;
}

/** Takes a job without entries off the transport's lists. It may come back. */
export function retireJob(job: Job): void {
  if (job.stackLevel < 0) return;
  verbose(() => `qmgr_job_retire: ${job.message.id}`, 2);
  const { transport } = job;
  if (job.stackLevel > 0) popJob(job);
  const next = job.jobLink?.next?.value;
  moveSlots(job);
  if (job.jobLink !== undefined) transport.jobs.remove(job.jobLink);
  if (job.timeLink !== undefined) transport.jobsByTime.remove(job.timeLink);
  job.jobLink = undefined;
  job.timeLink = undefined;
  if (transport.currentJob === job) transport.currentJob = next;
  const cache = transport.candidateCache;
  if (cache?.current === job || cache?.candidate === job) transport.candidateCache = undefined;
  for (const child of job.stackChildren) child.stackParent = undefined;
  job.stackChildren = NO_JOBS;
  job.stackLevel = -1;
}

/** The message is done with this transport. */
export function freeJob(job: Job): void {
  if (job.stackLevel >= 0) retireJob(job);
  else moveSlots(job);
  job.message.jobs = job.message.jobs.filter((other) => other !== job);
}

/** A job got recipients: what was concluded from its emptiness no longer holds. */
export function reviveJob(job: Job): void {
  const { transport } = job;
  transport.candidateCache = undefined;
  if (!job.isBlocker) return;
  job.blockerTag = 0;
  transport.currentJob = transport.jobs.first;
}
