/** Next-hop destinations: `host`, `host:service`, `[host]`, `[host]:service`, `[ipv6:address]:service` (transport(5), relayhost). */
import { isAddress, isValidUtf8Hostname } from "../../lib/address/hostname.ts";
import { domainToAscii } from "../../lib/config/domain_functions.ts";
import { tcpPort } from "../../lib/dns/services.ts";
import { ClientAbort, warning } from "../../lib/log/log.ts";
import { lowerAscii, splitAny } from "../../lib/sys/bytes.ts";

export interface Destination {
  /** As written. */
  readonly text: string;
  readonly host: string;
  readonly service: string;
  readonly port: number;
  /** Brackets: no MX lookup. */
  readonly literal: boolean;
  /** From smtp_fallback_relay. */
  readonly fallback: boolean;
}

type HostPort =
  | { readonly kind: "ok"; readonly host: string; readonly service: string; readonly literal: boolean }
  | { readonly kind: "bad"; readonly message: string };

const bad = (message: string): HostPort => ({ kind: "bad", message });

/** Splits host and service. */
export function splitHostPort(text: string, defaultService: string): HostPort {
  let host: string;
  let rest: string;
  const literal = text.startsWith("[");
  if (literal) {
    const close = text.indexOf("]");
    if (close < 0) return bad('missing "]"');
    host = text.slice(1, close);
    rest = text.slice(close + 1);
    if (rest !== "" && !rest.startsWith(":")) return bad('garbage after "]"');
    if (lowerAscii(host.slice(0, 5)) === "ipv6:") host = host.slice(5);
  } else {
    const colon = text.lastIndexOf(":");
    // An IPv6 address without brackets is a host by itself.
    const bare = text.indexOf(":") < colon && isAddress(text);
    host = colon < 0 || bare ? text : text.slice(0, colon);
    rest = colon < 0 || bare ? "" : text.slice(colon);
  }
  if (host === "") return bad("missing host name");
  const service = rest === "" ? defaultService : rest.slice(1);
  if (service === "") return bad("missing service name");
  if (!isAddress(host) && !isValidUtf8Hostname(host)) {
    const ascii = domainToAscii(host);
    if (!ascii.ok) warning(ascii.problem);
    return bad("valid hostname or network address required");
  }
  return { kind: "ok", host, service, literal };
}

/** Parses one destination; what is wrong with it ends the delivery as in Postfix. */
export function parseDestination(text: string, defaultService: string, fallback: boolean): Destination {
  const parts = splitHostPort(text, defaultService);
  if (parts.kind === "bad") throw new ClientAbort(`${parts.message} in server description: ${text}`);
  const port = tcpPort(parts.service);
  switch (port.kind) {
    case "bad":
      throw new ClientAbort(`bad network port: ${parts.service} for destination: ${text}`);
    case "unknown":
      throw new ClientAbort(`unknown service: ${parts.service}/tcp`);
    case "port":
      return {
        text,
        host: parts.host,
        service: parts.service,
        port: port.port,
        literal: parts.literal,
        fallback,
      };
  }
}

/** The destinations of a next hop, those of the fallback list behind them. */
export function destinationList(
  nexthop: string,
  fallbackRelays: string,
): ReadonlyArray<{ text: string; fallback: boolean }> {
  const words = (value: string, fallback: boolean) =>
    splitAny(value, ", \t\r\n").map((text) => ({ text, fallback }));
  return [...words(nexthop, false), ...words(fallbackRelays, true)];
}
