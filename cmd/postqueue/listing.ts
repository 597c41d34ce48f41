/** Reads showq's stream and prints it as it comes: for people (-p) or as JSON lines (-j) (queue.md 32). */
import { type Message, receive } from "../../lib/ipc/attributes.ts";
import { ShowqGreeting, ShowqMessage, ShowqRecipient } from "../../lib/ipc/protocols/showq.ts";
import { ByteOutput } from "../../lib/sys/byte_output.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import { MessageElement, RecipientElement } from "./elements.ts";

/** A form of output. */
export interface Format {
  readonly message: (output: ByteOutput, message: MessageElement) => void;
  readonly recipient: (output: ByteOutput, recipient: RecipientElement) => void;
  readonly endOfMessage: (output: ByteOutput) => void;
  readonly end: (output: ByteOutput) => void;
}

const PRINT_AT = 32 * 1024;
const TERMINATOR = 0;

interface Element<T> {
  find(bytes: Buffer, at: number): number;
  set(value: T): void;
}

/** Prints the whole stream; false when it is malformed. */
export async function printListing(
  channel: Channel,
  format: Format,
  print: (bytes: Uint8Array) => void,
): Promise<boolean> {
  if ((await receive(channel, ShowqGreeting)).kind !== "value") return false;
  const output = new ByteOutput(2 * PRINT_AT);
  const message = new MessageElement();
  const recipient = new RecipientElement();
  /** What has come and is not yet read. */
  let input = channel.peek();
  let at = 0;
  const flush = (): void => {
    print(output.view());
    output.clear();
  };
  /** Waits for input, after all output was shown; false when the stream is cut off. */
  const wait = async (): Promise<boolean> => {
    channel.consume(at);
    flush();
    const more = await channel.more();
    input = channel.peek();
    at = 0;
    return more;
  };
  /** An element that is not there as a whole, or not as usual: with all care. */
  const receiveElement = async <T>(declared: Message<T>, element: Element<T>): Promise<boolean> => {
    channel.consume(at);
    const received = await receive(channel, declared, { open: true });
    input = channel.peek();
    at = 0;
    if (received.kind === "value") element.set(received.value);
    return received.kind === "value";
  };
  const take = <T>(element: Element<T>): boolean => {
    const end = element.find(input, at);
    if (end >= 0) at = end;
    return end >= 0;
  };

  for (;;) {
    if (at >= input.length && !(await wait())) return false;
    if (input[at] === TERMINATOR) break;
    if (!take(message) && !(await receiveElement(ShowqMessage, message))) return false;
    format.message(output, message);
    for (;;) {
      if (at >= input.length && !(await wait())) return false;
      if (input[at] === TERMINATOR) break;
      if (!take(recipient) && !(await receiveElement(ShowqRecipient, recipient))) return false;
      format.recipient(output, recipient);
      if (output.length > PRINT_AT) flush();
    }
    at++;
    format.endOfMessage(output);
    if (output.length > PRINT_AT) flush();
  }
  channel.consume(at + 1);
  format.end(output);
  flush();
  return true;
}
