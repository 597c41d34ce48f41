/** XFORWARD: a trusted content filter says where a message came from, for the log (smtpd.md 10). */
import { isValidHostname } from "../../../lib/address/hostname.ts";
import { neuter } from "../../../lib/smtp/helo.ts";
import { upperAscii } from "../../../lib/sys/bytes.ts";
import { UNKNOWN } from "../client.ts";
import type { ForwardedClient } from "../session.ts";
import type { VerbHandler } from "../verb.ts";
import { parseAttribute } from "./attributes.ts";
import { clientAddress } from "./xclient.ts";

const PROTOCOL_LIMIT = 64;

export const xforward: VerbHandler = async (session, { tokens }) => {
  if (session.transaction !== undefined)
    return session.refuse("503 5.5.1 Error: MAIL transaction in progress", "protocol");
  if (tokens.length < 2) return session.refuse("501 5.5.4 Syntax: XFORWARD attribute=value...", "protocol");
  if (!session.mayXforward) return session.refuse("550 5.7.0 Error: insufficient authorization", "policy");
  const forwarded: ForwardedClient = session.forwarded ?? { identified: false };
  session.forwarded = forwarded;
  for (const token of tokens.slice(1)) {
    const attribute = parseAttribute(token.text, session.settings.utf8);
    if (typeof attribute === "string") return session.refuse(attribute, "protocol");
    const { name, value } = attribute;
    const bad = (): Promise<false> => session.refuse(`501 5.5.4 Bad ${name} syntax: ${value}`, "protocol");
    const missing = upperAscii(value) === "[UNAVAILABLE]";
    switch (name) {
      case "NAME":
        if (!missing && !isValidHostname(value)) return bad();
        forwarded.name = missing ? UNKNOWN : value;
        break;
      case "ADDR": {
        const address = missing ? UNKNOWN : clientAddress(value);
        if (address === undefined) return bad();
        forwarded.address = address;
        break;
      }
      case "PORT":
        if (!missing && !/^[0-9]{1,5}$/.test(value)) return bad();
        forwarded.port = missing ? UNKNOWN : value;
        break;
      case "HELO":
        if (missing) delete forwarded.helo;
        else forwarded.helo = neuter(value, session.settings.utf8);
        break;
      case "PROTO":
        if (value.length > PROTOCOL_LIMIT) return bad();
        forwarded.protocol = neuter(value);
        break;
      case "IDENT":
        if (missing) delete forwarded.ident;
        else forwarded.ident = neuter(value);
        break;
      case "SOURCE": {
        const word = upperAscii(value);
        if (missing) {
          delete forwarded.source;
          break;
        }
        if (word !== "LOCAL" && word !== "REMOTE") return bad();
        forwarded.source = word === "LOCAL" ? "local" : "remote";
        break;
      }
      default:
        return session.refuse(`501 5.5.4 Bad XFORWARD attribute name: ${name}`, "protocol");
    }
    if (name !== "SOURCE") forwarded.identified = true;
  }
  await session.reply("250 2.0.0 Ok");
  return true;
};
