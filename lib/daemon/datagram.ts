/** The skeleton of daemons that take datagrams from a unix socket (ipc.md 2.7). */
import { duplicate } from "../sys/files.ts";
import { DatagramReader, sleepMicroseconds } from "../sys/sockets.ts";
import { Lifetime } from "./lifetime.ts";
import type { Main } from "./program.ts";
import { type ServiceDefinition, startService } from "./service.ts";
import { FIRST_LISTENER } from "./status.ts";

export interface DatagramDefinition extends ServiceDefinition {
  /** Longest datagram that is used; the rest of a longer one is dropped. */
  readonly sizeLimit: number;
  /** Takes a datagram; its memory is used again afterwards. */
  readonly receive: (datagram: Uint8Array) => void;
  /** What had come for the moment was given to `receive`. */
  readonly flush?: () => void;
}

/** Datagrams that are read with one system call. */
const BATCH = 32;
/**
 * After a datagram there are often more at once. While this process sleeps for so long, instead of waiting for the next one, senders need not
 * wake it up, and what they send is taken together.
 */
const REST_MICROSECONDS = 500;
/** Senders may be waiting: the kernel lets no more than ten datagrams queue up. */
const FULL = 8;
/** What has come is passed on after so many reads: a few milliseconds. */
const FLUSH_ROUNDS = 8;
/** The event loop turns after so many reads, in a flood too. */
const ROUNDS = 64;

/** The main function of a datagram server. */
export const datagramServer =
  (definition: DatagramDefinition): Main =>
  async (invocation) => {
    const service = await startService(invocation, definition, ["unix-dgram"]);
    const lifetime = new Lifetime({ ...service, clientLimit: 1000 }, definition);
    const reader = new DatagramReader(FIRST_LISTENER, definition.sizeLimit, BATCH);
    const take = (datagram: Uint8Array): void => {
      // one that is here is taken even at the end: nobody else has it
      lifetime.enter();
      definition.receive(datagram.subarray(0, definition.sizeLimit));
      let count = reader.read(definition.receive);
      for (let round = 1; round <= ROUNDS; round++) {
        if (round % FLUSH_ROUNDS === 1) definition.flush?.();
        if (count < FULL) sleepMicroseconds(REST_MICROSECONDS);
        count = reader.read(definition.receive);
        if (count === 0) break;
      }
      definition.flush?.();
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
