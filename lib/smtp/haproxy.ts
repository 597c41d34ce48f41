/** The header with which a load balancer says whose connection it passes on: the PROXY protocol, versions 1 and 2 (smtpd.md 11). */
import { isIPv4, isIPv6 } from "../address/hostname.ts";
import { formatInet } from "../config/inet.ts";
import { splitAny } from "../sys/bytes.ts";
import { readDecimal } from "../sys/numbers.ts";

/** The longest header: that of version 1 needs 107 bytes, version 2 has room for extensions. */
export const HAPROXY_HEADER_LIMIT = 536;

export interface ProxiedConnection {
  readonly clientAddress: string;
  readonly clientPort: string;
  readonly serverAddress: string;
  readonly serverPort: string;
}

export type HaproxyHeader =
  | { readonly kind: "proxied"; readonly connection: ProxiedConnection; readonly length: number }
  /** The balancer speaks for itself (health checks): the addresses of the socket count. */
  | { readonly kind: "local"; readonly length: number }
  | { readonly kind: "bad"; readonly problem: string };

export interface EnabledFamilies {
  readonly ipv4: boolean;
  readonly ipv6: boolean;
}

const SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
/** Signature, command, family, length. */
const HEAD = SIGNATURE.length + 4;
const bad = (problem: string): HaproxyHeader => ({ kind: "bad", problem });

/** Reads the header at the start of the first bytes that a client sent. */
export function parseHaproxy(input: Buffer, families: EnabledFamilies): HaproxyHeader {
  const bytes = input.subarray(0, HAPROXY_HEADER_LIMIT);
  if (bytes.toString("latin1", 0, 6) === "PROXY ") return versionOne(bytes, families);
  if (bytes.length < HEAD) return bad("short protocol header");
  if (bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE)) return versionTwo(bytes, families);
  return bad("unrecognized protocol header");
}

function versionOne(bytes: Buffer, families: EnabledFamilies): HaproxyHeader {
  const lf = bytes.indexOf(0x0a);
  if (lf < 0) return bad("missing protocol header terminator");
  const [, type, client, server, clientPort, serverPort] = splitAny(bytes.toString("latin1", 0, lf), " \r");
  if (type !== "TCP4" && type !== "TCP6") return bad("bad or missing protocol type");
  if (type === "TCP4" ? !families.ipv4 : !families.ipv6) return bad("bad or missing protocol type");
  const isAddress = type === "TCP4" ? isIPv4 : isIPv6;
  if (client === undefined || !isAddress(client)) return bad("bad or missing client address");
  if (server === undefined || !isAddress(server)) return bad("bad or missing server address");
  if (!isPort(clientPort)) return bad("bad or missing client port");
  if (!isPort(serverPort)) return bad("bad or missing server port");
  return {
    kind: "proxied",
    length: lf + 1,
    connection: { clientAddress: client, clientPort, serverAddress: server, serverPort },
  };
}

const isPort = (text: string | undefined): text is string =>
  text !== undefined && /^(?:0|[1-9][0-9]{0,4})$/.test(text) && readDecimal(text, 65535) !== undefined;

const COMMAND = { local: 0x20, proxy: 0x21 } as const;
const FAMILY = { tcp4: 0x11, tcp6: 0x21 } as const;

function versionTwo(bytes: Buffer, families: EnabledFamilies): HaproxyHeader {
  const command = bytes[SIGNATURE.length];
  const family = bytes[SIGNATURE.length + 1];
  const length = HEAD + bytes.readUInt16BE(SIGNATURE.length + 2);
  if (command !== COMMAND.local && command !== COMMAND.proxy) return bad("bad command in proxy header");
  if (bytes.length < length) return bad("short version 2 protocol header");
  if (command === COMMAND.local) return { kind: "local", length };
  if (family !== FAMILY.tcp4 && family !== FAMILY.tcp6) return bad("unsupported network protocol");
  const size = family === FAMILY.tcp4 ? 4 : 16;
  if (size === 4 && !families.ipv4) return bad("Postfix IPv4 support is disabled");
  if (size === 16 && !families.ipv6) return bad("Postfix IPv6 support is disabled");
  if (length < HEAD + 2 * size + 4) return bad("short address field");
  const address = (at: number): string => formatInet(bytes.subarray(HEAD + at, HEAD + at + size));
  return {
    kind: "proxied",
    length,
    connection: {
      clientAddress: address(0),
      serverAddress: address(size),
      clientPort: String(bytes.readUInt16BE(HEAD + 2 * size)),
      serverPort: String(bytes.readUInt16BE(HEAD + 2 * size + 2)),
    },
  };
}
