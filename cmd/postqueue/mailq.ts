/** The listing for people: `postqueue -p`, mailq. */
import { ascTime } from "../../lib/message/date.ts";
import { LAST_TIME } from "../../lib/queue/attributes.ts";
import type { ByteOutput } from "../../lib/sys/byte_output.ts";
import { equalsText, type MessageElement, type Span } from "./elements.ts";
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
/** Times of which the text is kept: messages that came together are listed in any order. */
const TIMES = 4096;
const BLANK = 0x20;

export function mailqFormat(longIds: boolean, utf8: boolean): Format {
  const columns = longIds ? LONG : SHORT;
  const [id, size, time, address] = columns.heading;
  const heading = `${id.padEnd(columns.id)} ${size.padStart(columns.size)} ${time.padEnd(columns.time)} ${address}\n`;
  const indent = " ".repeat(columns.id + columns.size + columns.time + 3);
  const times = new Map<number, string>();
  let count = 0;
  let total = 0;
  /** Of the recipient before. */
  let reasonBytes: Buffer = Buffer.alloc(0);
  const reason: Span = { start: 0, end: 0 };

  /** A value without what could change the terminal's state. */
  const clean = (output: ByteOutput, bytes: Buffer, { start, end }: Span): void =>
    output.printable(bytes, start, end, utf8);
  /** The column of the time, with the blanks around it. */
  const timeText = (seconds: number): string => {
    const known = times.get(seconds);
    if (known !== undefined) return known;
    if (times.size >= TIMES) times.clear();
    const text = `${ascTime(Math.max(0, Math.min(seconds, LAST_TIME)))} `.slice(0, columns.time);
    const column = ` ${text.padEnd(columns.time)} `;
    times.set(seconds, column);
    return column;
  };
  const showReason = (output: ByteOutput, bytes: Buffer, next: Span): void => {
    if (sameBytes(reasonBytes, reason, bytes, next)) return;
    reasonBytes = bytes;
    reason.start = next.start;
    reason.end = next.end;
    const unavailable = "reason unavailable";
    const length = next.end > next.start ? next.end - next.start : unavailable.length;
    output.fill(BLANK, REASON_WIDTH - length);
    output.text("(");
    if (next.end > next.start) clean(output, bytes, next);
    else output.text(unavailable);
    output.text(")\n");
  };

  return {
    message: (output, message) => {
      output.text(count++ === 0 ? heading : "\n");
      total += message.size;
      reason.start = reason.end = 0;
      const start = output.length;
      clean(output, message.bytes, message.queueId);
      output.text(marks(message));
      output.fill(BLANK, columns.id - (output.length - start));
      const size = String(message.size);
      output.fill(BLANK, 1 + Math.max(0, columns.size - size.length));
      output.text(size);
      output.text(timeText(message.time));
      clean(output, message.bytes, message.sender);
      output.text("\n");
    },
    recipient: (output, recipient) => {
      showReason(output, recipient.bytes, recipient.reason);
      output.text(indent);
      clean(output, recipient.bytes, recipient.recipient);
      output.text("\n");
    },
    endOfMessage: () => undefined,
    end: (output) => {
      output.text(
        count === 0
          ? "Mail queue is empty\n"
          : `\n-- ${Math.floor(total / 1024)} Kbytes in ${count} Request${count === 1 ? "" : "s"}.\n`,
      );
    },
  };
}

function marks({ bytes, queueName, forcedExpire }: MessageElement): string {
  const queue = equalsText(bytes, queueName, "active")
    ? "*"
    : equalsText(bytes, queueName, "hold")
      ? "!"
      : "";
  return forcedExpire !== 0 ? `${queue}#` : queue;
}

function sameBytes(a: Buffer, as: Span, b: Buffer, bs: Span): boolean {
  const length = as.end - as.start;
  if (bs.end - bs.start !== length) return false;
  for (let index = 0; index < length; index++) if (a[as.start + index] !== b[bs.start + index]) return false;
  return true;
}
