/** One-way requests to trigger servers over unix sockets or FIFOs (ipc.md 5.16). */
import { closeSync, openSync, statSync, writeSync } from "node:fs";
import { warning } from "../log/log.ts";
import { errorText } from "../sys/errno.ts";
import { connectUnix, FIFO_WRITE } from "../sys/sockets.ts";
import type { ServiceClass } from "./client.ts";

/** Seconds that a client waits for the server's close beyond $trigger_timeout. */
const CLOSE_GRACE = 100;

/**
 * Sends the characters of `request` to a trigger service. True when the service took them; `done` resolves when it has
 * processed them (closed the connection). A failure is logged as a warning.
 */
export async function trigger(
  serviceClass: ServiceClass,
  service: string,
  request: string,
  timeLimit: number,
): Promise<{ readonly ok: boolean; readonly done: Promise<void> }> {
  const path = `${serviceClass}/${service}`;
  const failed = { ok: false, done: Promise.resolve() };
  let kind: "socket" | "fifo";
  try {
    const stat = statSync(path);
    if (stat.isFIFO()) kind = "fifo";
    else if (stat.isSocket()) kind = "socket";
    else {
      warning(`${path} is not a socket or a fifo`);
      return failed;
    }
  } catch (error) {
    warning(`unable to look up ${path}: ${errorText(error)}`);
    return failed;
  }
  try {
    if (kind === "fifo") {
      const fd = openSync(path, FIFO_WRITE);
      try {
        writeSync(fd, request);
      } finally {
        closeSync(fd);
      }
      return { ok: true, done: Promise.resolve() };
    }
    const channel = await connectUnix(path, `${path} socket`, timeLimit);
    channel.write(`${request}\0`);
    await channel.flush();
    channel.timeLimit = timeLimit + CLOSE_GRACE;
    const done = channel.drain().then(
      () => channel.destroy(),
      (error: unknown) => {
        warning(`unix_trigger_event: read timeout for service ${path}: ${errorText(error)}`);
        channel.destroy();
      },
    );
    return { ok: true, done };
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw error;
    warning(`write to ${path}: ${errorText(error)}`);
    return failed;
  }
}

/**
 * A trigger that many events of one process share: while one is on its way, further events are remembered and sent as
 * one more when the service has closed the first, so that each event is followed by a trigger that was processed after it.
 */
export class SharedTrigger {
  #busy = false;
  #again = false;

  constructor(
    readonly serviceClass: ServiceClass,
    readonly service: string,
    readonly request: string,
    readonly timeLimit: number,
  ) {}

  /** Fire and forget; failures are logged. */
  fire(): void {
    if (this.#busy) {
      this.#again = true;
      return;
    }
    this.#busy = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    do {
      this.#again = false;
      const { done } = await trigger(this.serviceClass, this.service, this.request, this.timeLimit);
      await done;
    } while (this.#again);
    this.#busy = false;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  #idleWaiters: Array<() => void> = [];
  /** Resolves when nothing is on its way, for a process that wants to end. */
  async settled(): Promise<void> {
    if (this.#busy)
      await new Promise<void>((resolve) => {
        this.#idleWaiters.push(resolve);
      });
  }
}
