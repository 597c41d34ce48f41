/** Daemons that die by SIGKILL under load, each in turn. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Instance } from "../../../packaging/instance.ts";
import { daemons } from "./harness.ts";

const PAUSE_MILLISECONDS = 60;

export class Kills {
  readonly #counts: Map<string, number>;

  constructor(
    private readonly instance: Instance,
    private readonly victims: ReadonlyArray<string>,
    /** Of each. */
    private readonly times: number,
  ) {
    this.#counts = new Map(victims.map((victim) => [victim, 0]));
  }

  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  get done(): boolean {
    return [...this.#counts.values()].every((count) => count >= this.times);
  }

  /** Kills one process after another, each daemon in turn, until each had its share. */
  async run(): Promise<void> {
    while (!this.done)
      for (const victim of this.victims) {
        const count = this.#counts.get(victim) ?? 0;
        if (count >= this.times) continue;
        const [pid] = daemons(this.instance, victim);
        if (pid !== undefined && killProcess(pid)) this.#counts.set(victim, count + 1);
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
      }
  }
}

/** False when it was gone already. */
function killProcess(pid: number): boolean {
  try {
    process.kill(pid, "SIGKILL");
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ESRCH") return false;
    throw error;
  }
}

/** Complete queue files; a killed cleanup leaves unfinished ones behind, whose senders got no promise. */
export function completeFiles(folder: string): number {
  let count = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) count += completeFiles(path);
    else if (((statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o100) !== 0) count++;
  }
  return count;
}

export const MESSAGE_QUEUES = ["maildrop", "incoming", "active", "deferred"] as const;

/** Nothing complete is left in the queue. */
export const isQueueEmpty = (instance: Instance): boolean =>
  MESSAGE_QUEUES.every((queue) => completeFiles(join(instance.queue, queue)) === 0);

/** Everything is tried again at once, and processes that died come back at once. */
export const QUICK_RETRIES = `service_throttle_time = 1s
transport_retry_time = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
qmgr_clog_warn_time = 0
`;
