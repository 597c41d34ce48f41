/** The skeleton of daemons whose clients stay connected and send request after request (ipc.md 2.4). */
import { parameter } from "../config/configuration.ts";
import { type Message, send } from "../ipc/attributes.ts";
import { ClientAbort, logClientAbort, verbose } from "../log/log.ts";
import { type Channel, ChannelTimeout } from "../sys/channel.ts";
import { errorText, SysError } from "../sys/errno.ts";
import { Lifetime } from "./lifetime.ts";
import { Listener } from "./listener.ts";
import type { Main } from "./program.ts";
import { type Service, type ServiceDefinition, startService } from "./service.ts";

export interface MultiDefinition extends ServiceDefinition {
  /** Sent to each client at once. */
  readonly greeting?: Message<object>;
  /** Encoding of the greeting; "attr0" by default. */
  readonly encoding?: "attr0" | "plain";
  /** Reads one request and queues its reply (the skeleton flushes). False closes the connection after that. */
  readonly serve: (channel: Channel, service: Service) => Promise<boolean>;
  /** A client is gone. */
  readonly disconnected?: (channel: Channel) => void;
}

/** Clients of a multi server cost little: their number is bounded by descriptors, not by the client limit of single servers. */
const CLIENT_LIMIT = 5000;

/** The main function of a multi server. */
export const multiServer =
  (definition: MultiDefinition): Main =>
  async (invocation) => {
    const service = await startService(
      invocation,
      { clientLimit: CLIENT_LIMIT, descriptorsPerClient: 1, ...definition },
      ["unix", "inet"],
    );
    const limited = { ...service, maxUse: service.maxUse === 0 ? 0 : Math.max(1, service.maxUse) };
    const lifetime = new Lifetime(limited, definition);
    const listener = new Listener(
      service.listeners,
      service.transport === "inet",
      parameter("ipc_timeout"),
      `${service.name} socket`,
      (channel) => {
        if (!lifetime.admits()) {
          channel.destroy();
          return;
        }
        lifetime.enter();
        void serveConnection(definition, channel, service, lifetime).finally(() => lifetime.leave());
      },
    );
    await lifetime.begin(listener);
  };

async function serveConnection(
  definition: MultiDefinition,
  channel: Channel,
  service: Service,
  lifetime: Lifetime,
): Promise<void> {
  try {
    if (definition.greeting !== undefined) send(channel, definition.greeting, {}, definition.encoding);
    await channel.flush();
    // an idle client of a process that wants to end is let go: it connects again when it needs to (ipc.md 3.5)
    while (await nextRequest(channel, lifetime)) {
      const goOn = await definition.serve(channel, service);
      await channel.flush();
      if (!goOn) break;
    }
  } catch (error) {
    if (error instanceof ClientAbort) logClientAbort(error);
    else if (
      error instanceof ChannelTimeout ||
      (error instanceof SysError && ["socket", "write"].includes(error.call))
    )
      verbose(() => `${channel.name}: ${errorText(error)}`);
    else throw error;
  } finally {
    definition.disconnected?.(channel);
    channel.destroy();
  }
}

async function nextRequest(channel: Channel, lifetime: Lifetime): Promise<boolean> {
  if (channel.buffered > 0) return true;
  if (lifetime.ending) return false;
  return channel.more();
}
