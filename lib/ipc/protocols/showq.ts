/** showq(8), public/showq: the server speaks alone (ipc.md 5.7, queue.md 32). */
import { headsOf, int, long, message, string } from "../attributes.ts";
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
const [QUEUE, ID, TIME, SIZE, EXPIRE, SENDER] = headsOf(ShowqMessage);
const [ORIGINAL, RECIPIENT, CLASS, REASON] = headsOf(ShowqRecipient);

/** The bytes of a message as declared, without its terminator, made at once: a queue may hold very many. No text may hold a NUL. */
export const messageText = (
  queue: string,
  id: string,
  time: number,
  size: number,
  forcedExpire: boolean,
  sender: string,
): string =>
  `${QUEUE}${queue}\0${ID}${id}\0${TIME}${time}\0${SIZE}${size}\0${EXPIRE}${forcedExpire ? 1 : 0}\0${SENDER}${sender}\0`;

/** The same for a recipient. */
export const recipientText = (
  original: string,
  recipient: string,
  logClass: string,
  reason: string,
): string => `${ORIGINAL}${original}\0${RECIPIENT}${recipient}\0${CLASS}${logClass}\0${REASON}${reason}\0`;

/** Ends the list of a message, and alone the whole stream. */
export const LIST_TERMINATOR = "\0";
