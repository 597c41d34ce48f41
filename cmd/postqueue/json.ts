/** The listing for programs: one JSON object a line and message (`postqueue -j`). */
import { jsonString } from "../../lib/sys/json_string.ts";
import type { Format, Recipient } from "./listing.ts";

const reasonKey = (recipient: Recipient): string =>
  recipient.logClass === "defer"
    ? "delay_reason"
    : recipient.logClass === "bounce"
      ? "bounce_reason"
      : "other_reason";

export function jsonFormat(utf8: boolean): Format {
  const quote = (text: string): string => jsonString(text, utf8);
  let first = true;
  return {
    message: (message) => {
      first = true;
      return (
        `{"queue_name": ${quote(message.queueName)}, "queue_id": ${quote(message.queueId)}, ` +
        `"arrival_time": ${message.time}, "message_size": ${message.size}, ` +
        `"forced_expire": ${message.forcedExpire !== 0}, "sender": ${quote(message.sender)}, "recipients": [`
      );
    },
    recipient: (recipient) => {
      const separator = first ? "" : ", ";
      first = false;
      const reason = recipient.reason === "" ? "" : `, "${reasonKey(recipient)}": ${quote(recipient.reason)}`;
      return `${separator}{"orig_address": ${quote(recipient.originalRecipient)}, "address": ${quote(recipient.recipient)}${reason}}`;
    },
    endOfMessage: () => "]}\n",
    end: () => "",
  };
}
