/** The delivery request for one entry (queue.md 23.2, ipc.md 5.4). */
import { splitAddress } from "../../lib/address/split.ts";
import { encode } from "../../lib/ipc/attributes.ts";
import {
  DELIVERY_FLAG,
  DeliveryRequest,
  encodeMessageStats,
  type MessageStats,
  NO_MOMENT,
  Recipient as RecipientMessage,
  SENDOPT,
} from "../../lib/ipc/protocols/delivery.ts";
import { isAscii, isValidUtf8 } from "../../lib/sys/bytes.ts";
import type { Entry } from "./entry.ts";
import type { Message } from "./message.ts";
import type { Recipient } from "./recipient.ts";

export const messageStats = (message: Message): MessageStats => ({
  incomingArrival: message.arrival,
  activeArrival: message.activeArrival,
  agentHandoff: NO_MOMENT,
  connectionSetupDone: NO_MOMENT,
  deliverDone: NO_MOMENT,
  reuseCount: 0,
});

/** The sender address that names the recipient: local part, delimiter, recipient's local part, delimiter, recipient's domain. */
export function verpSender(sender: string, delimiters: string, recipient: Recipient): string {
  const from = splitAddress(sender);
  const to = splitAddress(recipient.original === "" ? recipient.address : recipient.original);
  const domain = to.domain === undefined ? "" : `${delimiters.charAt(1)}${to.domain}`;
  const origin = from.domain === undefined ? "" : `@${from.domain}`;
  return `${from.local}${delimiters.charAt(0)}${to.local}${domain}${origin}`;
}

const isUtf8Address = (address: string): boolean => !isAscii(address) && isValidUtf8(address);

export function encodeRequest(entry: Entry): string {
  const { message, queue, recipients } = entry;
  const [first] = recipients;
  const verp = message.verpDelimiters !== "" && first !== undefined;
  const cache =
    (queue.loadConnections ? DELIVERY_FLAG.connectionLoad : 0) |
    (queue.storeConnections ? DELIVERY_FLAG.connectionStore : 0);
  const finality = message.inspected ? DELIVERY_FLAG.bounce : DELIVERY_FLAG.bounce | DELIVERY_FLAG.markDone;
  let sendopts = message.sendOptions;
  if (recipients.some((recipient) => isUtf8Address(recipient.address)))
    sendopts |= verp ? SENDOPT.smtputf8Recipient | SENDOPT.smtputf8Sender : SENDOPT.smtputf8Recipient;
  let request = encode(DeliveryRequest, {
    flags: message.traceFlags | cache | finality,
    queueName: "active",
    queueId: message.id,
    offset: message.dataOffset,
    size: message.contentSize,
    nexthop: queue.nexthop,
    encoding: message.encoding,
    sendopts,
    sender: verp ? verpSender(message.senderText, message.verpDelimiters, first) : message.senderText,
    envelopeId: message.envelopeId,
    retFlags: message.returnFlags,
    time: encodeMessageStats(messageStats(message)),
    clientName: message.clientName,
    clientAddress: message.clientAddress,
    clientPort: message.clientPort,
    clientProtocol: message.protocolName,
    clientHelo: message.heloName,
    saslMethod: message.saslMethod,
    saslUsername: message.saslUsername,
    saslSender: message.saslSender,
    logIdent: message.logIdent,
    rewriteContext: message.rewriteContext,
    recipientCount: recipients.length,
  });
  for (const recipient of recipients)
    request += encode(RecipientMessage, {
      originalRecipient: recipient.original,
      recipient: recipient.address,
      offset: recipient.offset,
      dsnOriginalRecipient: recipient.dsnOriginal,
      notifyFlags: recipient.notify,
    });
  return request;
}
