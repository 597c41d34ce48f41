/** One message from the first record to the complete queue file; where records come from and what becomes of the file is not its business. */
import { warning } from "../../lib/log/log.ts";
import type { RecordDecoder } from "../../lib/queue/record_decoder.ts";
import { encodeRecord, REC_EOF, REC_ERROR, REC_MORE, Rec } from "../../lib/queue/records.ts";
import { EMPTY_SIZE, encodeSize } from "../../lib/queue/size_record.ts";
import { readDecimal } from "../../lib/sys/numbers.ts";
import type { Soon } from "../../lib/sys/when.ts";
import type { Addresses } from "./addresses.ts";
import { Content } from "./content.ts";
import { Envelope } from "./envelope.ts";
import { Headers } from "./headers.ts";
import type { Message } from "./message.ts";
import { type RecipientServices, Recipients } from "./recipients.ts";

/** What all messages share. */
export class Pipeline {
  readonly envelope: Envelope;
  readonly headers: Headers;

  constructor(
    readonly addresses: Addresses,
    services: RecipientServices,
  ) {
    this.envelope = new Envelope(addresses.settings, new Recipients(addresses, services));
    this.headers = new Headers(addresses.settings, addresses);
  }
}

/** `more`: input is needed; `end`: the end record was read, or there will be no more input. */
export type Progress = "more" | "end";

export class MessageProcessor {
  #content: Content | undefined;
  #started = false;

  constructor(
    private readonly message: Message,
    private readonly pipeline: Pipeline,
  ) {}

  /** Takes what the decoder has. */
  run(input: RecordDecoder): Soon<Progress> {
    const progress = this.#advance(input);
    return progress instanceof Promise ? this.#goOn(progress, input) : progress;
  }

  async #goOn(first: Promise<Progress | undefined>, input: RecordDecoder): Promise<Progress> {
    let progress = await first;
    while (progress === undefined) {
      const next = this.#advance(input);
      progress = next instanceof Promise ? await next : next;
    }
    return progress;
  }

  /** Takes records up to one that has to be waited for; undefined behind such. */
  #advance(input: RecordDecoder): Progress | Promise<Progress | undefined> {
    const { message } = this;
    for (;;) {
      const content = this.#content;
      if (message.phase === "content" && content !== undefined && message.accepts) content.pass(input);
      const type = input.next();
      switch (type) {
        case REC_MORE:
          return "more";
        case REC_EOF:
          return "end";
        case REC_ERROR:
          message.fail("BAD");
          return "end";
      }
      const pending = this.#record(type, input);
      if (pending !== undefined) return pending.then(() => (this.#isLast(type) ? "end" : undefined));
      if (this.#isLast(type)) return "end";
    }
  }

  #isLast(type: number): boolean {
    return type === Rec.END && (this.message.phase !== "content" || !this.message.accepts);
  }

  #record(type: number, input: RecordDecoder): Promise<void> | undefined {
    const { message } = this;
    if (type === Rec.MILTER_COUNT) {
      this.#milters(input.string);
      return undefined;
    }
    if (!message.accepts) return undefined;
    if (type === Rec.POINTER || type === Rec.PADDING) {
      message.warn(`record type ${type} not allowed - discarding this message`);
      message.fail("BAD");
      return undefined;
    }
    this.#begin();
    switch (message.phase) {
      case "envelope":
        return this.pipeline.envelope.record(message, type, input.string);
      case "content":
        return this.#contentRecord(type, input.data);
      case "extracted":
        return this.pipeline.envelope.extracted(message, type, input.string);
      case "complete":
        return undefined;
    }
  }

  #begin(): void {
    if (this.#started) return;
    this.#started = true;
    this.message.put(Rec.SIZE, EMPTY_SIZE);
  }

  #contentRecord(type: number, data: Buffer): Promise<void> | undefined {
    const { message } = this;
    this.#content ??= new Content(message, this.pipeline.addresses.settings, this.pipeline.headers);
    if (type === Rec.NORMAL || type === Rec.CONTINUED) return this.#content.record(type, data);
    if (type === Rec.EXTRACTED) return this.#content.end();
    warning(
      `cleanup_message_headerbody: message rejected: unexpected record type ${type} in message content`,
    );
    message.fail("BAD");
    return undefined;
  }

  /** Milters of the SMTP server would hand their connections over here. */
  #milters(text: string): void {
    const count = readDecimal(text);
    if (count === 0) return;
    this.message.warn("Milter hand-over is not supported");
    this.message.fail("BAD");
  }

  /** The last checks, and the SIZE record. */
  finish(): void {
    const { message } = this;
    if (message.accepts) {
      if (message.phase !== "complete") message.fail("BAD");
      else if (message.recipientCount === 0) message.fail("RCPT");
    }
    if (message.has("discard")) message.status = 0;
    if (message.status !== 0 || message.has("discard")) return;
    if (message.oversized) {
      message.tooBig();
      return;
    }
    const { dataOffset, contentEnd, recipientCount, hints, sendOptions } = message;
    const size = contentEnd - dataOffset;
    const record = encodeRecord(
      Rec.SIZE,
      encodeSize({ contentSize: size, dataOffset, recipientCount, hints, messageLength: size, sendOptions }),
    );
    message.write(() => {
      message.output.overwrite(0, record);
      message.output.flush();
    });
  }
}
