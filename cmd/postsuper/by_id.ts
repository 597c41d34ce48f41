/** Actions on single messages, wherever they are. */
import { info, warning } from "../../lib/log/log.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import { isQueueId, type QueueId } from "../../lib/queue/queue_id.ts";
import { ACTION_QUEUES, perform } from "./actions.ts";
import type { KnownQueue } from "./queue_list.ts";
import type { Action, Report } from "./report.ts";

const DONE: Readonly<Record<Action, string>> = {
  delete: "removed",
  requeue: "requeued",
  hold: "placed on hold",
  release: "released from hold",
  expire: "expired",
};
/** A file may move from one queue to another while it is looked for. */
const ROUNDS = 2;

export function actOnId(
  actions: ReadonlyArray<Action>,
  text: string,
  names: ReadonlyArray<KnownQueue>,
  report: Report,
): void {
  for (const action of actions) {
    if (!isQueueId(text)) {
      warning(`invalid mail queue id: ${text}`);
      continue;
    }
    if (!findAndPerform(action, text, names)) continue;
    info(`${text}: ${DONE[action]}`);
    report.count(action);
  }
}

function findAndPerform(action: Action, id: QueueId, names: ReadonlyArray<KnownQueue>): boolean {
  const places = ACTION_QUEUES[action];
  for (let round = 0; round < ROUNDS; round++)
    for (const queue of names) {
      if (!places.has(queue) || queues().openable(queue, id) === undefined) continue;
      if (!perform(action, queue, id)) continue;
      // requeued mail gets a chance at once
      if (action === "requeue") touch(id);
      return true;
    }
  return false;
}

function touch(id: QueueId): void {
  const path = queues().path("maildrop", id);
  try {
    queues().files.utimes(path, Math.floor(Date.now() / 1000));
  } catch (error) {
    // pickup was faster
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
}

/** One ID a line. */
export async function actOnStandardInput(
  actions: ReadonlyArray<Action>,
  names: ReadonlyArray<KnownQueue>,
  report: Report,
): Promise<void> {
  const lines = process.getBuiltinModule("node:readline").createInterface({
    input: process.stdin.setEncoding("latin1"),
    crlfDelay: Number.POSITIVE_INFINITY,
  });
  for await (const line of lines) actOnId(actions, line, names, report);
}
