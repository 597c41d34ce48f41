/** Listeners of type "pass": each connection brings a client's descriptor and attributes about it (ipc.md 3.7). */
import { hash, message, receive } from "../ipc/attributes.ts";
import { warning } from "../log/log.ts";
import { Channel } from "../sys/channel.ts";
import { errorText } from "../sys/errno.ts";
import { duplicate } from "../sys/files.ts";
import { adoptSocket, bindChannel, channelHandlers, receiveDescriptor } from "../sys/sockets.ts";
import type { Intake } from "./lifetime.ts";
import type { Service } from "./service.ts";
import type { Client } from "./single.ts";
import { FIRST_LISTENER } from "./status.ts";

const PassAttributes = message("pass attributes", [hash("attributes")]);
const WAIT_SECONDS = 100;
const POLL_MILLISECONDS = 5;

type BunSocket = import("bun").Socket<Channel>;

/** The intake of a pass service. */
export function acceptPassed(service: Service, timeLimit: number, handle: (client: Client) => void): Intake {
  let server: import("bun").TCPSocketListener<Channel> | undefined;
  return {
    start(): void {
      server ??= Bun.listen<Channel>({
        fd: duplicate(FIRST_LISTENER),
        allowHalfOpen: true,
        socket: {
          ...channelHandlers,
          open(socket: BunSocket): void {
            // the descriptor must be taken by recvmsg() before anything else reads
            socket.pause();
            const passer = new Channel(`${service.name} socket`, WAIT_SECONDS);
            bindChannel(passer, socket);
            void receiveClient(socket, passer, timeLimit).then((client) => {
              passer.destroy();
              if (client !== undefined) handle(client);
            });
          },
        },
      } as unknown as Parameters<
        typeof Bun.listen<Channel>
      >[0]) as unknown as import("bun").TCPSocketListener<Channel>;
    },
    stop(): void {
      server?.stop(false);
      server = undefined;
    },
  };
}

async function receiveClient(
  socket: BunSocket,
  passer: Channel,
  timeLimit: number,
): Promise<Client | undefined> {
  const fd = await takeDescriptor(socket);
  if (fd === undefined) return undefined;
  const channel = await adoptSocket(fd, passer.name, timeLimit);
  socket.resume();
  passer.setDeadline(WAIT_SECONDS);
  const attributes = await receive(passer, PassAttributes);
  if (attributes.kind === "value") return { channel, attributes: attributes.value.attributes };
  if (attributes.kind === "end") return { channel, attributes: new Map() };
  warning("pass_accept_attr: cannot receive connection attributes");
  channel.destroy();
  return undefined;
}

async function takeDescriptor(socket: BunSocket): Promise<number | undefined> {
  const deadline = performance.now() + WAIT_SECONDS * 1000;
  const source = (socket as unknown as { fd: number }).fd;
  while (performance.now() < deadline) {
    try {
      const received = receiveDescriptor(source);
      if (typeof received === "number") return received;
      if (received === "end") break;
    } catch (error) {
      warning(`pass_accept_attr: cannot receive file descriptor: ${errorText(error)}`);
      return undefined;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  }
  warning("pass_accept_attr: timeout receiving file descriptor");
  return undefined;
}
