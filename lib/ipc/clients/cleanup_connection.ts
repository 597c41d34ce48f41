/** A connection to cleanup(8) for one message (ipc.md 5.1): a fresh one, or one that had a message before. */
import { parameter } from "../../config/configuration.ts";
import { type Channel, ChannelTimeout } from "../../sys/channel.ts";
import { SysError } from "../../sys/errno.ts";
import { type Soon, when } from "../../sys/when.ts";
import { receive, send } from "../attributes.ts";
import { connectNamed, type connectService, connectWaiting } from "../client.ts";
import { KeptChannels } from "../kept_channels.ts";
import { CleanupAgain, CleanupGreeting } from "../protocols/cleanup.ts";

export interface CleanupConnection {
  readonly channel: Channel;
  /** Of the queue file that cleanup has made. */
  readonly queueId: string;
  /** Cleanup has given its answer, and the connection is free. */
  release(): void;
}

const kept = new KeptChannels();

/**
 * Connects, waiting for cleanup as long as it takes. Undefined when it does not greet (said so). `connectAnew`: another way to connect to it when that
 * does not work at once.
 */
export async function connectCleanup(
  connectAnew: typeof connectService = connectWaiting,
): Promise<CleanupConnection | undefined> {
  for (let channel = kept.take(); channel !== undefined; channel = kept.take()) {
    // cleanup may have closed it
    if (await asksAgain(channel)) return greeted(channel, true);
    channel.destroy();
  }
  const service = parameter("cleanup_service_name");
  const timeLimit = parameter("ipc_timeout");
  const toKeep = await connectNamed("public", service, timeLimit);
  return greeted(toKeep ?? (await connectAnew("public", service, timeLimit)), toKeep !== undefined);
}

const greeted = (channel: Channel, keep: boolean): Soon<CleanupConnection | undefined> =>
  when(receive(channel, CleanupGreeting), (greeting) => {
    if (greeting.kind !== "value") {
      channel.destroy();
      return undefined;
    }
    const release = (): void => {
      if (keep) kept.put(channel);
      else channel.destroy();
    };
    return { channel, queueId: greeting.value.queueId, release };
  });

/** Asks for another message on a connection; whether there is an answer. */
async function asksAgain(channel: Channel): Promise<boolean> {
  try {
    send(channel, CleanupAgain, {});
    const flushed = channel.flush();
    if (flushed instanceof Promise) await flushed;
    return await channel.more();
  } catch (error) {
    if (!(error instanceof SysError || error instanceof ChannelTimeout)) throw error;
    return false;
  }
}
