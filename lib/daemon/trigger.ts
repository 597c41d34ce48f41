/** The skeleton of daemons that are woken by one-way requests (ipc.md 2.6). */

import { verbose } from "../log/log.ts";
import { fromBytes } from "../sys/bytes.ts";
import { type Channel, ChannelTimeout } from "../sys/channel.ts";
import { errorText } from "../sys/errno.ts";
import { closeSync, readSync } from "../sys/fs.ts";
import { Lifetime } from "./lifetime.ts";
import { Listener } from "./listener.ts";
import type { Main } from "./program.ts";
import { type Service, type ServiceDefinition, startService } from "./service.ts";
import { FIRST_LISTENER } from "./status.ts";

const REQUEST_LIMIT = 1024;
const REQUEST_WAIT = 10;

export interface TriggerDefinition extends ServiceDefinition {
  /** Called with the bytes of each request; the client's connection is closed when it resolves. */
  readonly trigger: (request: string, service: Service) => void | Promise<void>;
  /** Runs once when the service begins to listen. */
  readonly start?: (service: Service) => void | Promise<void>;
}

/** Trigger clients wait for nothing but the close: plenty may be open. */
const CLIENT_LIMIT = 1000;

/** The main function of a trigger server. */
export const triggerServer =
  (definition: TriggerDefinition): Main =>
  async (invocation) => {
    const service = await startService(
      invocation,
      { clientLimit: CLIENT_LIMIT, descriptorsPerClient: 1, ...definition },
      ["unix", "fifo"],
    );
    if (service.standAlone) return serveStandardInput(definition, service);
    const lifetime = new Lifetime(service, definition);
    if (service.transport === "fifo") {
      await lifetime.begin({ start: () => undefined, stop: () => undefined });
      await definition.start?.(service);
      await readFifo(definition, service, lifetime);
      return;
    }
    const listener = new Listener(
      service.listeners,
      false,
      REQUEST_WAIT,
      `${service.name} socket`,
      (channel) => {
        if (!lifetime.admits()) {
          channel.destroy();
          return;
        }
        lifetime.enter();
        void serveTrigger(definition, channel, service).finally(() => lifetime.leave());
      },
    );
    await lifetime.begin(listener);
    await definition.start?.(service);
  };

/** Stand-alone (-S): one request, on standard input. */
async function serveStandardInput(definition: TriggerDefinition, service: Service): Promise<void> {
  const request = Buffer.alloc(REQUEST_LIMIT);
  const length = readSync(0, request);
  await definition.start?.(service);
  if (length > 0) await definition.trigger(fromBytes(request.subarray(0, length)), service);
  await definition.atExit?.();
  process.exit(0);
}

async function serveTrigger(
  definition: TriggerDefinition,
  channel: Channel,
  service: Service,
): Promise<void> {
  try {
    if (!(await channel.more())) return;
    const request = fromBytes(channel.peek().subarray(0, REQUEST_LIMIT));
    channel.consume(channel.buffered);
    await definition.trigger(request, service);
  } catch (error) {
    if (!(error instanceof ChannelTimeout)) throw error;
    verbose(() => errorText(error));
  } finally {
    channel.destroy();
  }
}

async function readFifo(definition: TriggerDefinition, service: Service, lifetime: Lifetime): Promise<void> {
  const stream = Bun.file(FIRST_LISTENER).stream() as unknown as AsyncIterable<Uint8Array>;
  for await (const chunk of stream) {
    if (!lifetime.admits()) break;
    lifetime.enter();
    await definition.trigger(fromBytes(chunk.subarray(0, REQUEST_LIMIT)), service);
    lifetime.leave();
  }
  closeSync(FIRST_LISTENER);
}
