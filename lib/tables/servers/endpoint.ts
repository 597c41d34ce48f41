/** Where the server of a table listens, and connections to it. */
import { configuration } from "../../config/configuration.ts";
import { type Family, lookupNative } from "../../dns/host_lookup.ts";
import { type Port, tcpPort } from "../../dns/services.ts";
import { fatal, warning } from "../../log/log.ts";
import type { Channel } from "../../sys/channel.ts";
import { errnoNumber, errorText, SysError } from "../../sys/errno.ts";
import { connectInet, connectUnix } from "../../sys/sockets.ts";

export type Endpoint =
  | { readonly kind: "unix"; readonly path: string }
  /** `text`: as it was written, for messages. */
  | { readonly kind: "inet"; readonly host: string; readonly service: string; readonly text: string };

const HOST_PORT = /^(?:\[([^\]]+)\]|([^[\]]*)):([^:[\]]+)$/;

/** `host:port` or `[host]:port`, or a port alone; anything else is fatal. */
export function parseHostPort(text: string): Endpoint {
  const match = HOST_PORT.exec(text);
  if (match !== null)
    return { kind: "inet", host: match[1] ?? (match[2] || "localhost"), service: match[3] ?? "", text };
  if (/^[^:[\]]+:$/.test(text)) fatal(`${text}: missing service information`);
  if (/^[0-9]+[^0-9]/.test(text)) fatal(`${text}: garbage after numerical service`);
  if (text === "" || /[:[\]]/.test(text)) fatal(`valid hostname or network address required in "${text}"`);
  return { kind: "inet", host: "localhost", service: text, text };
}

/** `inet:host:port`, `unix:path` or `local:path`; anything else is fatal. */
export function parseEndpoint(text: string): Endpoint {
  const colon = text.indexOf(":");
  const rest = text.slice(colon + 1);
  if (colon <= 0 || rest === "") return fatal(`need service transport:endpoint instead of "${text}"`);
  switch (text.slice(0, colon)) {
    case "unix":
    case "local":
      return { kind: "unix", path: rest };
    case "inet":
      return parseHostPort(rest);
    default:
      return fatal(`invalid transport name: ${text.slice(0, colon)} in service: ${text}`);
  }
}

/** The endpoint as it stands in messages, without the transport. */
const DIGITS = /^[0-9]{1,20}$/;

export const endpointName = (endpoint: Endpoint): string =>
  endpoint.kind === "unix" ? endpoint.path : endpoint.text;

/** The numeric addresses of a host, as getaddrinfo() gives them. */
export async function addressesOf(
  host: string,
): Promise<{ readonly addresses: ReadonlyArray<string> } | { readonly problem: string }> {
  const { ipv4, ipv6 } = configuration().protocols();
  const families: Family[] = [...(ipv4 ? ["ipv4" as const] : []), ...(ipv6 ? ["ipv6" as const] : [])];
  const found = await lookupNative(host, families);
  if (found.status === "error") return { problem: found.text };
  return { addresses: found.addresses.map(({ address }) => address) };
}

/**
 * Connects, to each address of the host in turn. `seconds` limits each attempt, and later each read and write. A host or service that is not
 * found is logged. Throws SysError.
 */
export async function connectEndpoint(endpoint: Endpoint, name: string, seconds: number): Promise<Channel> {
  if (endpoint.kind === "unix") return await connectUnix(endpoint.path, name, seconds);
  const { host, service } = endpoint;
  const missing = (reason: string): never => {
    warning(`host or service ${endpoint.text} not found: ${reason}`);
    throw new SysError("connect", errnoNumber("EADDRNOTAVAIL"), name);
  };
  // getaddrinfo() takes any number, of which the low 16 bits are the port
  const port: Port = DIGITS.test(service)
    ? { kind: "port", port: Number(BigInt(service) & 0xffffn) }
    : tcpPort(service);
  if (port.kind !== "port") return missing("Servname not supported for ai_socktype");
  const found = await addressesOf(host);
  if ("problem" in found) return missing(found.problem);
  let failure: unknown;
  for (const address of found.addresses) {
    try {
      const channel = await connectInet(address, port.port, name, { seconds });
      channel.timeLimit = seconds;
      return channel;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      failure = error;
    }
  }
  throw failure ?? new SysError("connect", errnoNumber("EADDRNOTAVAIL"), name);
}

/** The same for a table that keeps a client: the failure is logged. */
export async function connectLogged(endpoint: Endpoint, name: string, seconds: number): Promise<Channel> {
  try {
    return await connectEndpoint(endpoint, name, seconds);
  } catch (failure) {
    warning(`connect to ${endpointName(endpoint)}: ${errorText(failure)}`);
    throw failure;
  }
}
