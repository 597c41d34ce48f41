/** XCLIENT: a trusted client says on whose behalf it speaks (smtpd.md 10). */
import { ipv4Fault } from "../../../lib/address/address_syntax.ts";
import { isIPv6, isValidHostname } from "../../../lib/address/hostname.ts";
import { configuration } from "../../../lib/config/configuration.ts";
import { normalAddress } from "../../../lib/dns/hosts_file.ts";
import { neuter } from "../../../lib/smtp/helo.ts";
import { upperAscii } from "../../../lib/sys/bytes.ts";
import { AF_INET, AF_INET6, type Client, type NameStatus, plainAddress, UNKNOWN } from "../client.ts";
import { sendTranscript } from "../transcript.ts";
import type { VerbHandler } from "../verb.ts";
import { parseAttribute } from "./attributes.ts";

type Changes = { -readonly [K in keyof Client]?: Client[K] };

/** Reads, of a family in use, `1.2.3.4` or `IPv6:2001:db8::1`. */
export function clientAddress(value: string): string | undefined {
  const { ipv4, ipv6 } = configuration().protocols();
  if (ipv4Fault(value) === undefined) return ipv4 ? value.split(".").map(Number).join(".") : undefined;
  const v6 = upperAscii(value).startsWith("IPV6:") ? value.slice(5) : undefined;
  return ipv6 && v6 !== undefined && isIPv6(v6) ? plainAddress(normalAddress(v6) ?? v6) : undefined;
}

const UNAVAILABLE = new Map<string, NameStatus>([
  ["[UNAVAILABLE]", "permanent"],
  ["[TEMPUNAVAIL]", "temporary"],
]);

const isPort = (value: string): boolean => /^[0-9]{1,5}$/.test(value);

export const xclient: VerbHandler = async (session, { tokens }) => {
  if (session.transaction !== undefined)
    return session.refuse("503 5.5.1 Error: MAIL transaction in progress", "protocol");
  if (tokens.length < 2) return session.refuse("501 5.5.4 Syntax: XCLIENT attribute=value...", "protocol");
  if (!session.mayXclient) return session.refuse("550 5.7.0 Error: insufficient authorization", "policy");
  let helo: string | undefined;
  let protocol: "SMTP" | "ESMTP" | undefined;
  let login = session.login;
  for (const token of tokens.slice(1)) {
    const attribute = parseAttribute(token.text, session.settings.utf8);
    if (typeof attribute === "string") return session.refuse(attribute, "protocol");
    const { name, value } = attribute;
    const bad = (): Promise<false> => session.refuse(`501 5.5.4 Bad ${name} syntax: ${value}`, "protocol");
    const status = UNAVAILABLE.get(upperAscii(value));
    const missing = upperAscii(value) === "[UNAVAILABLE]";
    const change = (changes: Changes): void => {
      session.client = { ...session.client, ...changes };
    };
    switch (name) {
      case "NAME":
        if (status !== undefined) change({ name: UNKNOWN, nameStatus: status });
        else if (!isValidHostname(value)) return bad();
        else change({ name: value, nameStatus: "ok", reverseName: value, reverseStatus: "ok" });
        break;
      case "REVERSE_NAME":
        if (status !== undefined) change({ reverseName: UNKNOWN, reverseStatus: status });
        else if (!isValidHostname(value)) return bad();
        else change({ reverseName: value, reverseStatus: "ok" });
        break;
      case "ADDR": {
        const address = missing ? UNKNOWN : clientAddress(value);
        if (address === undefined) return bad();
        change({ address, family: address.includes(":") ? AF_INET6 : AF_INET });
        break;
      }
      case "PORT":
        if (!missing && !isPort(value)) return bad();
        change({ port: missing ? UNKNOWN : value });
        break;
      case "DESTADDR": {
        const address = missing ? UNKNOWN : clientAddress(value);
        if (address === undefined) return bad();
        change({ serverAddress: address });
        break;
      }
      case "DESTPORT":
        if (!missing && !isPort(value)) return bad();
        change({ serverPort: missing ? UNKNOWN : value });
        break;
      case "HELO":
        helo = missing ? undefined : neuter(value, session.settings.utf8);
        break;
      case "PROTO": {
        const word = upperAscii(value);
        if (word !== "SMTP" && word !== "ESMTP") return bad();
        protocol = word;
        break;
      }
      case "LOGIN":
        login = missing ? undefined : value;
        break;
      default:
        return session.refuse(`501 5.5.4 Bad XCLIENT attribute name: ${name}`, "protocol");
    }
  }
  session.login = login;
  session.resetTransaction();
  await sendTranscript(session);
  session.nameClient();
  session.heloName = helo;
  session.protocol = protocol ?? "SMTP";
  await session.identify(false);
  session.restart = true;
  return true;
};
