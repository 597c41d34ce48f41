/** The way of one message into the queue: a connection to cleanup(8), or in stand-alone mode the postdrop(1) command. */
import { encode, receive } from "../../lib/ipc/attributes.ts";
import type { CleanupConnection } from "../../lib/ipc/clients/cleanup_connection.ts";
import { CleanupFlags, CleanupStatus } from "../../lib/ipc/protocols/cleanup.ts";
import { RecordBuffer } from "../../lib/queue/record_writer.ts";
import { Rec } from "../../lib/queue/records.ts";
import type { PostdropClient } from "../../lib/submission/postdrop_client.ts";
import { toBytes } from "../../lib/sys/bytes.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import type { Soon } from "../../lib/sys/when.ts";

export interface QueueOutcome {
  /** Cleanup status bits; BAD when the server went away. */
  readonly status: number;
  readonly reason: string;
}

/** Takes the content of a message, line by line. */
export interface ContentStream {
  put(type: number, data?: string | Uint8Array): void;
  /** `stuffed`: a dot was taken off the front. The bytes are valid during the call only. */
  putSlice(type: number, source: Buffer, start: number, end: number, stuffed: boolean): void;
  /** More is gathered than should wait. */
  readonly full: boolean;
  /** False when the other side stopped reading: the message cannot be stored. */
  readonly writable: boolean;
  /** Sends what is gathered and waits until it is taken. */
  flush(): Soon<void>;
  /** Gives the message up; the other side removes what it has. */
  abort(): void;
}

export interface MessageStream extends ContentStream {
  readonly kind: "queue";
  readonly id: string;
  /** Request flags go before the records; postdrop has none. */
  sendFlags(flags: number): void;
  putAttribute(name: string, value: string | number): void;
  /** After the END record: the verdict. */
  finish(): Promise<QueueOutcome>;
}

const BAD = 1;
/** Records gathered before they are handed over. */
const FLUSH_AT = 64 * 1024;

export class CleanupStream implements MessageStream {
  readonly kind = "queue";
  private readonly records = new RecordBuffer(8 * 1024);
  private failed = false;

  private readonly channel: Channel;

  constructor(private readonly connection: CleanupConnection) {
    this.channel = connection.channel;
  }

  get id(): string {
    return this.connection.queueId;
  }

  sendFlags(flags: number): void {
    this.records.append(toBytes(encode(CleanupFlags, { flags })));
  }
  put(type: number, data: string | Uint8Array = ""): void {
    this.records.put(type, data);
  }
  putSlice(type: number, source: Buffer, start: number, end: number): void {
    this.records.putSlice(type, source, start, end);
  }
  putAttribute(name: string, value: string | number): void {
    this.records.put(Rec.ATTRIBUTE, `${name}=${value}`);
  }
  get full(): boolean {
    return this.records.length >= FLUSH_AT;
  }
  get writable(): boolean {
    return !this.failed;
  }

  flush(): Soon<void> {
    if (this.failed) {
      this.records.clear();
      return;
    }
    this.channel.write(this.records.view());
    const flushed = this.channel.flush();
    if (flushed instanceof Promise) return this.awaitFlush(flushed);
    this.records.clear();
  }

  private async awaitFlush(flushed: Promise<void>): Promise<void> {
    try {
      await flushed;
      this.records.clear();
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) throw error;
      this.failed = true;
      // the channel may still hold the memory
      this.records.take();
    }
  }

  async finish(): Promise<QueueOutcome> {
    const flushed = this.flush();
    if (flushed instanceof Promise) await flushed;
    const reply = await receive(this.channel, CleanupStatus);
    this.records.release();
    if (reply.kind === "value" && !this.failed) this.connection.release();
    else this.channel.destroy();
    return reply.kind === "value" ? reply.value : { status: BAD, reason: "" };
  }

  /** Cleanup logs about what it got. */
  abort(): void {
    if (!this.failed) this.channel.write(this.records.take());
    void this.channel.close();
  }
}

export class PostdropStream implements MessageStream {
  readonly kind = "queue";
  private failed = false;
  private gathered = 0;

  constructor(private readonly command: PostdropClient) {}

  get id(): string {
    return this.command.queueId;
  }
  sendFlags(): void {
    // postdrop decides by itself
  }
  put(type: number, data: string | Uint8Array = ""): void {
    this.gathered += data.length;
    // The client writes when much has gathered; flush() waits for that.
    void this.command.put(type, data)?.catch(() => {
      this.failed = true;
    });
  }
  putSlice(type: number, source: Buffer, start: number, end: number): void {
    this.put(type, source.subarray(start, end));
  }
  putAttribute(name: string, value: string | number): void {
    this.put(Rec.ATTRIBUTE, `${name}=${value}`);
  }
  get full(): boolean {
    return this.gathered >= FLUSH_AT;
  }
  get writable(): boolean {
    return !this.failed;
  }

  async flush(): Promise<void> {
    this.gathered = 0;
    if (this.failed) return;
    try {
      await this.command.flush();
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) throw error;
      this.failed = true;
    }
  }

  async finish(): Promise<QueueOutcome> {
    await this.flush();
    if (this.failed) {
      this.command.abandon();
      return { status: BAD, reason: "" };
    }
    return (await this.command.finish()) ?? { status: BAD, reason: "" };
  }

  abort(): void {
    this.command.abandon();
  }
}
