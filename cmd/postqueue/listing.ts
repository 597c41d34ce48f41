/** Reads showq's stream and prints it as it comes: for people (-p) or as JSON lines (-j) (queue.md 32). */
import type { ValueOf } from "../../lib/ipc/attributes.ts";
import { receive } from "../../lib/ipc/attributes.ts";
import { ShowqGreeting, ShowqMessage, ShowqRecipient } from "../../lib/ipc/protocols/showq.ts";
import type { Channel } from "../../lib/sys/channel.ts";

export type Message = ValueOf<typeof ShowqMessage>;
export type Recipient = ValueOf<typeof ShowqRecipient>;

/** A form of output. Each function gives text to print. */
export interface Format {
  readonly message: (message: Message) => string;
  readonly recipient: (recipient: Recipient) => string;
  readonly endOfMessage: () => string;
  readonly end: () => string;
}

const PRINT_AT = 32 * 1024;
const TERMINATOR = 0;

/** Prints the whole stream; false when it is malformed. */
export async function printListing(
  channel: Channel,
  format: Format,
  print: (text: string) => void,
): Promise<boolean> {
  let pending = "";
  const put = (text: string): void => {
    pending += text;
    if (pending.length > PRINT_AT) flush();
  };
  const flush = (): void => {
    if (pending !== "") print(pending);
    pending = "";
  };
  /** Whether another element follows; undefined when the stream is cut off. Output is shown before waiting. */
  const more = async (): Promise<boolean | undefined> => {
    if (channel.buffered === 0) {
      flush();
      if (!(await channel.more())) return undefined;
    }
    if (channel.peek()[0] !== TERMINATOR) return true;
    channel.consume(1);
    return false;
  };

  if ((await receive(channel, ShowqGreeting)).kind !== "value") return false;
  for (;;) {
    const another = await more();
    if (another === undefined) return false;
    if (!another) break;
    const message = await receive(channel, ShowqMessage, { open: true });
    if (message.kind !== "value") return false;
    put(format.message(message.value));
    for (;;) {
      const next = await more();
      if (next === undefined) return false;
      if (!next) break;
      const recipient = await receive(channel, ShowqRecipient, { open: true });
      if (recipient.kind !== "value") return false;
      put(format.recipient(recipient.value));
    }
    put(format.endOfMessage());
  }
  put(format.end());
  flush();
  return true;
}
