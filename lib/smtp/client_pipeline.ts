/** Commands on their way to a server and the replies that are due for them, in groups as PIPELINING allows (RFC 2920). */
import type { Soon } from "../sys/when.ts";
import type { ServerReply } from "./client_reply.ts";

/** What the pipeline needs of the conversation below it. */
export interface Conversation {
  /** Queues a command line. */
  command(line: string): void;
  /** Sends what is queued. */
  flush(seconds: number): Promise<void>;
  /** Reads the next reply. */
  reply(seconds: number): Soon<ServerReply>;
}

interface Outstanding<T> {
  readonly tag: T;
  readonly seconds: number;
}

/** Unsent bytes after which replies are collected first: both ends may block in their writes otherwise (RFC 2920 3.1). */
const WINDOW = 4096;
/** Milliseconds after which a group is not enlarged further. */
const PATIENCE = 10_000;

export class CommandPipeline<T> {
  #outstanding: Array<Outstanding<T>> = [];
  #unsent = 0;
  #lastTransfer = performance.now();

  constructor(
    private readonly conversation: Conversation,
    private readonly pipelining: boolean,
    /** Gets the reply to each command, in order. */
    private readonly onReply: (tag: T, reply: ServerReply) => Soon<void>,
    /** Hears which command is waited for before each wait. */
    private readonly onWait: (tag: T) => void,
  ) {}

  /** Replies that are due. */
  get outstanding(): number {
    return this.#outstanding.length;
  }

  /** Whether a command may not be added before all replies were read. */
  mustCollect(line: string): boolean {
    if (this.#outstanding.length === 0) return false;
    if (!this.pipelining || this.#unsent + line.length + 2 > WINDOW) return true;
    return performance.now() - this.#lastTransfer > PATIENCE;
  }

  /** Adds a command; `seconds` is the time limit for its reply. */
  add(tag: T, line: string, seconds: number): void {
    this.conversation.command(line);
    this.#unsent += line.length + 2;
    this.#outstanding.push({ tag, seconds });
  }

  /** A reply is due for what was written by other means (message content). */
  expect(tag: T, seconds: number): void {
    this.#outstanding.push({ tag, seconds });
  }

  /** Sends everything and reads every reply that is due. */
  async collect(): Promise<void> {
    const [first] = this.#outstanding;
    if (first === undefined) return;
    this.onWait(first.tag);
    await this.conversation.flush(first.seconds);
    this.#unsent = 0;
    // Replies are taken off one by one, so that after a failure the rest is known to be unanswered.
    for (let next = this.#outstanding[0]; next !== undefined; next = this.#outstanding[0]) {
      this.onWait(next.tag);
      const coming = this.conversation.reply(next.seconds);
      const reply = coming instanceof Promise ? await coming : coming;
      this.#outstanding.shift();
      const pending = this.onReply(next.tag, reply);
      if (pending instanceof Promise) await pending;
    }
    this.#lastTransfer = performance.now();
  }
}
