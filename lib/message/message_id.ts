/** Message-Id headers. */
import { printable } from "../sys/bytes.ts";
import { compactUtc } from "./date.ts";

/** The id that cleanup gives to a message without one, in angle brackets. A long queue ID is unique by itself. */
export const generateMessageId = (
  queueId: string,
  createdSeconds: number,
  myhostname: string,
  longQueueIds: boolean,
): string =>
  longQueueIds ? `<${queueId}@${myhostname}>` : `<${compactUtc(createdSeconds)}.${queueId}@${myhostname}>`;

/** The balanced `<...>` at the start of a header value, unprintable bytes as blanks; undefined without one. */
export function leadingMessageId(value: string, utf8 = false): string | undefined {
  if (!value.startsWith("<")) return undefined;
  let depth = 0;
  for (let at = 0; at < value.length; at++) {
    const character = value.charAt(at);
    if (character === "<") depth++;
    else if (character === ">" && --depth === 0) return printable(value.slice(0, at + 1), utf8, " ");
  }
  return undefined;
}
