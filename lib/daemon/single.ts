/** The skeleton of daemons that serve each connection by itself (ipc.md 2.3): as many side by side as the client limit allows. */
import { parameter } from "../config/configuration.ts";
import { ClientAbort, logClientAbort, verbose } from "../log/log.ts";
import { type Channel, ChannelTimeout } from "../sys/channel.ts";
import { errorText, SysError } from "../sys/errno.ts";
import { isKept } from "../sys/kept_socket.ts";
import { endsOf, type PeerAddress } from "../sys/sockets.ts";
import { type Soon, when } from "../sys/when.ts";
import { takeFlowToken } from "./flow_control.ts";
import { KeptClient } from "./kept_client.ts";
import { Lifetime } from "./lifetime.ts";
import { Listener } from "./listener.ts";
import { acceptPassed } from "./pass.ts";
import type { Main } from "./program.ts";
import { type Service, type ServiceDefinition, startService } from "./service.ts";
import { standardChannel } from "./standard.ts";

export interface Client {
  readonly channel: Channel;
  /** Addresses of an inet client. */
  readonly peer?: PeerAddress;
  /** Attributes that came with a passed descriptor (type pass). */
  readonly attributes?: ReadonlyMap<string, string>;
  /** It will use its connection again, as far as the service allows that (`keeps`). */
  readonly kept?: KeptClient;
}

export interface SingleDefinition extends ServiceDefinition {
  /** Slows clients down when the queue manager cannot keep up (cleanup). */
  readonly flowControl?: boolean;
  /** Nothing is read from a client: its socket goes to a command as it is (spawn). */
  readonly untouched?: boolean;
  /** `serve` goes on with the next request of a client that is kept. */
  readonly keeps?: boolean;
  /** Serves one client to its end. The skeleton closes the channel afterwards. */
  readonly serve: (client: Client, service: Service) => Promise<void>;
}

/** The main function of a single server. */
export const singleServer =
  (definition: SingleDefinition): Main =>
  async (invocation) => {
    const service = await startService(invocation, definition, ["inet", "unix", "pass"]);
    if (service.standAlone) {
      // inetd gives a client's socket
      const peer = endsOf(0);
      const channel = standardChannel();
      const admit = (): Soon<void> => (definition.flowControl === true ? takeFlowToken() : undefined);
      await serveClient(definition, peer === undefined ? { channel } : { channel, peer }, service, admit);
      await definition.atExit?.();
      process.exit(0);
    }
    const lifetime = new Lifetime(service, definition);
    const admit = (): Soon<void> =>
      when(lifetime.ready(), () => (definition.flowControl === true ? takeFlowToken() : undefined));
    const handle = (client: Client): void => {
      const { channel } = client;
      if (!lifetime.admits()) {
        channel.destroy();
        return;
      }
      lifetime.enter();
      const keeps = definition.keeps === true && channel.fd !== undefined && isKept(channel.fd);
      if (!keeps) {
        void serveClient(definition, client, service, admit).finally(() => lifetime.leave());
        return;
      }
      const kept = new KeptClient(channel, lifetime, admit);
      void serveClient(definition, { ...client, kept }, service, admit).finally(() => kept.leave());
    };
    const timeLimit = parameter("ipc_timeout");
    const name = `${service.name} socket`;
    const intake =
      service.transport === "pass"
        ? acceptPassed(service, timeLimit, handle)
        : new Listener(
            service.listeners,
            service.transport === "inet",
            timeLimit,
            name,
            (channel, peer) => handle(peer === undefined ? { channel } : { channel, peer }),
            definition.untouched,
          );
    await lifetime.begin(intake);
  };

async function serveClient(
  definition: SingleDefinition,
  client: Client,
  service: Service,
  admit: () => Soon<void>,
): Promise<void> {
  try {
    const admitted = admit();
    if (admitted instanceof Promise) await admitted;
    await definition.serve(client, service);
    const closed = client.channel.close();
    if (closed instanceof Promise) await closed;
  } catch (error) {
    if (error instanceof ClientAbort) logClientAbort(error);
    else if (error instanceof ChannelTimeout || isPeerGone(error, client.channel))
      verbose(() => `${client.channel.name}: ${errorText(error)}`);
    else throw error;
  } finally {
    client.channel.destroy();
  }
}

/** The client went away: no news, and no reason for others to suffer. */
const isPeerGone = (error: unknown, channel: Channel): boolean =>
  error instanceof SysError && (error.call === "socket" || error.subject === channel.name);
