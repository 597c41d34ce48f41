/** The elements of showq's stream, found in the bytes as they came: no text is made of what is only copied to the output. */
import { encode, headsOf, type ValueOf } from "../../lib/ipc/attributes.ts";
import { ShowqMessage, ShowqRecipient } from "../../lib/ipc/protocols/showq.ts";
import { isDigitCode, toBytes } from "../../lib/sys/bytes.ts";

/** A value: a part of the bytes of its element. */
export interface Span {
  start: number;
  end: number;
}
const span = (): Span => ({ start: 0, end: 0 });

export class MessageElement {
  bytes: Buffer = Buffer.alloc(0);
  readonly queueName = span();
  readonly queueId = span();
  time = 0;
  size = 0;
  forcedExpire = 0;
  readonly sender = span();

  /** Finds the element at an offset of the bytes and gives its end; -1 when it does not stand there as usual and as a whole. */
  find(bytes: Buffer, at: number): number {
    this.bytes = bytes;
    let end = findValue(bytes, at, MESSAGE[0], this.queueName);
    end = findValue(bytes, end, MESSAGE[1], this.queueId);
    end = findValue(bytes, end, MESSAGE[2], number);
    this.time = readNumber(bytes, number);
    end = findValue(bytes, end, MESSAGE[3], number);
    this.size = readNumber(bytes, number);
    end = findValue(bytes, end, MESSAGE[4], number);
    this.forcedExpire = readNumber(bytes, number);
    end = findValue(bytes, end, MESSAGE[5], this.sender);
    return this.time < 0 || this.size < 0 || this.forcedExpire < 0 ? -1 : end;
  }

  /** Takes what was received in another way. */
  set(value: ValueOf<typeof ShowqMessage>): void {
    this.find(
      toBytes(encode(ShowqMessage, { ...value, time: 0, size: 0, forcedExpire: 0 }, "attr0", true)),
      0,
    );
    this.time = value.time;
    this.size = value.size;
    this.forcedExpire = value.forcedExpire;
  }
}

export class RecipientElement {
  bytes: Buffer = Buffer.alloc(0);
  readonly originalRecipient = span();
  readonly recipient = span();
  readonly logClass = span();
  readonly reason = span();

  find(bytes: Buffer, at: number): number {
    this.bytes = bytes;
    let end = findValue(bytes, at, RECIPIENT[0], this.originalRecipient);
    end = findValue(bytes, end, RECIPIENT[1], this.recipient);
    end = findValue(bytes, end, RECIPIENT[2], this.logClass);
    return findValue(bytes, end, RECIPIENT[3], this.reason);
  }

  set(value: ValueOf<typeof ShowqRecipient>): void {
    this.find(toBytes(encode(ShowqRecipient, value, "attr0", true)), 0);
  }
}

/** Whether a value is this text of ASCII. */
export function equalsText(bytes: Buffer, { start, end }: Span, text: string): boolean {
  if (end - start !== text.length) return false;
  for (let index = 0; index < text.length; index++)
    if (bytes[start + index] !== text.charCodeAt(index)) return false;
  return true;
}

const MESSAGE = headsOf(ShowqMessage).map(toBytes);
const RECIPIENT = headsOf(ShowqRecipient).map(toBytes);
const number = span();

/** Finds the value behind an attribute's name at an offset, and gives the offset after its NUL; -1 when there is none, or the offset is. */
function findValue(bytes: Buffer, at: number, head: Buffer | undefined, value: Span): number {
  if (at < 0 || head === undefined) return -1;
  const start = at + head.length;
  if (start > bytes.length) return -1;
  for (let index = 0; index < head.length; index++) if (bytes[at + index] !== head[index]) return -1;
  const end = bytes.indexOf(0, start);
  value.start = start;
  value.end = end;
  return end < 0 ? -1 : end + 1;
}

/** More digits may be more than a number holds. */
const DIGITS = 15;

/** -1 for what is not written as usual. */
function readNumber(bytes: Buffer, { start, end }: Span): number {
  if (end <= start || end - start > DIGITS) return -1;
  let value = 0;
  for (let at = start; at < end; at++) {
    const code = bytes[at] ?? 0;
    if (!isDigitCode(code)) return -1;
    value = value * 10 + code - 0x30;
  }
  return value;
}
