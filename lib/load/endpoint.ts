/** The places that the load generators connect to and listen at: `[inet:][host][:port]` or `unix:path`. */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { tcpPort } from "../config/ports.ts";
import { fatal } from "../log/log.ts";

export type Endpoint =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "inet"; readonly host: string; readonly port: number };

/** What is given may be a host alone, with this port; without, a port alone. */
export interface EndpointRules {
  readonly defaultPort?: string;
}

export function parseEndpoint(text: string, { defaultPort }: EndpointRules): Endpoint {
  if (text.startsWith("unix:")) return { kind: "unix", path: text.slice(5) };
  const place = text.startsWith("inet:") ? text.slice(5) : text;
  const { host, port } = splitPlace(place, text, defaultPort);
  if (/^\d+\D/.test(port)) fatal(`${text}: garbage after numerical service`);
  const number = tcpPort(port, "smtp=25");
  if (number === undefined) return fatal(`${text}: Servname not supported for ai_socktype`);
  return { kind: "inet", host, port: number };
}

function splitPlace(
  place: string,
  text: string,
  defaultPort: string | undefined,
): { readonly host: string; readonly port: string } {
  if (place.startsWith("[")) {
    const end = place.indexOf("]");
    if (end < 0) fatal(`${text}: missing "]"`);
    const rest = place.slice(end + 1);
    if (rest !== "" && !rest.startsWith(":")) fatal(`${text}: garbage after "]"`);
    const port = rest === "" ? defaultPort : rest.slice(1);
    return { host: place.slice(1, end), port: port ?? fatal(`${text}: missing service name`) };
  }
  const colon = place.lastIndexOf(":");
  if (colon >= 0) return { host: place.slice(0, colon), port: place.slice(colon + 1) };
  return defaultPort === undefined ? { host: "", port: place } : { host: place, port: defaultPort };
}

export type Family = 0 | 4 | 6;

/** The addresses of a host, in the system's order. */
export async function addressesOf(text: string, host: string, family: Family): Promise<string[]> {
  const literal = isIP(host);
  if (literal !== 0) {
    if (family !== 0 && family !== literal) fatal(`${text}: Address family for hostname not supported`);
    return [host];
  }
  try {
    const found = await lookup(host, { all: true, family });
    return found.map(({ address }) => address);
  } catch {
    // what getaddrinfo() says when there is no such name, or nobody to ask
    return fatal(`${text}: Name or service not known`);
  }
}
