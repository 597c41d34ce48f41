/** The requests of flush(8): remember deferred mail by destination, and get it delivered on demand (queue.md 31). */

import { FLUSH_STATUS } from "../../lib/ipc/protocols/flush.ts";
import { warning } from "../../lib/log/log.ts";
import type { Queues } from "../../lib/queue/directories.ts";
import { isQueueId, parseQueueId, type QueueId } from "../../lib/queue/queue_id.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import * as fs from "../../lib/sys/fs.ts";
import type { MatchResult } from "../../lib/tables/match.ts";
import { deliverMessage } from "./deliver_message.ts";
import { appendToLog, drainLog, FLUSH_QUEUE, type Lock } from "./log_file.ts";
import { logNameOf } from "./log_name.ts";

export interface Flusher {
  readonly queues: Queues;
  readonly lock: Lock;
  /** Whether the domain may have a log (fast_flush_domains). */
  readonly eligible: (site: string) => Promise<MatchResult>;
  /** Seconds after which a log that was not asked for is delivered anyway, and an empty one removed. */
  readonly refreshTime: number;
  readonly purgeTime: number;
  /** Tells the queue manager: forget dead destinations; resolves when it was told. */
  readonly unthrottle: () => Promise<void>;
  /** Tells the queue manager: there is mail in the incoming queue. */
  readonly scanIncoming: () => void;
  readonly now: () => number;
}

/** IDs remembered to try a message once only. */
const DISTINCT_LIMIT = 10_000;

/** The log of an eligible site, or the status to answer with. */
async function logFor(flusher: Flusher, site: string): Promise<QueueId | number> {
  const match = await flusher.eligible(site);
  if (match.kind === "none") return FLUSH_STATUS.denied;
  if (match.kind === "error") return FLUSH_STATUS.fail;
  return logNameOf(site) ?? FLUSH_STATUS.bad;
}

export async function add(flusher: Flusher, site: string, queueId: string): Promise<number> {
  const id = parseQueueId(queueId);
  if (id === undefined) return FLUSH_STATUS.bad;
  const log = await logFor(flusher, site);
  if (typeof log === "number") return log;
  await appendToLog(flusher.queues, flusher.lock, log, id);
  return FLUSH_STATUS.ok;
}

export async function sendSite(flusher: Flusher, site: string): Promise<number> {
  const log = await logFor(flusher, site);
  if (typeof log === "number") return log;
  if (!fs.existsSync(flusher.queues.path(FLUSH_QUEUE, log))) return FLUSH_STATUS.ok;
  await flusher.unthrottle();
  await deliverLog(flusher, log);
  return FLUSH_STATUS.ok;
}

/** All is well even when there is no such message. */
export function sendFile(flusher: Flusher, queueId: string): number {
  const id = parseQueueId(queueId);
  if (id === undefined) return FLUSH_STATUS.bad;
  if (deliverMessage(flusher.queues, id, flusher.now(), true)) flusher.scanIncoming();
  return FLUSH_STATUS.ok;
}

async function deliverLog(flusher: Flusher, log: QueueId): Promise<void> {
  const now = flusher.now();
  const seen = new Set<string>();
  const lines = await drainLog(flusher.queues, flusher.lock, log, now, (line) => {
    const id = parseQueueId(line);
    if (id === undefined) {
      warning(`bad queue id "${line.slice(0, 30)}..." in fast flush logfile ${log}`);
      return;
    }
    if (seen.has(id)) return;
    if (seen.size < DISTINCT_LIMIT) seen.add(id);
    deliverMessage(flusher.queues, id, now, false);
  });
  if (lines !== undefined && lines > 0) flusher.scanIncoming();
}

/** Delivers the logs that nobody asked for within `age` seconds, and removes empty ones that are old. */
export async function refresh(flusher: Flusher, age: number): Promise<void> {
  for (const log of logs(FLUSH_QUEUE)) {
    const path = flusher.queues.path(FLUSH_QUEUE, log);
    const stat = fs.statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) continue;
    const now = flusher.now();
    if (stat.size > 0) {
      if (stat.atimeMs / 1000 + age < now) await deliverLog(flusher, log);
    } else if (stat.mtimeMs / 1000 + flusher.purgeTime <= now) removeLog(path);
  }
}

function removeLog(path: string): void {
  try {
    fs.unlinkSync(path);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") warning(`remove logfile ${path}: ${errorText(error)}`);
  }
}

function* logs(directory: string): Generator<QueueId> {
  for (const entry of fs.readdirSync(directory, { withFileTypes: true }))
    if (entry.isDirectory()) {
      if (entry.name.length === 1) yield* logs(`${directory}/${entry.name}`);
    } else if (isQueueId(entry.name)) yield entry.name;
}
