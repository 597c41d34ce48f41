/** Making connections to servers, or taking kept ones. */
import { type Dsn, dsn } from "../../lib/delivery/status.ts";
import { info, warning } from "../../lib/log/log.ts";
import {
  LocalDataError,
  nameAddressPort,
  type Peer,
  type SessionRules,
  SmtpSession,
} from "../../lib/smtp/client_session.ts";
import { printable } from "../../lib/sys/bytes.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { errorText, SysError } from "../../lib/sys/errno.ts";
import { connectInet, connectUnix, UNIX_PATH_LIMIT } from "../../lib/sys/sockets.ts";
import type { Agent } from "./agent.ts";
import { keepsTranscript } from "./notice.ts";
import type { Server } from "./servers.ts";

export type Connection =
  | { readonly kind: "session"; readonly session: SmtpSession }
  | { readonly kind: "failure"; readonly status: Dsn };

/** How replies are read on all sessions of an agent. */
export async function sessionRules(
  agent: Pick<Agent, "settings" | "tables">,
  peer: Peer,
  /** Host of the destination, when the connection is made for one. */
  destination?: string,
): Promise<SessionRules> {
  const { settings, tables } = agent;
  const { replyFilter } = tables;
  const level = tables.debugPeers.level(peer.host, peer.address, destination);
  return {
    lineLimit: settings.lineLimit,
    utf8: settings.utf8,
    transcript: keepsTranscript(settings),
    debugLevel: level instanceof Promise ? await level : level,
    filter: replyFilter.empty
      ? undefined
      : async (line, session) => {
          for (const table of replyFilter.tables) {
            const result = await table.lookup(line);
            if (result.kind === "error") {
              warning(`${session.queueId}: table ${table.name} lookup error for ${line}`);
              throw new LocalDataError(settings.name("reply_filter"));
            }
            if (result.kind === "absent") continue;
            const replaced = printable(result.value, settings.utf8);
            info(`${nameAddressPort(session.peer)}: replacing server reply "${line}" with "${replaced}"`);
            return replaced;
          }
          return line;
        },
  };
}

const unreachable = (peer: Peer, error: SysError): Dsn =>
  dsn("4.4.1", `connect to ${nameAddressPort(peer)}: ${errorText(error)}`);

/** One server of several may be skipped, so each is logged. */
const failure = (peer: Peer, error: SysError): Connection => {
  const status = unreachable(peer, error);
  info(status.reason);
  return { kind: "failure", status };
};

/** Connects to a server by TCP. */
export async function connectServer(agent: Agent, server: Server, destination: string): Promise<Connection> {
  const peer: Peer = { host: server.host, address: server.address, port: server.port };
  const source = agent.sourceAddress(server.family);
  const open = (localAddress: string | undefined): Promise<Channel> =>
    connectInet(server.address, server.port, nameAddressPort(peer), {
      seconds: agent.settings.limits.connect,
      windowSize: agent.settings.windowSize,
      ...(localAddress === undefined ? {} : { localAddress }),
    });
  try {
    return {
      kind: "session",
      session: new SmtpSession(await open(source), peer, await sessionRules(agent, peer, destination)),
    };
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    if (error.call !== "bind" || source === undefined) return failure(peer, error);
    warning(`smtp_connect_addr: bind ${source}: ${errorText(error)}`);
    if (agent.settings.get("bind_address_enforce")) {
      const reason = "server configuration error";
      info(reason);
      return { kind: "failure", status: dsn("4.4.0", reason) };
    }
  }
  try {
    return {
      kind: "session",
      session: new SmtpSession(await open(undefined), peer, await sessionRules(agent, peer, destination)),
    };
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return failure(peer, error);
  }
}

/** Connects to an LMTP server by a unix-domain socket. */
export async function connectPath(agent: Agent, path: string): Promise<Connection> {
  const peer: Peer = { host: agent.settings.myhostname, address: path, port: undefined };
  if (path.length > UNIX_PATH_LIMIT) {
    warning(`unix-domain name too long: ${path}`);
    return { kind: "failure", status: dsn("4.3.5", "Server configuration error") };
  }
  try {
    const channel = await connectUnix(path, nameAddressPort(peer));
    return { kind: "session", session: new SmtpSession(channel, peer, await sessionRules(agent, peer)) };
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return { kind: "failure", status: unreachable(peer, error) };
  }
}
