/** Handing a recipient over to another delivery agent (delivery.md 4.10): local(8)'s mailbox_transport and its like. */
import { parameter } from "../config/configuration.ts";
import { receive, send } from "../ipc/attributes.ts";
import { connectWaiting } from "../ipc/client.ts";
import {
  DeliveryGreeting,
  DeliveryReply,
  DeliveryRequest as DeliveryRequestMessage,
  encodeMessageStats,
  Recipient as RecipientMessage,
} from "../ipc/protocols/delivery.ts";
import { passingToTransport } from "../log/events/delivery.ts";
import { fatal, log, warning } from "../log/log.ts";
import { errorText } from "../sys/errno.ts";
import { type Attempt, type Disposition, deferred } from "./disposition.ts";
import type { DeliveryRequest, Recipient } from "./request.ts";
import { dsn } from "./status.ts";

/** `transport[:nexthop]`; an empty nexthop is that of the request. */
export function splitTransport(value: string, nexthop: string): { transport: string; nexthop: string } {
  const colon = value.indexOf(":");
  const transport = colon < 0 ? value : value.slice(0, colon);
  const host = colon < 0 ? "" : value.slice(colon + 1);
  if (transport === "") fatal(`missing transport name in "${value}"`);
  return { transport, nexthop: host === "" ? nexthop : host };
}

/** Delivers one recipient through another agent, which logs what it does; the recipient is marked by the caller. */
export async function passToTransport(
  request: DeliveryRequest,
  recipient: Recipient,
  value: string,
  attempt: Attempt,
): Promise<Disposition> {
  const { transport, nexthop } = splitTransport(value, request.nexthop);
  log(passingToTransport({ queueId: request.queueId, recipient: recipient.recipient, transport }));
  const troubled = (reason: string): Promise<Disposition> =>
    deferred({ ...attempt, recipient, relay: "none" }, dsn("4.3.0", reason));
  const channel = await connectWaiting("private", transport, parameter("ipc_timeout"));
  try {
    const greeting = await receive(channel, DeliveryGreeting);
    if (greeting.kind !== "value") {
      warning(`${channel.name}: malformed response`);
      return await troubled("mail transport unavailable");
    }
    try {
      send(channel, DeliveryRequestMessage, {
        ...request,
        nexthop,
        time: encodeMessageStats(request.stats),
        recipientCount: 1,
      });
      send(channel, RecipientMessage, { ...recipient, offset: -1 });
      await channel.flush();
    } catch (error) {
      warning(`${channel.name}: bad write: ${errorText(error)}`);
      return await troubled("mail transport unavailable");
    }
    channel.timeLimit = 0;
    const reply = await receive(channel, DeliveryReply);
    if (reply.kind !== "value") {
      warning(`${channel.name}: malformed response`);
      return await troubled("unknown mail transport error");
    }
    return reply.value.status === 0 ? "finished" : "retry";
  } finally {
    channel.destroy();
  }
}
