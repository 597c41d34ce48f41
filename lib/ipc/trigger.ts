/** One-way requests to trigger servers over unix sockets or FIFOs (ipc.md 5.16). */

import { verbose, warning } from "../log/log.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { closeSync, constants, fstatSync, openSync, statSync, writeSync } from "../sys/fs.ts";
import { connectUnix, FIFO_WRITE, sendAndClose } from "../sys/sockets.ts";
import type { ServiceClass } from "./client.ts";

/** Seconds that a client waits for the server's close beyond $trigger_timeout. */
const CLOSE_GRACE = 100;

/**
 * Sends the characters of `request` to a trigger service. True when the service took them; `done` resolves when it has
 * processed them (closed the connection).
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
      const fd = openSync(path, FIFO_WRITE | constants.O_NOFOLLOW);
      try {
        if (!fstatSync(fd).isFIFO()) return failed;
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
        // a server that closes without reading its input resets the connection
        if (errorCode(error) !== "ECONNRESET")
          warning(`unix_trigger_event: read timeout for service ${path}: ${errorText(error)}`);
        channel.destroy();
      },
    );
    return { ok: true, done };
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw error;
    // the caller says what it means that nobody is there
    verbose(() => `write to ${path}: ${errorText(error)}`);
    return failed;
  }
}

/** Milliseconds between two triggers of one process, for events that come close together. */
const GATHER_TIME = 5;

/**
 * A trigger that many events of one process share: it is sent at once, and events within the next moments share one more after them, so that
 * each event is followed by a trigger that was sent after it.
 */
export class SharedTrigger {
  readonly #path: string;
  readonly #bytes: Buffer;
  #pause: ReturnType<typeof setTimeout> | undefined;
  #again = false;
  /** A trigger that the service did not take at once. */
  #slow: Promise<void> | undefined;

  constructor(
    readonly serviceClass: ServiceClass,
    readonly service: string,
    readonly request: string,
    readonly timeLimit: number,
  ) {
    this.#path = `${serviceClass}/${service}`;
    this.#bytes = Buffer.from(`${request}\0`, "latin1");
  }

  /** Fire and forget; failures are logged. */
  fire(): void {
    if (this.#pause !== undefined || this.#slow !== undefined) {
      this.#again = true;
      return;
    }
    this.#send();
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      this.#next();
    }, GATHER_TIME);
  }

  #next(): void {
    if (!this.#again) return;
    this.#again = false;
    this.fire();
  }

  #send(): void {
    if (!sendAndClose(this.#path, this.#bytes)) this.#slow = this.#sendWaiting();
  }

  /** A FIFO, a full backlog, or no service: with all the care that these need. */
  async #sendWaiting(): Promise<void> {
    const { done } = await trigger(this.serviceClass, this.service, this.request, this.timeLimit);
    await done;
    this.#slow = undefined;
    if (this.#pause === undefined) this.#next();
  }

  /** Resolves when nothing is on its way, for a process that wants to end. */
  async settled(): Promise<void> {
    clearTimeout(this.#pause);
    this.#pause = undefined;
    while (this.#again || this.#slow !== undefined) {
      if (this.#again && this.#slow === undefined) {
        this.#again = false;
        this.#send();
      }
      await this.#slow;
    }
  }
}
