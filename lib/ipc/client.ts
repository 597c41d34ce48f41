/** Talking to the other services: connections of the three styles of ipc.md 3.5. Paths are relative to the queue directory. */
import { ClientAbort, fatal, warning } from "../log/log.ts";
import type { Channel } from "../sys/channel.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { connectKept } from "../sys/kept_socket.ts";
import { adoptSocket, connectPatientUnix, connectUnix } from "../sys/sockets.ts";
import { type Encoding, type Message, receive, send } from "./attributes.ts";

export type ServiceClass = "public" | "private";

/** Name of a connection in log messages. */
export const streamName = (servicePath: string): string => `${servicePath} socket`;

/** Connects to `CLASS/NAME`. Throws SysError. `timeLimit` is in seconds for each read and write ($ipc_timeout). */
export const connectService = (
  serviceClass: ServiceClass,
  name: string,
  timeLimit: number,
  directory = "",
): Promise<Channel> =>
  connectUnix(`${directory}${serviceClass}/${name}`, streamName(`${serviceClass}/${name}`), timeLimit);

/** Connects and says that we are no client of Postfix (lib/sys/kept_socket.ts); undefined when that cannot be done at once, for whatever reason. */
export async function connectNamed(
  serviceClass: ServiceClass,
  name: string,
  timeLimit: number,
): Promise<Channel | undefined> {
  const path = `${serviceClass}/${name}`;
  const fd = connectKept(path);
  return fd === undefined ? undefined : adoptSocket(fd, streamName(path), timeLimit);
}

/** One-shot style: connects once and checks the greeting; undefined (and a warning) when that fails. */
export async function connectOnce(
  serviceClass: ServiceClass,
  name: string,
  greeting: Message<object>,
  timeLimit: number,
): Promise<Channel | undefined> {
  let channel: Channel;
  try {
    channel = await connectService(serviceClass, name, timeLimit);
  } catch (error) {
    warning(`connect to ${serviceClass}/${name}: ${errorText(error)}`);
    return undefined;
  }
  const greeted = await receive(channel, greeting);
  if (greeted.kind === "value") return channel;
  if (greeted.kind === "end") warning(`read ${channel.name}: Connection reset by peer`);
  channel.destroy();
  return undefined;
}

/** A request on a fresh one-shot connection: greeting, request, one reply, close. Undefined when anything fails. */
export async function requestOnce<Q, R>(
  serviceClass: ServiceClass,
  name: string,
  greeting: Message<object>,
  request: Message<Q>,
  value: Q,
  reply: Message<R>,
  timeLimit: number,
): Promise<R | undefined> {
  const channel = await connectOnce(serviceClass, name, greeting, timeLimit);
  if (channel === undefined) return undefined;
  try {
    send(channel, request, value);
    await channel.flush();
    const answer = await receive(channel, reply);
    if (answer.kind === "value") return answer.value;
    if (answer.kind === "end") warning(`write/read ${channel.name}: Connection reset by peer`);
    return undefined;
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw error;
    warning(`write/read ${channel.name}: ${errorText(error)}`);
    return undefined;
  } finally {
    channel.destroy();
  }
}

const WAITING_TRIES = 10;
const WAITING_PAUSE = 10_000;
const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

let masterGone = false;
let wakeWaiting: Array<() => void> = [];

/** Master replaced this process or is dead. If it is dead, a service that has no process now will never have one. */
export function setMasterGone(): void {
  masterGone = true;
  for (const wake of wakeWaiting) wake();
  wakeWaiting = [];
}

const pauseUnlessGone = async (milliseconds: number): Promise<void> => {
  if (masterGone) return pause(1000);
  await Promise.race([pause(milliseconds), new Promise<void>((resolve) => wakeWaiting.push(resolve))]);
};

/** Waiting style: for services that must be there. Retries 10 times, 10 s apart, then the process dies. */
export async function connectWaiting(
  serviceClass: ServiceClass,
  name: string,
  timeLimit: number,
  directory = "",
): Promise<Channel> {
  const path = `${serviceClass}/${name}`;
  const channel = await connectPatientUnix(directory + path, streamName(path), timeLimit);
  if (channel !== undefined) return channel;
  for (let attempt = 1; ; attempt++) {
    try {
      return await connectService(serviceClass, name, timeLimit, directory);
    } catch (error) {
      const text = `connect #${attempt} to subsystem ${serviceClass}/${name}: ${errorText(error)}`;
      // nobody listens on a socket that master holds open as long as it lives
      if (masterGone && errorCode(error) === "ECONNREFUSED") throw new ClientAbort(text);
      if (attempt > WAITING_TRIES) fatal(text);
      warning(text);
      await pauseUnlessGone(WAITING_PAUSE);
    }
  }
}

export interface PersistentOptions {
  readonly serviceClass: ServiceClass;
  readonly service: string;
  readonly greeting: Message<object>;
  readonly encoding?: Encoding;
  /** "forever" retries each request until it succeeds (rewrite, verify, proxymap); "twice" gives up after two attempts (tlsmgr, anvil, scache). */
  readonly retry: "forever" | "twice";
  /** Seconds per read or write. */
  readonly timeLimit: number;
  /** Connections are closed after this many idle seconds; 0 = never. */
  readonly idleLimit: number;
  /** Connections are closed this many seconds after they were opened; 0 = never. */
  readonly ageLimit: number;
  /** Connections used side by side by one process. */
  readonly connectionLimit?: number;
  /** Name in `problem talking to ...`; default `service NAME`. */
  readonly label?: string;
  /** What stands before the reason of a failure; default `problem talking to LABEL`. */
  readonly complaint?: string;
  /** The queue directory with a slash at its end, for a program that is elsewhere. */
  readonly directory?: string;
  /** Tells the service that we are no client of Postfix, from a program that is in the queue directory. */
  readonly named?: boolean;
}

