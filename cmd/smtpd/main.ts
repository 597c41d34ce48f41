/**
 * smtpd(8): the SMTP server. Each client is a session that reads commands, decides by access control, and hands accepted mail
 * to cleanup(8); many sessions share a process.
 *
 * A session's story is in dialogue.ts; verbs/ has one file per command, access/ the restrictions.
 */
import { configuration, parameter } from "../../lib/config/configuration.ts";
import type { Service } from "../../lib/daemon/service.ts";
import { type Client as Accepted, singleServer } from "../../lib/daemon/single.ts";
import { lookupHostName } from "../../lib/dns/client_name.ts";
import { normalAddress } from "../../lib/dns/hosts_file.ts";
import { ClientAbort } from "../../lib/log/log.ts";
import { localZone } from "../../lib/message/zone.ts";
import { effectiveUid, lookupUser } from "../../lib/sys/identity.ts";
import { type Soon, when } from "../../lib/sys/when.ts";
import { changedTable, refreshTables } from "../../lib/tables/open.ts";
import {
  AF_INET,
  AF_INET6,
  type Client,
  localClient,
  plainAddress,
  UNKNOWN,
  unknownClient,
} from "./client.ts";
import { converse } from "./dialogue.ts";
import { mailSystem } from "./mail_system.ts";
import { openPolicy, type Policy } from "./policy.ts";
import type { SessionServices } from "./services.ts";
import { Session } from "./session.ts";
import { words } from "./settings.ts";
import { refuseUnsupported } from "./unsupported.ts";
import { readUpstream, type Upstream } from "./upstream.ts";

interface Server {
  readonly policy: Policy;
  readonly services: SessionServices;
  /** Run by an ordinary user (sendmail -bs). */
  readonly standAlone: boolean;
}

let server: Server | undefined;

export const main = singleServer({
  profile: () => ({ files: spoolsForFilter() ? "write" : "read", internet: true }),
  async preJail(service) {
    refuseUnsupported();
    localZone();
    const standAlone = service.standAlone && !isOwner();
    const policy = await openPolicy(standAlone);
    server = { policy, services: mailSystem(standAlone, policy.dnsReplyFilter), standAlone };
  },
  changedTable,
  refreshTables,
  serve(accepted, service) {
    if (server === undefined) throw new ClientAbort("client before start-up");
    return serve(accepted, service, server);
  },
});

/** Messages wait in a file for the filter before the queue. */
const spoolsForFilter = (): boolean =>
  parameter("smtpd_proxy_filter") !== "" && words(parameter("smtpd_proxy_options")).includes("speed_adjust");

/** Stand-alone, the mail system's owner gets the daemon's treatment. Everybody else is a user who submits mail, root too. */
const isOwner = (): boolean => effectiveUid() === lookupUser(parameter("mail_owner"))?.uid;

async function serve(
  accepted: Accepted,
  service: Service,
  { policy, services, standAlone }: Server,
): Promise<void> {
  const upstream = upstreamOf(accepted, service, policy);
  const known = upstream instanceof Promise ? await upstream : upstream;
  const identified = known.kind === "failed" ? unknownClient : identify(accepted, policy, known);
  const session = new Session(accepted.channel, policy, services, {
    client: identified instanceof Promise ? await identified : identified,
    service: service.name,
    standAlone,
    piped: service.standAlone,
    failed: known.kind === "failed",
    screened: service.transport === "pass",
  });
  await converse(session);
}

/** What stands before us and speaks for the client. */
function upstreamOf({ channel, peer }: Accepted, service: Service, { settings }: Policy): Soon<Upstream> {
  if (settings.upstreamProtocol === "" || service.standAlone || peer === undefined) return { kind: "local" };
  return readUpstream(channel, settings.upstreamTimeout);
}

/** Who the client is: by its socket, or by what postscreen(8) says. */
function identify(
  { peer, attributes }: Accepted,
  policy: Policy,
  upstream: Exclude<Upstream, { kind: "failed" }>,
): Soon<Client> {
  const proxied = upstream.kind === "proxied" ? upstream.connection : undefined;
  const address = proxied?.clientAddress ?? attributes?.get("client_address") ?? peer?.remoteAddress;
  const protocols = configuration().protocols();
  if (address === undefined) return localClient(!protocols.ipv4);
  // it hung up before we could ask; what it sent can still be read
  if (address === "") return unknownClient;
  const normal = normalForm(address);
  const plain = protocols.ipv4 ? plainAddress(normal) : normal;
  const server = proxied?.serverAddress ?? attributes?.get("server_address") ?? peer?.localAddress ?? UNKNOWN;
  const where = {
    address: plain,
    port: proxied?.clientPort ?? attributes?.get("client_port") ?? String(peer?.remotePort ?? 0),
    family: plain.includes(":") ? AF_INET6 : AF_INET,
    serverAddress: plainAddress(normalForm(server)),
    serverPort: proxied?.serverPort ?? attributes?.get("server_port") ?? String(peer?.localPort ?? 0),
  };
  if (where.family === AF_INET6 ? !protocols.ipv6 : !protocols.ipv4)
    throw new ClientAbort(
      `cannot handle socket type AF_INET${where.family === AF_INET6 ? "6" : ""} with "inet_protocols = ${parameter("inet_protocols")}"`,
    );
  if (!policy.settings.peernameLookup)
    return {
      ...where,
      name: UNKNOWN,
      nameStatus: "permanent",
      reverseName: UNKNOWN,
      reverseStatus: "permanent",
    };
  return when(
    lookupHostName(plain),
    ({ name, nameStatus, reverseName, reverseStatus }): Client => ({
      name,
      nameStatus,
      reverseName,
      reverseStatus,
      address: where.address,
      port: where.port,
      family: where.family,
      serverAddress: where.serverAddress,
      serverPort: where.serverPort,
    }),
  );
}

/** The address as it is always written; IPv4 in a socket's name is. */
const normalForm = (address: string): string =>
  address.includes(":") ? (normalAddress(address) ?? address) : address;
