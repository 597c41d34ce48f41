/** Tokens in the pipe 3/4 with which the queue manager slows cleanup down (ipc.md 1.12). */

import { parameter } from "../config/configuration.ts";
import { warning } from "../log/log.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { pendingBytes } from "../sys/files.ts";
import { readSync, writeSync } from "../sys/fs.ts";
import { sleep } from "../sys/timers.ts";
import type { Soon } from "../sys/when.ts";
import { FLOW_READ, FLOW_WRITE } from "./status.ts";

/** Takes a token; when there is none, waits in_flow_delay seconds and goes on. */
export function takeFlowToken(): Soon<void> {
  const seconds = parameter("in_flow_delay");
  if (seconds > 0 && removeFlowTokens(1) === 0) return sleep(seconds);
}

/** Tokens in the pipe. */
export const flowTokens = (): number => pendingBytes(FLOW_READ);

/** Adds tokens as far as the pipe takes them. */
export function addFlowTokens(count: number): void {
  if (count <= 0) return;
  try {
    writeSync(FLOW_WRITE, Buffer.alloc(count));
  } catch (error) {
    if (errorCode(error) !== "EAGAIN") warning(`write flow pipe: ${errorText(error)}`);
  }
}

/** Removes up to `count` tokens; the number removed. */
export function removeFlowTokens(count: number): number {
  try {
    return readSync(FLOW_READ, Buffer.alloc(count), 0, count, null);
  } catch (error) {
    if (errorCode(error) !== "EAGAIN") warning(`read flow pipe: ${errorText(error)}`);
    return 0;
  }
}
