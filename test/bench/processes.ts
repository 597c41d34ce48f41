/** What the processes of a mail system use, read from /proc: master, its children, and those that have ended. */
import { readdirSync, readFileSync } from "node:fs";

/** Undefined when the process ended while we looked. */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
}

/** The fields of /proc/PID/stat after the command's name. */
function statistics(pid: number): number[] | undefined {
  const text = read(`/proc/${pid}/stat`);
  return text
    ?.slice(text.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
}

const PARENT = 1;
const [USER, SYSTEM, DEAD_USER, DEAD_SYSTEM] = [11, 12, 13, 14] as const;

export class ProcessFamily {
  /** Context switches when last seen, by process; those of a dead one stay. */
  readonly #switches = new Map<number, number>();
  peakPss = 0;

  constructor(readonly master: number) {}

  get processes(): number[] {
    const pids = readdirSync("/proc")
      .map(Number)
      .filter((pid) => Number.isInteger(pid));
    return pids.filter((pid) => pid === this.master || statistics(pid)?.[PARENT] === this.master);
  }

  get ticks(): number {
    let ticks = 0;
    for (const pid of this.processes) {
      const fields = statistics(pid);
      if (fields === undefined) continue;
      const counted = pid === this.master ? [USER, SYSTEM, DEAD_USER, DEAD_SYSTEM] : [USER, SYSTEM];
      for (const field of counted) ticks += fields[field] ?? 0;
    }
    return ticks;
  }

  /** Context switches so far. To be asked often, since those of a process that has ended are lost. */
  get switches(): number {
    for (const pid of this.processes) {
      let count = 0;
      for (const thread of threadsOf(pid))
        for (const [, number] of read(`/proc/${pid}/task/${thread}/status`)?.matchAll(
          /ctxt_switches:\s+(\d+)/g,
        ) ?? [])
          count += Number(number);
      this.#switches.set(pid, Math.max(count, this.#switches.get(pid) ?? 0));
    }
    return [...this.#switches.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Looks at the memory of all processes together, kB. */
  notePss(): void {
    let sum = 0;
    for (const pid of this.processes)
      sum += Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`) ?? "")?.[1] ?? 0);
    this.peakPss = Math.max(this.peakPss, sum);
  }
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}
