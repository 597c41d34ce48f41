/** What the processes of a mail system use, read from /proc: master, its children, and those that have ended. */
import { execFileSync } from "node:child_process";
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

const TICKS = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));
/** Milliseconds without work that count as idle. */
const QUIET = 500;
const LOOK_EVERY = 10;

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

  /** Processor time so far, milliseconds. */
  get cpu(): number {
    return (this.ticks / TICKS) * 1000;
  }

  /** The same of the processes that are there, exactly: for what takes less than some ticks. */
  get exactCpu(): number {
    let nanoseconds = 0;
    for (const pid of this.processes)
      for (const thread of threadsOf(pid))
        nanoseconds += Number(read(`/proc/${pid}/task/${thread}/schedstat`)?.split(" ", 1)[0] ?? 0);
    return nanoseconds / 1e6;
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

  /** Memory of all processes together, kB. */
  get pss(): number {
    return this.processes.reduce((sum, pid) => sum + pssOf(pid), 0);
  }

  notePss(): void {
    this.peakPss = Math.max(this.peakPss, this.pss);
  }

  /** Process ids of a program. */
  named(name: string): number[] {
    return this.processes.filter((pid) => programOf(pid) === name);
  }

  /**
   * Waits until the processes have had next to nothing to do for half a second; the moment (of performance.now()) of the last thing they did.
   * Throws after so many seconds.
   */
  async idle(seconds: number): Promise<number> {
    const seen = [{ time: performance.now(), ticks: this.ticks }];
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end) {
      await new Promise((done) => setTimeout(done, LOOK_EVERY));
      const now = { time: performance.now(), ticks: this.ticks };
      seen.push(now);
      while ((seen[1]?.time ?? now.time) < now.time - QUIET) seen.shift();
      const [oldest = now] = seen;
      if (now.time - oldest.time >= QUIET && now.ticks - oldest.ticks <= 1) return oldest.time;
    }
    throw new Error(`the processes of ${this.master} are not idle after ${seconds} s`);
  }
}

/** Proportional memory, kB; 0 when it has ended. */
export const pssOf = (pid: number): number =>
  Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`) ?? "")?.[1] ?? 0);

export function programOf(pid: number): string {
  const command = read(`/proc/${pid}/cmdline`)?.split("\0", 1)[0] ?? "";
  return command.slice(command.lastIndexOf("/") + 1);
}

export function descriptorsOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return 0;
  }
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}
