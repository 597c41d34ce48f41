/** A submission that is killed leaves no unfinished file behind (tools.md 3.7). */

import { runDeathCleanups } from "../log/log.ts";
import { readFileSync } from "../sys/fs.ts";

const NUMBERS = [
  ["SIGHUP", 1],
  ["SIGINT", 2],
  ["SIGQUIT", 3],
  ["SIGTERM", 15],
] as const;

/** SIGTERM and SIGHUP stay ignored when the parent (nohup) made them so. */
export function cleanUpOnSignals(): void {
  const ignored = ignoredSignals();
  for (const [name, number] of NUMBERS) {
    const always = name === "SIGINT" || name === "SIGQUIT";
    if (!always && (ignored & (1n << BigInt(number - 1))) !== 0n) continue;
    process.on(name, () => {
      runDeathCleanups();
      process.exit(number);
    });
  }
}

const IGNORED = /^SigIgn:\t([0-9a-f]{1,16})$/m;

function ignoredSignals(): bigint {
  const mask = IGNORED.exec(readFileSync("/proc/self/status", "latin1"))?.[1];
  return mask === undefined ? 0n : BigInt(`0x${mask}`);
}
