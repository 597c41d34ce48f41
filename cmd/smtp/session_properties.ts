/** What scache(8) keeps of a session for whoever continues it: text of `name=value` lines, ended by an empty one (delivery.md 12.2). */
import type { Features, Keyword, XforwardAttribute } from "../../lib/smtp/client_features.ts";
import { readDecimal } from "../../lib/sys/numbers.ts";

const ESMTP = 1 << 0;
const KEYWORD_BITS: ReadonlyArray<readonly [Keyword, number]> = [
  ["8BITMIME", 1 << 1],
  ["PIPELINING", 1 << 2],
  ["SIZE", 1 << 3],
  ["STARTTLS", 1 << 4],
  ["AUTH", 1 << 5],
  ["DSN", 1 << 15],
  ["SMTPUTF8", 1 << 21],
  ["REQUIRETLS", 1 << 23],
];
const XFORWARD_BITS: ReadonlyArray<readonly [XforwardAttribute, number]> = [
  ["NAME", 1 << 7],
  ["ADDR", 1 << 8],
  ["PROTO", 1 << 9],
  ["HELO", 1 << 10],
  ["SOURCE", 1 << 11],
  ["PORT", 1 << 18],
  ["IDENT", 1 << 20],
];
/** The server is one of the best of its destination: said of the destination, not of the endpoint. */
const BEST_SERVER = 1 << 12;

export function featureBits(features: Features): number {
  let bits = features.esmtp ? ESMTP : 0;
  for (const [keyword, bit] of KEYWORD_BITS) if (features.keywords.has(keyword)) bits |= bit;
  for (const [attribute, bit] of XFORWARD_BITS) if (features.xforward.has(attribute)) bits |= bit;
  return bits;
}

/** The features of a continued session; the size limit is not known any more. */
export function featuresOf(bits: number): Features {
  const keywords = new Set(KEYWORD_BITS.filter(([, bit]) => (bits & bit) !== 0).map(([keyword]) => keyword));
  const xforward = new Set(XFORWARD_BITS.filter(([, bit]) => (bits & bit) !== 0).map(([name]) => name));
  if (xforward.size > 0) keywords.add("XFORWARD");
  return { esmtp: (bits & ESMTP) !== 0, keywords, sizeLimit: 0, xforward, auth: [], serverName: "" };
}

export interface EndpointProperty {
  readonly tlsLevel: number;
  /** Deliveries over the connection before the last one. */
  readonly reuseCount: number;
  readonly features: Features;
  /** Seconds since the epoch, after which it is not used again. */
  readonly expires: number;
}

export interface DestinationProperty {
  readonly nexthop: string;
  readonly host: string;
  readonly address: string;
  readonly port: number;
}

const format = (lines: ReadonlyArray<readonly [string, string | number]>): string =>
  `${lines.map(([name, value]) => `${name}=${value}\n`).join("")}\n`;

function parse(text: string): ReadonlyMap<string, string> {
  return new Map(
    text
      .split("\n")
      .filter((line) => line.includes("="))
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
}

const number = (values: ReadonlyMap<string, string>, name: string): number | undefined =>
  readDecimal(values.get(name) ?? "", Number.MAX_SAFE_INTEGER);

/** Ports travel in network byte order, as the socket address has them. */
const swapBytes = (port: number): number => ((port & 0xff) << 8) | (port >> 8);

export const formatEndpoint = ({ tlsLevel, reuseCount, features, expires }: EndpointProperty): string =>
  format([
    ["tls_level", tlsLevel],
    ["reuse_count", reuseCount],
    ["endpoint_features", featureBits(features)],
    ["expire_time", expires],
  ]);

/** Undefined when it makes no sense. */
export function parseEndpoint(text: string): EndpointProperty | undefined {
  const values = parse(text);
  const tlsLevel = number(values, "tls_level");
  const reuseCount = number(values, "reuse_count");
  const bits = number(values, "endpoint_features");
  const expires = number(values, "expire_time");
  if (tlsLevel === undefined || reuseCount === undefined || bits === undefined || expires === undefined)
    return undefined;
  return { tlsLevel, reuseCount, features: featuresOf(bits), expires };
}

export const formatDestination = ({ nexthop, host, address, port }: DestinationProperty): string =>
  format([
    ["destination", nexthop],
    ["host_name", host],
    ["host_addr", address],
    ["host_port", swapBytes(port)],
    ["destination_features", BEST_SERVER],
  ]);

/** Undefined when it makes no sense. */
export function parseDestinationProperty(text: string): DestinationProperty | undefined {
  const values = parse(text);
  const port = number(values, "host_port");
  const host = values.get("host_name");
  const address = values.get("host_addr");
  if (port === undefined || port > 0xffff || host === undefined || address === undefined) return undefined;
  return { nexthop: values.get("destination") ?? "", host, address, port: swapBytes(port) };
}
