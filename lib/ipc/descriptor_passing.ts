/** A descriptor in the middle of a conversation, with the "dummy" handshake around it (ipc.md 3.7). */
import type { Channel } from "../sys/channel.ts";
import { ChannelTimeout } from "../sys/channel.ts";
import { errnoNumber, SysError } from "../sys/errno.ts";
import { receiveDescriptor, sendDescriptor } from "../sys/sockets.ts";
import { receive, send } from "./attributes.ts";
import { Dummy } from "./protocols/scache.ts";

/** Whether the receiver says that it has the descriptor. */
export interface Handshake {
  readonly acknowledged: boolean;
}

const PATIENT_MILLISECONDS = 3;

/** Sends a descriptor when the peer is ready for it; it stays open here. False when the peer said something else. */
export async function passDescriptor(channel: Channel, fd: number, handshake: Handshake): Promise<boolean> {
  await channel.flush();
  const ready = await receive(channel, Dummy);
  const socket = channel.fd;
  if (ready.kind !== "value" || socket === undefined) return false;
  sendDescriptor(socket, fd);
  return !handshake.acknowledged || (await receive(channel, Dummy)).kind === "value";
}

/**
 * Receives a descriptor, which the caller owns then. Nothing else may be under way on the channel: its input is left to recvmsg() from before the
 * peer is asked until the descriptor is here. Undefined when the peer is gone or sent none.
 */
export async function takeDescriptor(channel: Channel, handshake: Handshake): Promise<number | undefined> {
  channel.pause();
  let fd: number | undefined;
  try {
    send(channel, Dummy, {});
    await channel.flush();
    fd = await waitForDescriptor(channel);
  } finally {
    channel.resume();
  }
  if (fd !== undefined && handshake.acknowledged) {
    send(channel, Dummy, {});
    channel.push();
  }
  return fd;
}

async function waitForDescriptor(channel: Channel): Promise<number | undefined> {
  const start = performance.now();
  const limit = channel.timeLimit > 0 ? channel.timeLimit * 1000 : Number.POSITIVE_INFINITY;
  for (;;) {
    const socket = channel.fd;
    if (channel.closed || socket === undefined)
      throw new SysError("recvmsg", errnoNumber("ECONNRESET"), channel.name);
    const received = receiveDescriptor(socket);
    if (received === "end") return undefined;
    if (received !== "wait") return received;
    const waited = performance.now() - start;
    if (waited > limit) throw new ChannelTimeout(channel.name);
    // the answer takes some microseconds; a peer that is slower does not cost us the processor
    await new Promise<void>((resolve) => {
      if (waited < PATIENT_MILLISECONDS) setImmediate(resolve);
      else setTimeout(resolve, 1);
    });
  }
}
