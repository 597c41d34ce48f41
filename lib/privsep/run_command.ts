/** Running a command to its end: input by a pipe, output by another, and a time limit for each step (delivery.md 3.4). */

import { errorCode, errorText } from "../sys/errno.ts";
import { makePipe, setNonBlocking } from "../sys/files.ts";
import { closeSync, readSync, writeSync } from "../sys/fs.ts";
import type { ProgramEnd } from "../sys/program_end.ts";
import { sleep as sleepSeconds } from "../sys/timers.ts";
import { asUser } from "./identity.ts";
import {
  type CommandStart,
  helperRefusal,
  type Refusal,
  type RunningCommand,
  startCommand,
} from "./start_command.ts";

export interface CommandRequest extends Omit<CommandStart, "stdio"> {
  /** Chunks for the standard input; each is written before the next is asked for. */
  readonly input: Iterable<Uint8Array>;
  /** Seconds that one read, one write or the wait for the end may take; then the command's whole process group is killed. */
  readonly timeLimit: number;
  /**
   * Bytes of output (standard output and error together) that are kept. What is written beyond them before the input has been taken is
   * read and dropped; then the pipe is closed, which ends a command that never stops talking.
   */
  readonly outputLimit: number;
}

export type CommandStep = "write" | "read" | "wait";

export type CommandResult = {
  /** Output, a byte string. */
  readonly output: string;
} & (
  | ProgramEnd
  | { readonly kind: "timeout"; readonly step: CommandStep }
  /** No process could be made. */
  | { readonly kind: "failed"; readonly reason: string }
  /** The command could not be executed. */
  | Refusal
);

/** Runs a command to its end. A command that does not read its input is no failure: its exit status decides. */
export async function runCommand(request: CommandRequest): Promise<CommandResult> {
  const open = new Set<number>();
  const close = (fd: number): void => {
    if (open.delete(fd)) closeSync(fd);
  };
  // pipes of the user's own: the command may open /dev/stdin and /dev/stderr
  const { uid, gid } = request;
  const pipe = (): readonly [number, number] => {
    const ends = asUser({ uid, gid }, () => makePipe());
    for (const end of ends) open.add(end);
    return ends;
  };
  try {
    const [childInput, sink] = pipe();
    const [source, childOutput] = pipe();
    setNonBlocking(sink);
    setNonBlocking(source);
    const started = startCommand({ ...request, stdio: [childInput, childOutput, childOutput] });
    if (started.kind === "refused") return { ...started, output: "" };
    if (started.kind === "no process") return { kind: "failed", reason: started.reason, output: "" };
    close(childInput);
    close(childOutput);
    return await new Conversation(request, started.command, sink, source, close).run();
  } catch (error) {
    const code = errorCode(error);
    if (code !== "EMFILE" && code !== "ENFILE") throw error;
    return { kind: "failed", reason: errorText(error), output: "" };
  } finally {
    for (const fd of open) close(fd);
  }
}

const READ_SIZE = 8192;
const WRITE_PAUSE_LIMIT = 8;
const READ_PAUSE_LIMIT = 100;

class Conversation {
  #output = "";
  #outputEnded = false;
  /** A command that has its input may be cut short when it says too much. */
  #inputClosed = false;
  /** The command is over; its output may not be, when something that it started goes on. */
  #ended = false;
  readonly #end: Promise<void>;
  #result: CommandResult | undefined;
  readonly #buffer = Buffer.allocUnsafe(READ_SIZE);

  constructor(
    private readonly request: CommandRequest,
    private readonly command: RunningCommand,
    private readonly sink: number,
    private readonly source: number,
    private readonly close: (fd: number) => void,
  ) {
    this.#end = command.ended.then((end) => {
      this.#ended = true;
      this.#result = { ...end, output: "" };
    });
  }

  async run(): Promise<CommandResult> {
    const step = await this.#steps();
    if (step !== undefined) {
      this.command.killGroup();
      await this.#end;
      this.#read();
      return { kind: "timeout", step, output: this.#output };
    }
    const result = this.#result ?? { kind: "exit", status: 1, output: "" };
    if (this.command.helped && result.kind === "exit" && result.status !== 0) {
      const refusal = helperRefusal(this.#output, { ...this.request, stdio: [0, 1, 2] });
      if (refusal !== undefined) return { ...refusal, output: "" };
    }
    return { ...result, output: this.#output };
  }

  /** The step that took too long, if any. */
  async #steps(): Promise<CommandStep | undefined> {
    for (const chunk of this.request.input) {
      const written = await this.#write(chunk);
      if (written === "timeout") return "write";
      if (written === "closed") break;
    }
    this.close(this.sink);
    this.#inputClosed = true;
    const limit = this.request.timeLimit * 1000;
    let progress = performance.now();
    for (let pause = 1; ; pause = Math.min(pause * 2, READ_PAUSE_LIMIT)) {
      if (this.#read()) {
        progress = performance.now();
        pause = 1;
      }
      if (this.#outputEnded || this.#isFull) break;
      if (performance.now() - progress >= limit) return "read";
      await this.#pause(pause);
    }
    this.#outputEnded = true;
    this.close(this.source);
    if (!this.#ended) await Promise.race([this.#end, sleepSeconds(this.request.timeLimit)]);
    return this.#ended ? undefined : "wait";
  }

  /** Writes all of it. A command may write before it reads: its output is taken meanwhile. */
  async #write(chunk: Uint8Array): Promise<"done" | "closed" | "timeout"> {
    const limit = this.request.timeLimit * 1000;
    let progress = performance.now();
    let pause = 0;
    for (let offset = 0; offset < chunk.length; ) {
      let taken = 0;
      try {
        taken = writeSync(this.sink, chunk, offset, chunk.length - offset);
      } catch (error) {
        const code = errorCode(error);
        if (code === "EPIPE") return "closed";
        if (code !== "EAGAIN") throw error;
      }
      if (taken > 0) {
        offset += taken;
        progress = performance.now();
        pause = 0;
        continue;
      }
      this.#read();
      if (performance.now() - progress >= limit) return "timeout";
      await sleep(pause);
      pause = Math.min(pause + 1, WRITE_PAUSE_LIMIT);
    }
    return "done";
  }

  get #isFull(): boolean {
    return this.#output.length >= this.request.outputLimit;
  }

  /** Takes the output that is there; true when there was some. */
  #read(): boolean {
    let some = false;
    while (!this.#outputEnded && !(this.#inputClosed && this.#isFull)) {
      let count: number;
      try {
        count = readSync(this.source, this.#buffer, 0, READ_SIZE, null);
      } catch (error) {
        if (errorCode(error) !== "EAGAIN") throw error;
        return some;
      }
      if (count === 0) this.#outputEnded = true;
      else some = true;
      const room = this.request.outputLimit - this.#output.length;
      if (room > 0) this.#output += this.#buffer.toString("latin1", 0, Math.min(count, room));
    }
    return some;
  }

  /** Waits, but not longer than the command runs. */
  #pause(milliseconds: number): Promise<unknown> {
    return this.#ended ? sleep(milliseconds) : Promise.race([sleep(milliseconds), this.#end]);
  }
}

const sleep = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));
