/** What all deliveries of this process share. */
import { configuration } from "../../lib/config/configuration.ts";
import { isLoopback, parseInet } from "../../lib/config/inet.ts";
import type { OwnAddress } from "../../lib/config/interfaces.ts";
import type { Family } from "../../lib/dns/host_lookup.ts";
import { ClientAbort } from "../../lib/log/log.ts";
import { sessionRules } from "./connect.ts";
import { LEVEL_NUMBER } from "./labels.ts";
import { ownAddressTest } from "./servers.ts";
import { SessionCache, type SessionStore } from "./session_cache.ts";
import { type DeliveryFlags, type Mode, parseArguments, readSettings, type Settings } from "./settings.ts";
import { type AgentTables, openTables } from "./tables.ts";

export interface Agent {
  readonly settings: Settings;
  readonly tables: AgentTables;
  readonly flags: DeliveryFlags;
  /** Service name of master.cf. */
  readonly service: string;
  readonly isOwnAddress: (bytes: Uint8Array) => boolean;
  /** The source address for a family, when one is to be used. */
  readonly sourceAddress: (family: Family) => string | undefined;
  readonly sessions: SessionStore;
}

/** Reads parameters and opens tables; to be done outside the jail. */
export async function makeAgent(
  mode: Mode,
  service: string,
  words: ReadonlyArray<string>,
  /** Deliveries that this process makes at once. */
  clientLimit = 2,
): Promise<Agent> {
  const flags = parseArguments(words);
  const settings = readSettings(mode);
  const current = configuration();
  const own = current.ownAddresses();
  const tables = await openTables(settings);
  return {
    settings,
    flags,
    service,
    tables,
    isOwnAddress: ownAddressTest([...own, ...current.proxyAddresses()]),
    sourceAddress: sourceAddresses(settings, own),
    sessions: await sessionStore(settings, tables, clientLimit),
  };
}

/**
 * Master starts another process when this one has no room: while there is room, all deliveries of the service come here, and connections need not
 * leave the process. A process that has room for one delivery is one of many, which share their connections by scache(8).
 */
async function sessionStore(
  settings: Settings,
  tables: AgentTables,
  clientLimit: number,
): Promise<SessionStore> {
  if (clientLimit > 1) return new SessionCache();
  const { SharedSessions } = await import("./shared_sessions.ts");
  return new SharedSessions({
    rules: (peer) => sessionRules({ settings, tables }, peer),
    tlsLevel: LEVEL_NUMBER[settings.tlsLevel],
    lifetime: settings.get("connection_reuse_time_limit"),
  });
}

/** smtp_bind_address, or the one address that inet_interfaces names for a family. */
function sourceAddresses(settings: Settings, own: ReadonlyArray<OwnAddress>): Agent["sourceAddress"] {
  const choose = (suffix: "bind_address" | "bind_address6", size: number): (() => string | undefined) => {
    const configured = settings.get(suffix);
    const [only, ...others] = own.filter(({ bytes }) => bytes.length === size);
    const single =
      only !== undefined && others.length === 0 && !isLoopback(only.bytes) ? only.address : undefined;
    if (configured === "") return () => single;
    const address =
      configured.startsWith("[") && configured.endsWith("]") ? configured.slice(1, -1) : configured;
    const bytes = parseInet(address);
    if (bytes?.length === size) return () => address;
    const problem =
      bytes === undefined ? "Name or service not known" : "Address family for hostname not supported";
    return () => {
      throw new ClientAbort(
        `smtp_connect_addr: bad ${settings.name(suffix)} parameter: ${configured}: ${problem}`,
      );
    };
  };
  const sources = { ipv4: choose("bind_address", 4), ipv6: choose("bind_address6", 16) };
  return (family) => sources[family]();
}
