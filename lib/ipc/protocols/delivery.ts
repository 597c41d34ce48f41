/** Delivery agents, private/TRANSPORT: one request per connection (ipc.md 5.4). */
import { data, int, long, message, string, type ValueOf } from "../attributes.ts";
import { greeting } from "./greeting.ts";

export const DeliveryGreeting = greeting("delivery_request_protocol");

export const DeliveryRequest = message("delivery request", [
  int("flags"),
  string("queue_name", "queueName"),
  string("queue_id", "queueId"),
  long("offset"),
  long("size"),
  string("nexthop"),
  string("encoding"),
  int("sendopts"),
  string("sender"),
  string("envelope_id", "envelopeId"),
  int("ret_flags", "retFlags"),
  data("time"),
  string("log_client_name", "clientName"),
  string("log_client_address", "clientAddress"),
  string("log_client_port", "clientPort"),
  string("log_protocol_name", "clientProtocol"),
  string("log_helo_name", "clientHelo"),
  string("sasl_method", "saslMethod"),
  string("sasl_username", "saslUsername"),
  string("sasl_sender", "saslSender"),
  string("log_ident", "logIdent"),
  string("rewrite_context", "rewriteContext"),
  int("recipient_count", "recipientCount"),
]);
export type DeliveryRequest = ValueOf<typeof DeliveryRequest>;

const recipientFields = [
  string("original_recipient", "originalRecipient"),
  string("recipient"),
  /** Position of the recipient record in the queue file; 0 none, -1 do not mark. */
  long("offset"),
  string("dsn_orig_rcpt", "dsnOriginalRecipient"),
  int("notify_flags", "notifyFlags"),
] as const;
const dsnFields = [
  string("status"),
  string("diag_type", "diagnosticType"),
  string("diag_text", "diagnosticText"),
  string("mta_type", "mtaType"),
  string("mta_mname", "mtaName"),
  string("action"),
  string("reason"),
] as const;

export const Recipient = message("recipient", recipientFields);
export type Recipient = ValueOf<typeof Recipient>;
export const Dsn = message("delivery status", dsnFields);
export type Dsn = ValueOf<typeof Dsn>;
/** The agent's answer: what is wrong with the destination as a whole (empty strings when nothing), and whether recipients are left. */
export const DeliveryReply = message("delivery reply", [
  string("status", "dsnStatus"),
  string("diag_type", "diagnosticType"),
  string("diag_text", "diagnosticText"),
  string("mta_type", "mtaType"),
  string("mta_mname", "mtaName"),
  string("action"),
  string("reason"),
  int("status"),
]);
export type DeliveryReply = ValueOf<typeof DeliveryReply>;

export { dsnFields, recipientFields };

/** Delivery request flags (ipc.md 6.4). */
export const DELIVERY_FLAG = {
  markDone: 1,
  bounce: 2,
  mtaVerify: 256,
  userVerify: 512,
  record: 1024,
  connectionLoad: 2048,
  connectionStore: 4096,
  recordDelayed: 8192,
} as const;
export const DELIVERY_TRACE_MASK = 256 | 512 | 1024 | 8192;
export const DELIVERY_PROBE_MASK = 256 | 512;

/** Sender options (ipc.md 6.6). */
export const SENDOPT = {
  smtputf8Requested: 1,
  smtputf8Header: 2,
  smtputf8Sender: 4,
  smtputf8Recipient: 8,
  tlsRequiredNo: 16,
  requireTls: 32,
} as const;

/** DSN NOTIFY and RET bits (ipc.md 6.7). */
export const NOTIFY = { never: 1, success: 2, failure: 4, delay: 8 } as const;
export const RET = { full: 1, headers: 2 } as const;

/** Times of a message on its way, as the C structure of the wire: 88 bytes (ipc.md 5.4). */
export interface MessageStats {
  readonly incomingArrival: Moment;
  readonly activeArrival: Moment;
  readonly agentHandoff: Moment;
  readonly connectionSetupDone: Moment;
  readonly deliverDone: Moment;
  readonly reuseCount: number;
}
export interface Moment {
  readonly seconds: number;
  readonly microseconds: number;
}
export const NO_MOMENT: Moment = { seconds: 0, microseconds: 0 };
export const MESSAGE_STATS_SIZE = 88;

export function encodeMessageStats(stats: MessageStats): Uint8Array {
  const bytes = Buffer.alloc(MESSAGE_STATS_SIZE);
  const moments = [
    stats.incomingArrival,
    stats.activeArrival,
    stats.agentHandoff,
    stats.connectionSetupDone,
    stats.deliverDone,
  ];
  moments.forEach((moment, index) => {
    bytes.writeBigInt64LE(BigInt(moment.seconds), index * 16);
    bytes.writeBigInt64LE(BigInt(moment.microseconds), index * 16 + 8);
  });
  bytes.writeInt32LE(stats.reuseCount, 80);
  return bytes;
}

/** Undefined when the size is wrong. */
export function decodeMessageStats(bytes: Uint8Array): MessageStats | undefined {
  if (bytes.length !== MESSAGE_STATS_SIZE) return undefined;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const moment = (index: number): Moment => ({
    seconds: Number(view.readBigInt64LE(index * 16)),
    microseconds: Number(view.readBigInt64LE(index * 16 + 8)),
  });
  return {
    incomingArrival: moment(0),
    activeArrival: moment(1),
    agentHandoff: moment(2),
    connectionSetupDone: moment(3),
    deliverDone: moment(4),
    reuseCount: view.readInt32LE(80),
  };
}
