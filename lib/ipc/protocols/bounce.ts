/** bounce(8), private/bounce, defer and trace: one request per connection (ipc.md 5.3). */
import { constant, int, message, string } from "../attributes.ts";
import { dsnFields, recipientFields } from "./delivery.ts";
import { greeting } from "./greeting.ts";

export const BounceGreeting = greeting("delivery_status_protocol");
/** First attribute of each request. */
export const BounceCommand = message("bounce command", [int("nrequest", "request")]);
export const BounceStatus = message("bounce status", [int("status")]);

/** Values of `nrequest`. */
export const BOUNCE_REQUEST = { append: 0, flush: 1, warn: 2, verp: 3, one: 4, trace: 5 } as const;
/** Values of `flags` besides the delivery request's trace bits: remove the log when this fails; mark recipients done. */
export const BOUNCE_FLAG = { clean: 1, deleteRecipients: 2 } as const;

const envelope = [
  int("flags"),
  string("queue_name", "queueName"),
  string("queue_id", "queueId"),
  string("encoding"),
  int("sendopts"),
  string("sender"),
  string("envelope_id", "envelopeId"),
  int("ret_flags", "retFlags"),
] as const;
const request = (value: keyof typeof BOUNCE_REQUEST) => constant("nrequest", String(BOUNCE_REQUEST[value]));

export const BounceAppend = message("bounce append", [
  request("append"),
  int("flags"),
  string("queue_id", "queueId"),
  ...recipientFields,
  ...dsnFields,
]);
export const BounceFlush = message("bounce flush", [request("flush"), ...envelope]);
export const BounceWarn = message("bounce warn", [request("warn"), ...envelope]);
export const BounceVerp = message("bounce verp", [
  request("verp"),
  ...envelope,
  string("verp_delimiters", "verpDelimiters"),
]);
export const BounceOne = message("bounce one", [
  request("one"),
  ...envelope,
  ...recipientFields,
  ...dsnFields,
]);
export const BounceTrace = message("bounce trace", [request("trace"), ...envelope]);
