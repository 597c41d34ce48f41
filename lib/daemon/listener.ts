/** Takes clients from the inherited listening sockets, one by one and no more than wanted. */
import { error as logError } from "../log/log.ts";
import { Channel } from "../sys/channel.ts";
import { errorText } from "../sys/errno.ts";
import { duplicate } from "../sys/files.ts";
import { bindChannel, channelHandlers, endsOf, keepAlive, type PeerAddress } from "../sys/sockets.ts";
import type { Intake } from "./lifetime.ts";
import { FIRST_LISTENER } from "./status.ts";

type BunSocket = import("bun").Socket<Channel>;

/**
 * Listens on descriptors 6, 7, ... `accept` is called for each client; stop() takes effect at once, also within `accept`
 * (Bun's accept loop ends when its listener is closed).
 */
export class Listener implements Intake {
  #servers: Array<import("bun").TCPSocketListener<Channel>> = [];

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
    if (this.#servers.length > 0) return;
    for (let index = 0; index < this.count; index++) this.#servers.push(this.#listen(FIRST_LISTENER + index));
  }

  stop(): void {
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
