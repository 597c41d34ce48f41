/** The listing for people: `postqueue -p`, mailq. */
import { ascTime } from "../../lib/message/date.ts";
import { LAST_TIME } from "../../lib/queue/attributes.ts";
import { printable } from "../../lib/sys/bytes.ts";
import type { Format } from "./listing.ts";

interface Columns {
  readonly id: number;
  readonly size: number;
  readonly time: number;
  readonly heading: readonly [string, string, string, string];
}

const SHORT: Columns = {
  id: 11,
  size: 7,
  time: 20,
  heading: ["-Queue ID-", "--Size--", "----Arrival Time----", "-Sender/Recipient-------"],
};
const LONG: Columns = {
  id: 17,
  size: 8,
  time: 19,
  heading: ["----Queue ID-----", "--Size--", "---Arrival Time----", "--Sender/Recipient------"],
};
/** Reasons end in this column. */
const REASON_WIDTH = 76;

export function mailqFormat(longIds: boolean, utf8: boolean): Format {
  const columns = longIds ? LONG : SHORT;
  const line = (id: string, size: string, time: string, address: string): string =>
    `${id.padEnd(columns.id)} ${size.padStart(columns.size)} ${time.padEnd(columns.time)} ${address}\n`;
  const clean = (text: string): string => printable(text, utf8);
  let count = 0;
  let bytes = 0;
  let reason = "";

  const reasonLine = (next: string): string => {
    if (next === reason) return "";
    reason = next;
    const text = next === "" ? "reason unavailable" : clean(next);
    return `${" ".repeat(Math.max(0, REASON_WIDTH - text.length))}(${text})\n`;
  };

  return {
    message: (message) => {
      const first = count++ === 0 ? line(...columns.heading) : "\n";
      bytes += message.size;
      reason = "";
      const mark = message.queueName === "active" ? "*" : message.queueName === "hold" ? "!" : "";
      const id = clean(message.queueId) + mark + (message.forcedExpire !== 0 ? "#" : "");
      const time = `${ascTime(Math.max(0, Math.min(message.time, LAST_TIME)))} `.slice(0, columns.time);
      return first + line(id, String(message.size), time, clean(message.sender));
    },
    recipient: (recipient) => reasonLine(recipient.reason) + line("", "", "", clean(recipient.recipient)),
    endOfMessage: () => "",
    end: () =>
      count === 0
        ? "Mail queue is empty\n"
        : `\n-- ${Math.floor(bytes / 1024)} Kbytes in ${count} Request${count === 1 ? "" : "s"}.\n`,
  };
}
