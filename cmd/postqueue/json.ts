/** The listing for programs: one JSON object a line and message (`postqueue -j`). */
import type { ByteOutput } from "../../lib/sys/byte_output.ts";
import { isPrintCode } from "../../lib/sys/bytes.ts";
import { jsonString } from "../../lib/sys/json_string.ts";
import { equalsText, type RecipientElement, type Span } from "./elements.ts";
import type { Format } from "./listing.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

export function jsonFormat(utf8: boolean): Format {
  const quote = (output: ByteOutput, bytes: Buffer, { start, end }: Span): void => {
    let at = start;
    while (at < end && isPlain(bytes[at] ?? 0)) at++;
    if (at < end) {
      output.text(jsonString(bytes.toString("latin1", start, end), utf8));
      return;
    }
    output.text('"');
    output.copy(bytes, start, end);
    output.text('"');
  };
  let first = true;
  return {
    message: (output, { bytes, queueName, queueId, time, size, forcedExpire, sender }) => {
      first = true;
      output.text('{"queue_name": ');
      quote(output, bytes, queueName);
      output.text(', "queue_id": ');
      quote(output, bytes, queueId);
      output.text(
        `, "arrival_time": ${time}, "message_size": ${size}, "forced_expire": ${forcedExpire !== 0}, "sender": `,
      );
      quote(output, bytes, sender);
      output.text(', "recipients": [');
    },
    recipient: (output, recipient) => {
      const { bytes, originalRecipient, reason } = recipient;
      output.text(first ? '{"orig_address": ' : ', {"orig_address": ');
      first = false;
      quote(output, bytes, originalRecipient);
      output.text(', "address": ');
      quote(output, bytes, recipient.recipient);
      if (reason.end > reason.start) {
        output.text(reasonKey(recipient));
        quote(output, bytes, reason);
      }
      output.text("}");
    },
    endOfMessage: (output) => output.text("]}\n"),
    end: () => undefined,
  };
}

/** It stands in JSON as it is. */
const isPlain = (code: number): boolean => isPrintCode(code) && code !== QUOTE && code !== BACKSLASH;

const reasonKey = ({ bytes, logClass }: RecipientElement): string =>
  equalsText(bytes, logClass, "defer")
    ? ', "delay_reason": '
    : equalsText(bytes, logClass, "bounce")
      ? ', "bounce_reason": '
      : ', "other_reason": ';
