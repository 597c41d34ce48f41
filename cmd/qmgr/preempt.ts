/** Preemption: a small job overtakes a big one that has earned delivery slots (queue.md 24.4, 24.5). */
import { verbose } from "../../lib/log/log.ts";
import { giveSlots, type Job, popJob } from "./job.ts";

/** The best job to overtake the current one: the longest wait for the fewest entries, among those that it can afford. */
function findCandidate(current: Job, now: number): Job | undefined {
  const { transport } = current;
  const cache = transport.candidateCache;
  if (
    cache !== undefined &&
    cache.current === current &&
    (cache.time === now || cache.candidate === undefined)
  )
    return cache.candidate;

  const affordable = Math.trunc(
    (current.readEntries - current.selectedEntries + current.slotsAvailable) / transport.settings.slotCost,
  );
  let best: Job | undefined;
  let bestScore = 0;
  if (affordable > 0) {
    for (let link = current.jobLink?.next; link !== undefined; link = link.next) {
      const job = link.value;
      if (job.stackChildren.length > 0 || job.isBlocker) continue;
      const total = job.maximumEntries;
      const needed = total - job.selectedEntries;
      const delay = now - job.message.queuedTime + 1;
      if (needed > 0 && needed <= affordable) {
        const score = delay / total;
        if (score > bestScore) {
          bestScore = score;
          best = job;
        }
      }
      if (delay <= bestScore && job.stackLevel === 0) break;
    }
  }
  transport.candidateCache = { current, time: now, candidate: best };
  return best;
}

/** The job to go on with: the current one, or one that overtakes it now. */
export function preempt(current: Job, now: number): Job {
  const { transport } = current;
  const { slotCost, slotLoan, slotDiscount, minimumSlots } = transport.settings;
  if (current.slotsAvailable <= 0 || current.maximumEntries < minimumSlots * slotCost) return current;
  const candidate = findCandidate(current, now);
  if (candidate?.jobLink === undefined || current.jobLink === undefined) return current;
  const expected = candidate.maximumEntries - candidate.selectedEntries;
  if (Math.trunc(current.slotsAvailable / slotCost) + slotLoan < (expected * (100 - slotDiscount)) / 100)
    return current;

  if (candidate.stackLevel > 0) popJob(candidate);
  transport.jobs.remove(candidate.jobLink);
  candidate.jobLink = transport.jobs.insertBefore(current.jobLink, candidate);
  candidate.stackParent = current;
  current.stackChildren = [...current.stackChildren, candidate];
  candidate.stackLevel = current.stackLevel + 1;
  transport.currentJob = candidate;
  transport.candidateCache = undefined;

  current.slotsAvailable -= expected * slotCost;
  candidate.slotsUsed = -expected;
  if (candidate.message.recipientOffset > 0) {
    const slots = Math.trunc((transport.settings.extraMemoryLimit + transport.unusedSlots + 1) / 2);
    giveSlots(candidate, slots);
    transport.unusedSlots -= slots;
  }
  verbose(
    () => `qmgr_job_preempt: ${current.message.id} by ${candidate.message.id}, level ${candidate.stackLevel}`,
    2,
  );
  return candidate;
}
