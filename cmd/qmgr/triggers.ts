/** The letters of a trigger request (queue.md 18.2). */
import type { Manager } from "./manager.ts";
import type { Scan } from "./scan.ts";

interface Wishes {
  incoming: boolean;
  deferred: boolean;
  flush: boolean;
  all: boolean;
}

/** All letters of a request are merged; unknown ones say nothing. */
export function readTriggers(request: string): Wishes {
  const wishes = { incoming: false, deferred: false, flush: false, all: false };
  for (const letter of new Set(request))
    switch (letter) {
      case "W":
      case "I":
        wishes.incoming = true;
        break;
      case "D":
        wishes.deferred = true;
        break;
      case "F":
        wishes.flush = true;
        break;
      case "A":
        wishes.all = true;
        break;
    }
  return wishes;
}

export function applyTriggers(manager: Manager, incoming: Scan, deferred: Scan, request: string): void {
  const wishes = readTriggers(request);
  if (wishes.flush) manager.unthrottleAll();
  const flags = { all: wishes.all, flushDeferTransports: wishes.flush };
  incoming.request({ ...flags, start: wishes.incoming });
  deferred.request({ ...flags, start: wishes.deferred });
  manager.wake();
}
