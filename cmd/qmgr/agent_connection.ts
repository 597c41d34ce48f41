/** Connections to delivery agents. Agents of ours keep them for the next delivery (lib/sys/kept_socket.ts): they greet again after their answer. */
import { connectKept } from "../../lib/sys/kept_socket.ts";
import { type Agent, type AgentSocket, greetingBytes } from "./agent.ts";

/** Seconds for which a connection waits for the next delivery. */
const IDLE_SECONDS = 5;
/** Connections that wait, to all agents together. */
const IDLE_LIMIT = 200;

type BunSocket = import("bun").Socket<AgentConnection>;

/** Connections whose agent greeted again, by transport; the one used last comes last. */
const idle = new Map<string, AgentConnection[]>();
let idleCount = 0;
let sweeper: ReturnType<typeof setInterval> | undefined;

class AgentConnection implements AgentSocket {
  readonly transport: string;
  #agent: Agent | undefined;
  #socket: BunSocket | undefined;
  since = 0;

  constructor(agent: Agent) {
    this.transport = agent.transport;
    this.#agent = agent;
  }

  attach(socket: BunSocket): void {
    this.#socket = socket;
    this.#agent?.attach(this);
  }

  write(bytes: Uint8Array): number {
    return this.#socket?.write(bytes) ?? -1;
  }

  end(): void {
    this.#agent = undefined;
    this.#socket?.end();
  }

  /** An agent that keeps its connection sends its greeting along with the answer. All others wait for our close, and serve nobody until then. */
  release(rest: Buffer): void {
    this.#agent = undefined;
    if (idleCount < IDLE_LIMIT && rest.equals(greetingBytes())) park(this);
    else this.end();
  }

  /** Gives the connection to another delivery. */
  serve(agent: Agent): void {
    this.#agent = agent;
    agent.adopt(this, () => open(agent));
  }

  onData(chunk: Buffer): void {
    if (this.#agent !== undefined) {
      this.#agent.onData(chunk);
      return;
    }
    // nobody asked
    unpark(this);
    this.end();
  }
  onDrain(): void {
    this.#agent?.onDrain();
  }
  onClose(): void {
    this.#socket = undefined;
    const agent = this.#agent;
    this.#agent = undefined;
    if (agent === undefined) unpark(this);
    else agent.onClose();
  }
}

function park(connection: AgentConnection): void {
  const waiting = idle.get(connection.transport);
  if (waiting === undefined) idle.set(connection.transport, [connection]);
  else waiting.push(connection);
  idleCount++;
  connection.since = performance.now();
  sweeper ??= setInterval(sweep, 1000);
  sweeper.unref();
}

function unpark(connection: AgentConnection): void {
  const waiting = idle.get(connection.transport);
  const index = waiting?.indexOf(connection) ?? -1;
  if (waiting === undefined || index < 0) return;
  waiting.splice(index, 1);
  if (waiting.length === 0) idle.delete(connection.transport);
  idleCount--;
}

function sweep(): void {
  const limit = performance.now() - IDLE_SECONDS * 1000;
  for (const connection of [...idle.values()].flat()) {
    if (connection.since >= limit) continue;
    unpark(connection);
    connection.end();
  }
  if (idleCount > 0) return;
  clearInterval(sweeper);
  sweeper = undefined;
}

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

/** Connects an agent object to `private/TRANSPORT`, over a connection that waits or a fresh one. */
export function connectAgent(agent: Agent): void {
  const connection = idle.get(agent.transport)?.at(-1);
  if (connection === undefined) {
    open(agent);
    return;
  }
  unpark(connection);
  connection.serve(agent);
}

function open(agent: Agent): void {
  const path = `private/${agent.transport}`;
  // without a descriptor it is left to the runtime, which says why
  const fd = connectKept(path);
  const target = (fd === undefined ? { unix: path } : { fd }) as { unix: string };
  Bun.connect<AgentConnection>({ ...target, data: new AgentConnection(agent), socket: handlers }).catch(
    (error: unknown) => agent.onFailure(error),
  );
}
