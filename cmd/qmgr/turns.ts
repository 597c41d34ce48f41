/** What oqmgr(8) does in place of jobs: destinations take turns, and each gives its oldest entry (queue.md 30). */
import type { Entry } from "./entry.ts";
import type { Transport } from "./transport.ts";

export function nextInTurn({ queues }: Transport): Entry | undefined {
  for (const [name, queue] of queues) {
    const entry = queue.todo.first;
    if (entry === undefined || queue.window <= queue.busy.length) continue;
    // a map keeps the order in which its members came: this one comes last now
    queues.delete(name);
    queues.set(name, queue);
    return entry;
  }
  return undefined;
}
