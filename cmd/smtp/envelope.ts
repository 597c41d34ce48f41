/** The commands of a mail transaction with their parameters (RFC 5321 3.3, RFC 1870, 6152, 3461, 6531, and XFORWARD). */
import { internalToSmtp } from "../../lib/address/quote.ts";
import type { Recipient } from "../../lib/delivery/request.ts";
import { RET, SENDOPT } from "../../lib/ipc/protocols/delivery.ts";
import {
  commandLine,
  notifyParameter,
  orcptParameter,
  xforwardText,
  xtext,
} from "../../lib/smtp/client_command.ts";
import type { Features, XforwardAttribute } from "../../lib/smtp/client_features.ts";
import { upperAscii } from "../../lib/sys/bytes.ts";
import { type Soon, when } from "../../lib/sys/when.ts";
import { needsDowngrade } from "./content.ts";
import type { Delivery } from "./delivery.ts";
import { mapGeneric } from "./generic.ts";

const quoted = (delivery: Delivery, address: string): string =>
  address === "" || !delivery.agent.settings.quoteEnvelope ? address : internalToSmtp(address);

/** `MAIL FROM:` with what the server understands of SIZE, BODY, ENVID, RET and SMTPUTF8. Throws UnsafeCommand. */
export const mailCommand = (delivery: Delivery, features: Features): Soon<string> =>
  when(mapGeneric(delivery.request.sender, delivery.agent.tables), (address) =>
    mailLine(delivery, quoted(delivery, address), features),
  );

function mailLine(delivery: Delivery, sender: string, { keywords }: Features): string {
  const { request } = delivery;
  let line = `MAIL FROM:<${sender}>`;
  const sevenBit = request.encoding === "7bit";
  const converts = needsDowngrade(delivery, keywords.has("8BITMIME"));
  if (keywords.has("SIZE") && !converts) line += ` SIZE=${request.size}`;
  if (keywords.has("8BITMIME")) {
    if (request.encoding === "8bit") line += " BODY=8BITMIME";
    else if (sevenBit) line += " BODY=7BIT";
  }
  if (keywords.has("DSN")) {
    if (request.envelopeId !== "") line += ` ENVID=${xtext(request.envelopeId)}`;
    if (request.retFlags === RET.full) line += " RET=FULL";
    else if (request.retFlags === RET.headers) line += " RET=HDRS";
  }
  if (keywords.has("SMTPUTF8") && (request.sendopts & SENDOPT.smtputf8Requested) !== 0) line += " SMTPUTF8";
  return commandLine(line);
}

/** `RCPT TO:` with ORCPT and NOTIFY where the server has DSN. Throws UnsafeCommand. */
export const rcptCommand = (delivery: Delivery, recipient: Recipient, features: Features): Soon<string> =>
  when(mapGeneric(recipient.recipient, delivery.agent.tables), (address) =>
    rcptLine(recipient, quoted(delivery, address), features),
  );

function rcptLine(recipient: Recipient, address: string, features: Features): string {
  let line = `RCPT TO:<${address}>`;
  if (features.keywords.has("DSN")) {
    line +=
      orcptParameter({ recorded: recipient.dsnOriginalRecipient, original: recipient.originalRecipient }) ??
      "";
    line += notifyParameter(recipient.notifyFlags);
  }
  return commandLine(line);
}

/** The XFORWARD commands: name and address, then protocol and the rest; undefined where nothing is to be said. */
export function xforwardCommands(
  delivery: Delivery,
  features: Features,
): { readonly nameAddress: string | undefined; readonly protocolHelo: string | undefined } {
  const { request, agent } = delivery;
  if (!agent.settings.sendXforward || !features.keywords.has("XFORWARD"))
    return { nameAddress: undefined, protocolHelo: undefined };
  const line = (values: ReadonlyArray<readonly [XforwardAttribute, string]>): string | undefined => {
    const words = values.flatMap(([name, value]) =>
      features.xforward.has(name) && value !== "" && value !== "unknown"
        ? [`${name}=${xforwardText(value)}`]
        : [],
    );
    return words.length === 0 ? undefined : commandLine(`XFORWARD ${words.join(" ")}`);
  };
  const source = upperAscii(request.rewriteContext) === "LOCAL" ? "LOCAL" : "REMOTE";
  return {
    nameAddress: line([
      ["NAME", request.clientName],
      ["ADDR", request.clientAddress],
      ["PORT", request.clientPort],
    ]),
    protocolHelo: line([
      ["PROTO", request.clientProtocol],
      ["HELO", request.clientHelo],
      ["IDENT", request.logIdent],
      ["SOURCE", source],
    ]),
  };
}
