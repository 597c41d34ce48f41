/** System calls of processes and of all that they start, counted by strace(1). */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SETTLE = 1500;
const wait = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));

/** Calls made while `work` runs; undefined without strace. */
export async function countSystemCalls(
  pids: ReadonlyArray<number>,
  work: () => Promise<void>,
): Promise<number | undefined> {
  const directory = mkdtempSync(join(tmpdir(), "posthaste-strace-"));
  const output = join(directory, "summary");
  const tracer = spawn("strace", ["-f", "-c", "-o", output, ...pids.flatMap((pid) => ["-p", String(pid)])], {
    stdio: "ignore",
  });
  const ended = new Promise<boolean>((done) => {
    tracer.on("error", () => done(false));
    tracer.on("close", () => done(true));
  });
  try {
    await wait(SETTLE);
    await work();
    tracer.kill("SIGINT");
    if (!(await ended)) return undefined;
    return Number(
      /^\s*100\.00\s+\S+(?:\s+\d+)?\s+(\d+)(?:\s+\d+)? total$/m.exec(readFileSync(output, "latin1"))?.[1],
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
