/** Daemons that fail or die at a chosen system call: a folder of our programs, some of them started under strace when a test says so. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { PROGRAMS } from "./harness.ts";

/** Why a test with strace cannot run here; strace in a container may lack the right to trace. */
export const NEEDS_STRACE = ((): { readonly skip?: string } => {
  const works = spawnSync("strace", ["-D", "-f", "-qq", "-o", "/dev/null", "true"]).status === 0;
  return works ? {} : { skip: "needs strace" };
})();

/** What happens at the n-th call of one thread: an error name, or death by SIGKILL. */
export interface Injection {
  readonly call: string;
  readonly n: number;
  readonly fault: string;
}

export const straceArguments = ({ call, n, fault }: Injection, report: string): string[] => {
  const what = fault === "KILL" ? "signal=KILL" : `error=${fault}`;
  return ["-f", "-qq", "-o", report, "-e", `trace=${call}`, "-e", `inject=${call}:${what}:when=${n}`];
};

export class TracedPrograms {
  readonly #folder: string;
  readonly #rules: string;

  /** Makes `directory`/libexec, to be used as daemon_directory. */
  constructor(directory: string, traced: ReadonlyArray<string>) {
    const ours = join(PROGRAMS.multicall, "libexec");
    this.#folder = join(directory, "libexec");
    this.#rules = join(directory, "inject");
    for (const path of [this.#folder, this.#rules]) mkdirSync(path);
    for (const name of readdirSync(ours)) {
      const path = join(this.#folder, name);
      if (!traced.includes(name)) symlinkSync(join(ours, name), path);
      else {
        // a rule is for one process; -D: master's child is the program, not strace
        writeFileSync(
          path,
          `#!/bin/sh
if mv ${this.#rules}/${name} ${this.#rules}/${name}.used 2>/dev/null; then
  exec strace -D $(cat ${this.#rules}/${name}.used) ${ours}/${name} "$@"
fi
exec ${ours}/${name} "$@"
`,
        );
        chmodSync(path, 0o755);
      }
    }
  }

  get folder(): string {
    return this.#folder;
  }

  /** The next process of the program gets this fault. */
  arm(program: string, injection: Injection): void {
    for (const name of [program, `${program}.used`, `${program}.report`])
      rmSync(join(this.#rules, name), { force: true });
    const report = join(this.#rules, `${program}.report`);
    writeFileSync(join(this.#rules, `${program}.new`), straceArguments(injection, report).join(" "));
    // whole at once: a process may start just now
    spawnSync("mv", [join(this.#rules, `${program}.new`), join(this.#rules, program)]);
  }

  /** A process has taken the rule. */
  taken(program: string): boolean {
    return !existsSync(join(this.#rules, program));
  }

  /** The fault has happened. */
  hit(program: string): boolean {
    const report = join(this.#rules, `${program}.report`);
    return existsSync(report) && /INJECTED|killed by SIGKILL/.test(readFileSync(report, "latin1"));
  }

  disarm(program: string): void {
    rmSync(join(this.#rules, program), { force: true });
  }
}
