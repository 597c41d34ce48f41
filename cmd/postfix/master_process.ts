/** The running master: its lock says that it runs, its pid file whom to signal. */

import { fatal } from "../../lib/log/log.ts";
import { trimSpace } from "../../lib/sys/bytes.ts";
import { errorCode } from "../../lib/sys/errno.ts";
import { safeOpen, tryLock } from "../../lib/sys/files.ts";
import { closeSync, constants, readFileSync } from "../../lib/sys/fs.ts";
import { readDecimal } from "../../lib/sys/numbers.ts";
import { sendSignal } from "../../lib/sys/process.ts";

/** Below the queue directory, which is where we are; process_id_directory can be read, and changes nothing. */
const PID_FILE = "pid/master.pid";

/** Whether a master holds the lock of this instance. */
export function isRunning(): boolean {
  const opened = safeOpen(PID_FILE, constants.O_RDWR, 0);
  if (!opened.ok) {
    if (opened.code === "ENOENT" || opened.code === "ENOTDIR") return false;
    return fatal(`open lock file ${PID_FILE}: ${opened.reason}`);
  }
  const free = tryLock(opened.fd, "exclusive");
  closeSync(opened.fd);
  return !free;
}

/** What the pid file says, whatever that is. */
export const masterPid = (): string => trimSpace(readFileSync(PID_FILE, "latin1").split("\n", 1)[0] ?? "");

const SIGNALS = { HUP: 1, KILL: 9, TERM: 15 } as const;

/** The words and the status of a shell's `kill`. */
export interface KillProblem {
  readonly text: string;
  readonly status: number;
}

/** Signals the master, or its whole process group; undefined when that worked. */
export function signalMaster(signal: keyof typeof SIGNALS, group = false): KillProblem | undefined {
  const text = masterPid();
  const pid = readDecimal(text, 0x7fffffff);
  // 0 and 1 stand for others
  if (pid === undefined || pid <= 1) return { text: `kill: Illegal number: ${text}`, status: 2 };
  try {
    sendSignal(group ? -pid : pid, SIGNALS[signal]);
    return undefined;
  } catch (error) {
    if (errorCode(error) !== "ESRCH") throw error;
    return { text: "kill: No such process", status: 1 };
  }
}
