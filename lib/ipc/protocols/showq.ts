/** showq(8), public/showq: the server speaks alone (ipc.md 5.7, queue.md 32). */
import { int, long, message, string } from "../attributes.ts";
import { greeting } from "./greeting.ts";

export const ShowqGreeting = greeting("mail_queue_list_protocol");
/** Starts a message; recipients follow in the same list, then its terminator. */
export const ShowqMessage = message("showq message", [
  string("queue_name", "queueName"),
  string("queue_id", "queueId"),
  long("time"),
  long("size"),
  int("forced_expire", "forcedExpire"),
  string("sender"),
]);
export const ShowqRecipient = message("showq recipient", [
  string("original_recipient", "originalRecipient"),
  string("recipient"),
  string("log_class", "logClass"),
  string("reason"),
]);
/** Ends the list of a message, and alone the whole stream. */
export const LIST_TERMINATOR = "\0";
