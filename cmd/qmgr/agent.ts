/** One delivery by an agent: it greets, gets one request, gives one reply (ipc.md 5.4). There are many, so they go without the comforts of a Channel. */
import { decode, encode } from "../../lib/ipc/attributes.ts";
import {
  DeliveryGreeting,
  type DeliveryReply,
  DeliveryReply as ReplyMessage,
} from "../../lib/ipc/protocols/delivery.ts";
import { warning } from "../../lib/log/log.ts";
import { toBytes } from "../../lib/sys/bytes.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";

/** The socket below. */
export interface AgentSocket {
  /** Bytes taken; negative when the connection is gone. */
  write(bytes: Uint8Array): number;
  end(): void;
  /** The agent has answered; the connection may be used again. `rest` is what came after the answer. */
  release(rest: Buffer): void;
}

export interface AgentEvents {
  /** It greeted and waits for a request. */
  ready(agent: Agent): void;
  /** It could not be reached or did not greet; the reason was logged. */
  unusable(): void;
  /** Its answer, undefined when it gave none (said so). */
  replied(reply: DeliveryReply | undefined): void;
}

/** What an answer may come to at most. */
const REPLY_LIMIT = 1024 * 1024;
let greeting: Buffer | undefined;
/** What an agent says first. */
export const greetingBytes = (): Buffer => {
  greeting ??= toBytes(encode(DeliveryGreeting, {}));
  return greeting;
};

export class Agent {
  readonly transport: string;
  /** Time at which the present stage began, in seconds. */
  since: number;
  stage: "greeting" | "ready" | "replying" | "done" = "greeting";
  readonly #events: AgentEvents;
  #socket: AgentSocket | undefined;
  #input: Buffer | undefined;
  #unsent: Uint8Array | undefined;
  /** On a connection that was used before: how to get another one, since the agent may have closed this one before it saw the request. */
  #reconnect: (() => void) | undefined;
  /** The request, as long as it may have to be sent again. */
  #request: Uint8Array | undefined;

  constructor(transport: string, now: number, events: AgentEvents) {
    this.transport = transport;
    this.since = now;
    this.#events = events;
  }

  attach(socket: AgentSocket): void {
    if (this.stage === "done") socket.end();
    else this.#socket = socket;
  }

  /** Works on a connection that an agent keeps, and on which it has greeted. */
  adopt(socket: AgentSocket, reconnect: () => void): void {
    this.#socket = socket;
    this.#reconnect = reconnect;
    this.#greetedWell();
  }

  onData(chunk: Buffer): void {
    this.#reconnect = undefined;
    const input = this.#input === undefined ? chunk : Buffer.concat([this.#input, chunk]);
    this.#input = undefined;
    if (this.stage === "greeting") this.#greeted(input);
    else if (this.stage === "replying") this.#answered(input);
  }

  #greeted(input: Buffer): void {
    const wanted = greetingBytes();
    if (input.length < wanted.length && wanted.subarray(0, input.length).equals(input)) {
      this.#input = Buffer.from(input);
      return;
    }
    const problem = input.equals(wanted) ? undefined : this.#greetingProblem(input);
    if (problem === undefined) this.#greetedWell();
    else this.#malformed(problem);
  }

  #greetedWell(): void {
    this.stage = "ready";
    const request = this.#request;
    if (request === undefined) this.#events.ready(this);
    else {
      this.#request = undefined;
      if (!this.request(request, this.since)) this.#events.replied(undefined);
    }
  }

  #greetingProblem(input: Buffer): string {
    const decoded = decode(DeliveryGreeting, input, { stream: this.#name });
    return decoded.kind === "bad" ? decoded.text : "";
  }

  #answered(input: Buffer): void {
    const decoded = decode(ReplyMessage, input, { stream: this.#name });
    if (decoded.kind === "value") {
      const socket = this.#socket;
      this.#detach();
      socket?.release(input.subarray(decoded.length));
      this.#events.replied(decoded.value);
    } else if (decoded.kind === "bad") this.#malformed(decoded.text);
    else if (input.length > REPLY_LIMIT) this.#malformed("");
    else this.#input = Buffer.from(input);
  }

  onDrain(): void {
    const unsent = this.#unsent;
    this.#unsent = undefined;
    if (unsent !== undefined) this.#push(unsent);
  }

  /** The connection ended. */
  onClose(): void {
    const { stage } = this;
    this.#socket = undefined;
    if (stage === "replying") {
      if (!this.#again()) this.#malformed("");
      return;
    }
    // one that is kept may go away before there is a request
    if (stage === "ready" && this.#reconnect !== undefined) return;
    this.stage = "done";
    if (stage !== "greeting") return;
    warning(`write to process (${this.transport}): Broken pipe`);
    this.#unusable();
  }

  /** Goes on over a connection of its own when the kept one ended without a word. */
  #again(): boolean {
    const reconnect = this.#reconnect;
    if (reconnect === undefined || this.#request === undefined) return false;
    this.#reconnect = undefined;
    this.#socket = undefined;
    this.#unsent = undefined;
    this.stage = "greeting";
    reconnect();
    return true;
  }

  /** There is no agent: for a delivery that was begun on a kept connection this is an answer that did not come. */
  #unusable(): void {
    if (this.#request === undefined) this.#events.unusable();
    else this.#events.replied(undefined);
  }

  /** The connection could not be made. */
  onFailure(error: unknown): void {
    if (this.stage === "done") return;
    // The connection was made, and closed before we noticed.
    if (errorCode(error) === "ECONNRESET") {
      this.onClose();
      return;
    }
    this.stage = "done";
    warning(`connect to transport private/${this.transport}: ${errorText(error)}`);
    this.#unusable();
  }

  /** Sends the request; false when the agent is gone. */
  request(bytes: Uint8Array, now: number): boolean {
    if (this.stage !== "ready") return false;
    if (this.#socket === undefined && this.#reconnect === undefined) return false;
    this.stage = "replying";
    this.since = now;
    if (this.#reconnect !== undefined) this.#request = bytes;
    return this.#push(bytes);
  }

  #push(bytes: Uint8Array): boolean {
    const taken = this.#socket?.write(bytes) ?? -1;
    if (taken < 0) {
      if (this.#again()) return true;
      this.close();
      return false;
    }
    if (taken < bytes.length) this.#unsent = bytes.subarray(taken);
    return true;
  }

  close(): void {
    this.#socket?.end();
    this.#detach();
  }

  #detach(): void {
    this.stage = "done";
    this.#socket = undefined;
    this.#input = undefined;
    this.#unsent = undefined;
    this.#request = undefined;
    this.#reconnect = undefined;
  }

  get #name(): string {
    return `private/${this.transport} socket`;
  }

  #malformed(detail: string): void {
    const isUnusable = this.stage === "greeting" && this.#request === undefined;
    this.close();
    if (detail !== "") warning(detail);
    warning(`${this.#name}: malformed response`);
    if (isUnusable) this.#events.unusable();
    else this.#events.replied(undefined);
  }
}
