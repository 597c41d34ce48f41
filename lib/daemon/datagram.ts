/** The skeleton of daemons that take datagrams from a unix socket (ipc.md 2.7). */
import { duplicate } from "../sys/files.ts";
import { Lifetime } from "./lifetime.ts";
import type { Main } from "./program.ts";
import { type ServiceDefinition, startService } from "./service.ts";
import { FIRST_LISTENER } from "./status.ts";

export interface DatagramDefinition extends ServiceDefinition {
  /** Longest datagram that is used; the rest of a longer one is dropped. */
  readonly sizeLimit: number;
  readonly receive: (datagram: Uint8Array) => void;
}

/** The main function of a datagram server. */
export const datagramServer =
  (definition: DatagramDefinition): Main =>
  async (invocation) => {
    const service = await startService(invocation, definition, ["unix-dgram"]);
    const lifetime = new Lifetime({ ...service, clientLimit: 1000 }, definition);
    const take = (datagram: Uint8Array): void => {
      if (!lifetime.admits()) return;
      lifetime.enter();
      definition.receive(datagram.subarray(0, definition.sizeLimit));
      lifetime.leave();
    };
    await lifetime.begin({ start: () => undefined, stop: () => undefined });
    await listen(take);
  };

/**
 * Bun reads an adopted datagram socket one datagram per callback. An empty datagram looks like the end of a stream to it: the
 * socket is then adopted again.
 */
async function listen(take: (datagram: Uint8Array) => void): Promise<void> {
  await Bun.connect({
    fd: duplicate(FIRST_LISTENER),
    allowHalfOpen: true,
    socket: {
      binaryType: "buffer",
      data(_socket: unknown, datagram: Buffer): void {
        take(datagram);
      },
      end(socket: { terminate(): void }): void {
        socket.terminate();
      },
      close(): void {
        void listen(take);
      },
    },
  } as unknown as Parameters<typeof Bun.connect>[0]);
}
