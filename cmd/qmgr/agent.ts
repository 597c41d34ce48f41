/**
 * One connection to a delivery agent: it greets, gets one request, gives one reply (ipc.md 5.4). There is one for each delivery,
 * so it goes without the comforts of a Channel.
 */
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

export class Agent {
  readonly transport: string;
  /** Time at which the present stage began, in seconds. */
  since: number;
  stage: "greeting" | "ready" | "replying" | "done" = "greeting";
  readonly #events: AgentEvents;
  #socket: AgentSocket | undefined;
  #input: Buffer | undefined;
  #unsent: Uint8Array | undefined;

  constructor(transport: string, now: number, events: AgentEvents) {
    this.transport = transport;
    this.since = now;
    this.#events = events;
  }

  attach(socket: AgentSocket): void {
    if (this.stage === "done") socket.end();
    else this.#socket = socket;
  }

  onData(chunk: Buffer): void {
    const input = this.#input === undefined ? chunk : Buffer.concat([this.#input, chunk]);
    this.#input = undefined;
    if (this.stage === "greeting") this.#greeted(input);
    else if (this.stage === "replying") this.#answered(input);
  }

  #greeted(input: Buffer): void {
    greeting ??= toBytes(encode(DeliveryGreeting, {}));
    if (input.length < greeting.length && greeting.subarray(0, input.length).equals(input)) {
      this.#input = Buffer.from(input);
      return;
    }
    const problem = input.equals(greeting) ? undefined : this.#greetingProblem(input);
    if (problem === undefined) {
      this.stage = "ready";
      this.#events.ready(this);
    } else this.#malformed(problem);
  }

  #greetingProblem(input: Buffer): string {
    const decoded = decode(DeliveryGreeting, input, { stream: this.#name });
    return decoded.kind === "bad" ? decoded.text : "";
  }

  #answered(input: Buffer): void {
    const decoded = decode(ReplyMessage, input, { stream: this.#name });
    if (decoded.kind === "value") {
      this.close();
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
    if (stage === "replying") this.#malformed("");
    this.stage = "done";
    if (stage !== "greeting") return;
    warning(`write to process (${this.transport}): Broken pipe`);
    this.#events.unusable();
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
    this.#events.unusable();
  }

  /** Sends the request; false when the agent is gone. */
  request(bytes: Uint8Array, now: number): boolean {
    if (this.stage !== "ready" || this.#socket === undefined) return false;
    this.stage = "replying";
    this.since = now;
    return this.#push(bytes);
  }

  #push(bytes: Uint8Array): boolean {
    const taken = this.#socket?.write(bytes) ?? -1;
    if (taken < 0) {
      this.close();
      return false;
    }
    if (taken < bytes.length) this.#unsent = bytes.subarray(taken);
    return true;
  }

  close(): void {
    this.stage = "done";
    this.#socket?.end();
    this.#socket = undefined;
    this.#input = undefined;
    this.#unsent = undefined;
  }

  get #name(): string {
    return `private/${this.transport} socket`;
  }

  #malformed(detail: string): void {
    const { stage } = this;
    this.close();
    if (detail !== "") warning(detail);
    warning(`${this.#name}: malformed response`);
    if (stage === "greeting") this.#events.unusable();
    else this.#events.replied(undefined);
  }
}

type BunSocket = import("bun").Socket<Agent>;

const handlers = {
  binaryType: "buffer" as const,
  open(socket: BunSocket): void {
    socket.data.attach(socket);
  },
  data(socket: BunSocket, chunk: Buffer): void {
    socket.data.onData(chunk);
  },
  drain(socket: BunSocket): void {
    socket.data.onDrain();
  },
  close(socket: BunSocket): void {
    socket.data.onClose();
  },
  error(socket: BunSocket): void {
    socket.data.onClose();
  },
  connectError(): void {
    // reported by the rejected promise
  },
};

/** Connects an agent object to `private/TRANSPORT`. */
export function connectAgent(agent: Agent): void {
  const options = { unix: `private/${agent.transport}`, data: agent, socket: handlers };
  Bun.connect<Agent>(options).catch((error: unknown) => agent.onFailure(error));
}
