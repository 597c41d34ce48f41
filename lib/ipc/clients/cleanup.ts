/** Client of cleanup(8): submits one message (ipc.md 5.1, queue.md 12). */
import { parameter } from "../../config/configuration.ts";
import { ClientAbort } from "../../log/log.ts";
import { mailDate } from "../../message/date.ts";
import { RecordBuffer } from "../../queue/record_writer.ts";
import { Rec, timeData } from "../../queue/records.ts";
import { splitAny } from "../../sys/bytes.ts";
import { timeOfDay } from "../../sys/process.ts";
import { receive, send } from "../attributes.ts";
import { CLEANUP_FLAG, CleanupFlags, CleanupStatus } from "../protocols/cleanup.ts";
import { SENDOPT } from "../protocols/delivery.ts";
import { type CleanupConnection, connectCleanup } from "./cleanup_connection.ts";

/** Bytes that are gathered before they go to cleanup. */
const FLUSH_AT = 64 * 1024;

/** An open submission: cleanup has made the queue file and waits for records. */
export class Submission {
  #pending = new RecordBuffer(8 * 1024);

  private constructor(private readonly connection: CleanupConnection) {}

  /** Connects (waiting for cleanup as long as it takes) and opens a message with these `CLEANUP_FLAG` bits. Throws ClientAbort. */
  static async open(flags: number): Promise<Submission> {
    const connection = await connectCleanup();
    if (connection === undefined) throw new ClientAbort("cleanup socket: malformed response");
    send(connection.channel, CleanupFlags, { flags });
    return new Submission(connection);
  }

  get queueId(): string {
    return this.connection.queueId;
  }

  record(type: number, data: string | Uint8Array = ""): void {
    this.#pending.put(type, data);
  }

  attribute(name: string, value: string | number): void {
    this.#pending.put(Rec.ATTRIBUTE, `${name}=${value}`);
  }

  /** One line of content, without its newline. */
  line(text: string): void {
    this.#pending.put(Rec.NORMAL, text);
  }

  /** Sends what has gathered when it is much; to be called now and then while writing a large message. */
  async relieve(): Promise<void> {
    if (this.#pending.length >= FLUSH_AT) await this.#flush();
  }

  async #flush(): Promise<void> {
    this.connection.channel.write(this.#pending.take());
    await this.connection.channel.flush();
  }

  /** Ends the message and gives cleanup's answer; status is a `CLEANUP_STATUS` mask, -1 when there was no answer. */
  async finish(): Promise<CleanupStatus> {
    this.record(Rec.EXTRACTED);
    return this.end();
  }

  /** The same for a caller that has written the extracted segment, up to END. */
  async end(): Promise<CleanupStatus> {
    const { channel } = this.connection;
    this.record(Rec.END);
    try {
      await this.#flush();
      const reply = await receive(channel, CleanupStatus);
      if (reply.kind === "value") {
        this.connection.release();
        return reply.value;
      }
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) throw error;
    }
    channel.destroy();
    return { status: -1, reason: "" };
  }

  /** Drops the message: cleanup removes its file. */
  abandon(): void {
    this.connection.channel.destroy();
  }

  /** Drops the message after cleanup got all that was written. */
  async cancel(): Promise<void> {
    this.connection.channel.write(this.#pending.take());
    await this.connection.channel.close();
  }
}

/** Kinds of mail that the system makes itself (internal_mail_filter_classes). */
export type InternalClass = "bounce" | "notify" | "verify";

export interface InternalMail {
  readonly sender: string;
  readonly recipient: string;
  readonly class: InternalClass;
  /** trace_flags of the message; 256 for probes. */
  readonly traceFlags: number;
  /** `SENDOPT` bits of the message that this one is about. */
  readonly sendopts: number;
}

/** Cleanup flags for a class of internal mail. */
export function internalMailFlags(mail: Pick<InternalMail, "class" | "sendopts">): number {
  let flags: number = CLEANUP_FLAG.map;
  const named = (parameterValue: string): boolean =>
    splitAny(parameterValue, ", \t\r\n").includes(mail.class);
  if (named(parameter("internal_mail_filter_classes"))) flags |= CLEANUP_FLAG.filter | CLEANUP_FLAG.milter;
  if (autodetects(mail.class)) flags |= CLEANUP_FLAG.smtputf8Autodetect;
  if ((mail.sendopts & SENDOPT.smtputf8Requested) !== 0) flags |= CLEANUP_FLAG.smtputf8Requested;
  if ((mail.sendopts & SENDOPT.requireTls) !== 0) flags |= CLEANUP_FLAG.requireTls;
  return flags;
}

/** Whether cleanup is to find out by itself that a message of this kind needs SMTPUTF8 (smtputf8_autodetect_classes). */
export function autodetects(mailClass: string): boolean {
  if (!parameter("smtputf8_enable")) return false;
  const classes = splitAny(parameter("smtputf8_autodetect_classes"), ", \t\r\n");
  return classes.includes("all") || classes.includes(mailClass);
}

/** Opens a message made by the system itself: envelope, `Received:` and `Date:` lines are written. */
export async function postMail(mail: InternalMail): Promise<Submission> {
  const post = await Submission.open(internalMailFlags(mail));
  const now = timeOfDay();
  post.record(Rec.TIME, timeData(now));
  post.attribute("log_message_origin", "local");
  post.attribute("trace_flags", mail.traceFlags);
  post.record(Rec.FROM, mail.sender);
  post.record(Rec.RECIPIENT, mail.recipient);
  post.record(Rec.CONTENT);
  receivedLines(post, now.seconds);
  post.line(`Date: ${mailDate(now.seconds)}`);
  return post;
}

/** The `Received:` header of mail that the system makes or forwards. */
export function receivedLines(post: Submission, seconds: number): void {
  post.line(`Received: by ${parameter("myhostname")} (${parameter("mail_name")})`);
  post.line(`\tid ${post.queueId}; ${mailDate(seconds)}`);
}
