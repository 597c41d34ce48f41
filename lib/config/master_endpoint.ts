/** Where an inet service of master.cf listens. */
import { readDecimal } from "../sys/numbers.ts";
import { formatInet, isLoopback, parseInet } from "./inet.ts";
import { tcpPort } from "./ports.ts";
import type { Configuration } from "./settings.ts";

/** What is wrong with an entry. `located`: the text is preceded by the file and line. */
export class MasterCfProblem extends Error {
  readonly located: boolean;
  constructor(text: string, located = true) {
    super(text);
    this.located = located;
  }
}

export interface Listener {
  /** Numeric; `0.0.0.0` and `::` are all interfaces. */
  readonly address: string;
  readonly port: number;
}

/** The addresses of a host name, or of the number that it is. */
export type HostResolver = (host: string) => ReadonlyArray<Uint8Array>;

export interface InetEndpoint {
  readonly canonicalName: string;
  readonly listeners: ReadonlyArray<Listener>;
  readonly localOnly: boolean;
}

export function inetEndpoint(
  name: string,
  configuration: Configuration,
  knownPorts: ReadonlyMap<string, number>,
  resolve: HostResolver,
): InetEndpoint {
  const { host, port: portText } = splitHostPort(name);
  const port = knownPorts.get(portText) ?? tcpPort(portText, "");
  const shownPort = port === undefined ? portText : String(port);
  const addresses =
    host === "" ? wildcardAddresses(configuration) : usable(name, resolve(host), configuration.protocols());
  if (port === undefined) throw new MasterCfProblem(`${name}: Servname not supported for ai_socktype`, false);
  return {
    canonicalName: host === "" ? shownPort : `[${host}]:${shownPort}`,
    listeners: addresses.map((bytes) => ({ address: formatInet(bytes), port })),
    localOnly: addresses.every(isLoopback),
  };
}

const HOST = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?$/;

/** `[host:]port`, where the host may stand in brackets. */
function splitHostPort(name: string): { host: string; port: string } {
  if (name.startsWith("[")) {
    const close = name.indexOf("]");
    if (close < 0) throw new MasterCfProblem(`missing "]" in "${name}"`);
    const rest = name.slice(close + 1);
    if (rest !== "" && !rest.startsWith(":")) throw new MasterCfProblem(`garbage after "]" in "${name}"`);
    if (rest.length < 2) throw new MasterCfProblem(`missing service name in "${name}"`);
    return { host: checkedHost(name, name.slice(1, close).replace(/^ipv6:/i, "")), port: rest.slice(1) };
  }
  const colon = name.lastIndexOf(":");
  if (colon < 0) return { host: "", port: checkedPort(name, name) };
  const host = name.slice(0, colon);
  return { host: host === "" ? "" : checkedHost(name, host), port: checkedPort(name, name.slice(colon + 1)) };
}

function checkedHost(name: string, host: string): string {
  if (parseInet(host) !== undefined || HOST.test(host)) return host;
  throw new MasterCfProblem(`valid hostname or network address required in "${name}"`);
}

function checkedPort(name: string, port: string): string {
  if (port === "") throw new MasterCfProblem(`missing service name in "${name}"`);
  if (/^[0-9]+$/.test(port) && readDecimal(port, 65535) === undefined)
    throw new MasterCfProblem(`bad numerical port in "${name}"`);
  return port;
}

function usable(
  name: string,
  found: ReadonlyArray<Uint8Array>,
  { ipv4, ipv6 }: { readonly ipv4: boolean; readonly ipv6: boolean },
): Uint8Array[] {
  if (found.length === 0) throw new MasterCfProblem(`bad hostname or network address: ${name}`);
  const addresses = new Map<string, Uint8Array>();
  for (const bytes of found) if (bytes.length === 4 ? ipv4 : ipv6) addresses.set(formatInet(bytes), bytes);
  if (addresses.size === 0) throw new MasterCfProblem(`no valid IP address found: ${name}`);
  return [...addresses.values()];
}

function wildcardAddresses(configuration: Configuration): Uint8Array[] {
  const { ipv4, ipv6 } = configuration.protocols();
  if (configuration.get("inet_interfaces") === "all")
    return [...(ipv4 ? [new Uint8Array(4)] : []), ...(ipv6 ? [new Uint8Array(16)] : [])];
  const own = configuration.ownAddresses();
  if (own.length === 0)
    throw new MasterCfProblem(
      "service definition requires valid host name or address, or non-empty inet_interfaces setting",
    );
  return own.map(({ bytes }) => bytes);
}