interface Connection {
  readonly channel: Channel;
  readonly opened: number;
  lastUsed: number;
}

/** A pool of kept connections to one service. Each connection carries one request at a time. */
export class PersistentClient {
  readonly #options: PersistentOptions;
  #idle: Connection[] = [];
  #open = 0;
  #waiting: Array<() => void> = [];
  #sweeper: ReturnType<typeof setInterval> | undefined;

  constructor(options: PersistentOptions) {
    this.#options = options;
  }

  /** Sends a request and reads its reply. Undefined only with retry "twice". */
  async request<Q, R>(request: Message<Q>, value: Q, reply: Message<R>): Promise<R | undefined> {
    return this.exchange(async (channel) => {
      send(channel, request, value, this.#options.encoding);
      await channel.flush();
      const answer = await receive(channel, reply, this.#decoding());
      return answer.kind === "value" ? answer.value : undefined;
    });
  }

  #decoding() {
    return this.#options.encoding === undefined ? {} : { encoding: this.#options.encoding };
  }

  /** Runs a conversation on a connection; `undefined` or an exception of it means failure and ends that connection. */
  async exchange<R>(conversation: (channel: Channel) => Promise<R | undefined>): Promise<R | undefined> {
    const { label = `service ${this.#options.service}`, complaint = `problem talking to ${label}` } =
      this.#options;
    for (let attempt = 1; ; attempt++) {
      let connection = await this.#slot();
      let problem = "";
      try {
        connection ??= await this.#connect();
        if (connection !== undefined) {
          const result = await conversation(connection.channel);
          if (result !== undefined) {
            this.#keep(connection);
            return result;
          }
        }
        problem = "Connection reset by peer";
      } catch (error) {
        if (error instanceof TypeError || error instanceof RangeError || error instanceof ClientAbort) {
          this.#drop(connection);
          throw error;
        }
        problem = errorText(error);
      }
      this.#drop(connection);
      // a service may close an idle connection at any time: the first failure is no news
      if (this.#options.retry === "twice") {
        if (attempt >= 2) {
          warning(`${complaint}: ${problem}`);
          return undefined;
        }
      } else if (attempt > 1) warning(`${complaint}: ${problem}`);
      await pause(1000);
    }
  }

  /** Waits for the right to use one connection: a kept one, or undefined with the right to open one. */
  async #slot(): Promise<Connection | undefined> {
    const limit = this.#options.connectionLimit ?? 8;
    while (this.#idle.length === 0 && this.#open >= limit)
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    for (;;) {
      const connection = this.#idle.pop();
      if (connection === undefined) break;
      if (this.#usable(connection)) return connection;
      connection.channel.destroy();
      this.#open--;
    }
    this.#open++;
    return undefined;
  }

  #usable(connection: Connection): boolean {
    const { ageLimit } = this.#options;
    if (connection.channel.readable || connection.channel.closed) return false;
    return ageLimit === 0 || performance.now() - connection.opened < ageLimit * 1000;
  }

  async #connect(): Promise<Connection | undefined> {
    const { serviceClass, service, timeLimit, greeting, retry, directory = "" } = this.#options;
    const named =
      this.#options.named === true ? await connectNamed(serviceClass, service, timeLimit) : undefined;
    const channel =
      named ??
      (retry === "forever"
        ? await connectWaiting(serviceClass, service, timeLimit, directory)
        : await connectService(serviceClass, service, timeLimit, directory));
    const greeted = await receive(channel, greeting, this.#decoding());
    if (greeted.kind !== "value") {
      channel.destroy();
      return undefined;
    }
    return { channel, opened: performance.now(), lastUsed: 0 };
  }

  #keep(connection: Connection): void {
    connection.lastUsed = performance.now();
    this.#idle.push(connection);
    if (this.#options.idleLimit > 0 && this.#sweeper === undefined) {
      this.#sweeper = setInterval(() => this.#sweep(), 1000);
      this.#sweeper.unref();
    }
    this.#waiting.shift()?.();
  }

  #drop(connection: Connection | undefined): void {
    connection?.channel.destroy();
    this.#open--;
    this.#waiting.shift()?.();
  }

  #sweep(): void {
    const limit = performance.now() - this.#options.idleLimit * 1000;
    const kept: Connection[] = [];
    for (const connection of this.#idle) {
      if (connection.lastUsed > limit && this.#usable(connection)) kept.push(connection);
      else {
        connection.channel.destroy();
        this.#open--;
      }
    }
    this.#idle = kept;
    if (kept.length === 0 && this.#sweeper !== undefined) {
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }
  }

  /** Closes the idle connections. */
  close(): void {
    for (const connection of this.#idle) connection.channel.destroy();
    this.#open -= this.#idle.length;
    this.#idle = [];
    if (this.#sweeper !== undefined) clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }
}
