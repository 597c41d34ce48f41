/** Content on its way from the client to the queue: counts it against message_size_limit and marks what cannot begin a message. */
import { warning } from "../../lib/log/log.ts";
import { Rec } from "../../lib/queue/records.ts";
import type { ContentSink } from "../../lib/smtp/data_stream.ts";
import type { ContentStream } from "./message_stream.ts";

const GREATER = 0x3e;
const SPACE = 0x20;
const TAB = 0x09;
const FROM = Buffer.from("From ");
const MAILBOX_LINE = "X-Mailbox-Line: ";

export class Content implements ContentSink {
  /** Bytes counted: those of each record and two for its line end, whatever it was. */
  size = 0;
  tooBig = false;
  private first: boolean;

  constructor(
    private readonly stream: ContentStream,
    /** Queue ID, for log lines. */
    private readonly id: string,
    private readonly sizeLimit: number,
    /** The first line may be an mbox separator or a continuation of nothing (DATA, not BDAT). */
    checkFirst: boolean,
  ) {
    this.first = checkFirst;
  }

  record(whole: boolean, bytes: Buffer, start: number, end: number, stuffed: boolean): void {
    if (this.tooBig) return;
    if (this.first && !stuffed) this.begin(bytes, start, end);
    this.first = false;
    const count = end - start + 2;
    if (this.sizeLimit > 0 && this.sizeLimit - this.size < count) {
      this.tooBig = true;
      warning(`${this.id}: queue file size limit exceeded`);
      return;
    }
    this.size += count;
    this.stream.putSlice(whole ? Rec.NORMAL : Rec.CONTINUED, bytes, start, end, stuffed);
  }

  private begin(bytes: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end && bytes[at] === GREATER) at++;
    if (end - at >= FROM.length && bytes.compare(FROM, 0, FROM.length, at, at + FROM.length) === 0) {
      this.stream.put(Rec.CONTINUED, MAILBOX_LINE);
      this.size += MAILBOX_LINE.length;
    } else if (start < end && (bytes[start] === SPACE || bytes[start] === TAB)) this.stream.put(Rec.NORMAL);
  }
}
