/** Who is at the other end of the connection. */

/** `forged`: the name exists and does not lead back to the address. */
export type NameStatus = "ok" | "temporary" | "permanent" | "forged";

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_INET6 = 10;

export interface Client {
  /** Verified host name, or `unknown`. */
  readonly name: string;
  readonly nameStatus: NameStatus;
  /** What the address maps to, verified or not, or `unknown`. */
  readonly reverseName: string;
  readonly reverseStatus: NameStatus;
  readonly address: string;
  readonly port: string;
  /** AF_ number as it goes to cleanup. */
  readonly family: number;
  readonly serverAddress: string;
  readonly serverPort: string;
}

export const UNKNOWN = "unknown";

/** The client of stand-alone mode, and of a connection that is no internet socket. */
export const localClient = (ipv6: boolean): Client => ({
  name: "localhost",
  nameStatus: "ok",
  reverseName: "localhost",
  reverseStatus: "ok",
  address: ipv6 ? "::1" : "127.0.0.1",
  port: "0",
  family: AF_UNSPEC,
  serverAddress: ipv6 ? "::1" : "127.0.0.1",
  serverPort: "0",
});

/** A client about whom nothing could be learned. */
export const unknownClient: Client = {
  name: UNKNOWN,
  nameStatus: "permanent",
  reverseName: UNKNOWN,
  reverseStatus: "permanent",
  address: UNKNOWN,
  port: UNKNOWN,
  family: AF_UNSPEC,
  serverAddress: UNKNOWN,
  serverPort: UNKNOWN,
};

/** RFC 5321 form of an address, with `IPv6:` before such. */
export const rfcAddress = (address: string): string => (address.includes(":") ? `IPv6:${address}` : address);

/** `name[address]`, with `:port` when smtpd_client_port_logging is on. */
export const nameAddress = (name: string, address: string, port: string, withPort: boolean): string =>
  withPort ? `${name}[${address}]:${port}` : `${name}[${address}]`;

/** IPv4 in an IPv6 socket is IPv4. */
export function plainAddress(address: string): string {
  if (!address.includes(":")) return address;
  const mapped = /^::ffff:([0-9]{1,3}(?:\.[0-9]{1,3}){3})$/i.exec(address);
  return mapped?.[1] ?? address;
}
