/** Takes clients from the inherited listening sockets, one by one and no more than wanted. */
import { error as logError, warning } from "../log/log.ts";
import { Channel } from "../sys/channel.ts";
import { errorText, SysError } from "../sys/errno.ts";
import { duplicate } from "../sys/files.ts";
import {
  acceptSocket,
  adoptSocket,
  bindChannel,
  channelHandlers,
  endsOf,
  keepAlive,
  type PeerAddress,
} from "../sys/sockets.ts";
import { after, everyBusy, type Timer } from "../sys/timers.ts";
import type { Intake } from "./lifetime.ts";
import { FIRST_LISTENER } from "./status.ts";

/** Processor time after which a process looks whether it accepts in vain, and how long it rests then. */
const BUSY_MILLISECONDS = 20;
const REST_SECONDS = 1;

type BunSocket = import("bun").Socket<Channel>;

/**
 * Listens on descriptors 6, 7, ... `accept` is called for each client; stop() takes effect at once, also within `accept`
 * (Bun's accept loop ends when its listener is closed).
 */
export class Listener implements Intake {
  #servers: Array<import("bun").TCPSocketListener<Channel>> = [];
  #wanted = false;
  #watched = false;
  #rest: Timer | undefined;

  constructor(
    readonly count: number,
    readonly inet: boolean,
    readonly timeLimit: number,
    readonly name: string,
    readonly accept: (channel: Channel, peer: PeerAddress | undefined) => void,
    /** Nothing is read from a client until its channel is told to. */
    readonly untouched = false,
  ) {}

  start(): void {
    this.#wanted = true;
    if (this.#servers.length > 0 || this.#rest !== undefined) return;
    this.#watch();
    for (let index = 0; index < this.count; index++) this.#servers.push(this.#listen(FIRST_LISTENER + index));
  }

  stop(): void {
    this.#wanted = false;
    this.#close();
  }

  #watch(): void {
    if (this.#watched) return;
    this.#watched = true;
    everyBusy(BUSY_MILLISECONDS, () => {
      if (this.#servers.length > 0) this.#tryToAccept();
    });
  }

  /**
   * When the kernel has no descriptor or no memory for a client, the runtime's listener tries again at once, for ever and in silence. A process
   * that burns time therefore looks for itself.
   */
  #tryToAccept(): void {
    for (let index = 0; index < this.count; index++)
      try {
        const fd = acceptSocket(FIRST_LISTENER + index);
        if (fd !== undefined) void this.#adopt(fd);
      } catch (failure) {
        if (!(failure instanceof SysError)) throw failure;
        warning(`accept connection: ${errorText(failure)}`);
        this.#close();
        this.#rest = after(REST_SECONDS, () => {
          this.#rest = undefined;
          if (this.#wanted) this.start();
        });
        return;
      }
  }

  async #adopt(fd: number): Promise<void> {
    const channel = await adoptSocket(fd, this.name, this.timeLimit);
    if (this.untouched) channel.pause();
    this.accept(channel, this.inet ? endsOf(fd) : undefined);
  }

  #close(): void {
    const servers = this.#servers;
    this.#servers = [];
    for (const server of servers) server.stop(false);
  }

  #listen(fd: number) {
    const { inet, timeLimit, name, accept, untouched } = this;
    // each accepted connection inherits it
    if (inet) keepAlive(fd);
    return Bun.listen<Channel>({
      fd: duplicate(fd),
      allowHalfOpen: true,
      socket: {
        ...channelHandlers,
        open(socket: BunSocket): void {
          if (untouched) socket.pause();
          const channel = new Channel(name, timeLimit);
          bindChannel(channel, socket);
          try {
            accept(channel, inet ? endsOf((socket as unknown as { readonly fd: number }).fd) : undefined);
          } catch (failure) {
            logError(`accept connection: ${errorText(failure)}`);
            channel.destroy();
            throw failure;
          }
        },
      },
    } as unknown as Parameters<
      typeof Bun.listen<Channel>
    >[0]) as unknown as import("bun").TCPSocketListener<Channel>;
  }
}
