/** Servers that are not part of the mail system, named `transport:endpoint`: policy servers, before-queue filters, and their like. */
import { configuration } from "../config/configuration.ts";
import { warning } from "../log/log.ts";
import type { Channel } from "../sys/channel.ts";
import { errnoNumber, SysError } from "../sys/errno.ts";
import { connectInet, connectUnix } from "../sys/sockets.ts";
import { type Family, lookupNative } from "./host_lookup.ts";
import { tcpPort } from "./services.ts";

/** `name` is the text behind the transport: how log lines call the server. */
export type Endpoint =
  | { readonly kind: "inet"; readonly name: string; readonly host: string; readonly port: string }
  | { readonly kind: "unix"; readonly name: string };

const KINDS: ReadonlyMap<string, Endpoint["kind"]> = new Map([
  ["inet", "inet"],
  ["unix", "unix"],
  ["local", "unix"],
]);

/** Reads `inet:[host:]port`, `unix:path` or `local:path`; `fallback` is the transport of a text that names none. Undefined for another transport. */
export function parseEndpoint(text: string, fallback?: Endpoint["kind"]): Endpoint | undefined {
  const colon = text.indexOf(":");
  const word = colon < 0 ? "" : text.slice(0, colon);
  const named = KINDS.get(word);
  const kind = named ?? fallback;
  if (kind === undefined) return undefined;
  const name = named === undefined ? text : text.slice(colon + 1);
  if (kind === "unix") return { kind, name };
  const last = name.lastIndexOf(":");
  const host = last < 0 ? "" : name.slice(0, last);
  return {
    kind,
    name,
    host: host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host || "localhost",
    port: name.slice(last + 1),
  };
}

/** Connects, trying one address after the other; `seconds` bounds each attempt, and each read and write later. Throws SysError. */
export async function connectEndpoint(endpoint: Endpoint, seconds: number): Promise<Channel> {
  if (endpoint.kind === "unix") return connectUnix(endpoint.name, endpoint.name, seconds);
  const unreachable = new SysError("connect", errnoNumber("EADDRNOTAVAIL"), endpoint.name);
  const unknown = (text: string): SysError => {
    warning(`host or service ${endpoint.name} not found: ${text}`);
    return unreachable;
  };
  const port = tcpPort(endpoint.port);
  if (port.kind !== "port") throw unknown("Servname not supported for ai_socktype");
  const { ipv4, ipv6 } = configuration().protocols();
  const families: Family[] = [...(ipv4 ? ["ipv4" as const] : []), ...(ipv6 ? ["ipv6" as const] : [])];
  const found = await lookupNative(endpoint.host, families);
  if (found.status === "error") throw unknown(found.text);
  let failure = unreachable;
  for (const { address } of found.addresses) {
    try {
      const channel = await connectInet(address, port.port, endpoint.name, { seconds });
      channel.timeLimit = seconds;
      return channel;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      failure = error;
    }
  }
  throw failure;
}
