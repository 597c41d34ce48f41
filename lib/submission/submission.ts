/** One local submission: checks the records that a user's program sends and writes them to a maildrop file (tools.md 3). */
import { check, fatal, onDeath, warning } from "../log/log.ts";
import { attributeRecordType, splitNameValue } from "../queue/attributes.ts";
import type { Queues } from "../queue/directories.ts";
import { createQueueFile, type QueueFile } from "../queue/queue_file.ts";
import { Rec, RecordSets, recordTypeName, timeData } from "../queue/records.ts";
import { fromBytes } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { timeOfDay } from "../sys/process.ts";
import type { SenderVerdict } from "./local_sender.ts";

const MAILDROP = "maildrop";
/** Maildrop files are readable, the directory is not; pickup takes the missing bit as a mark of requeued mail. */
const MAILDROP_MODE = 0o444;

/** Status bits of ipc.md 6.2 that a submission can end with. */
export const SubmissionStatus = { BAD: 1, WRITE: 2, SIZE: 4, NOPERM: 512 } as const;

export interface SubmissionResult {
  /** 0 when the message is in the queue for good. */
  readonly status: number;
  readonly reason: string;
}

export interface SubmissionOptions {
  readonly uid: number;
  readonly checkSender: (sender: string) => Promise<SenderVerdict>;
  /** Name of the sender maps in the error text. */
  readonly senderMaps: string;
  /** Seconds between attempts to create the file; tests shorten it. */
  readonly retryPause?: number;
}

const PARTS = [RecordSets.POST_ENVELOPE, RecordSets.POST_CONTENT, RecordSets.POST_EXTRACT] as const;
const CR = 0x0d;
const LF = 0x0a;
const NUL = 0;
const SHOWN = 200;

export class Submission {
  #status = 0;
  #reason = "";
  #part = 0;
  #senders = 0;
  #recipients = 0;
  #path: string | undefined;
  readonly #forget: () => void;

  private constructor(
    private readonly file: QueueFile,
    private readonly queues: Queues,
    private readonly options: SubmissionOptions,
    path: { current: string | undefined },
    forget: () => void,
  ) {
    this.#path = path.current;
    this.#forget = forget;
  }

  /** Creates the file; it disappears again when the process dies before `finish()`. Waits as long as that cannot be done. */
  static async begin(queues: Queues, options: SubmissionOptions): Promise<Submission> {
    const started = timeOfDay();
    const path: { current: string | undefined } = { current: undefined };
    const forget = onDeath(() => {
      if (path.current !== undefined) removeFile(queues, options.uid, path.current);
    });
    const file = await createQueueFile(queues, MAILDROP, {
      extraMode: MAILDROP_MODE,
      ...(options.retryPause === undefined ? {} : { retryPause: options.retryPause }),
      onPath: (current) => {
        path.current = current;
      },
    });
    file.writer.put(Rec.TIME, timeData(started));
    return new Submission(file, queues, options, path, forget);
  }

  get id(): string {
    return this.file.id;
  }

  /** The END record was seen. */
  get complete(): boolean {
    return this.#part === PARTS.length;
  }

  /** Takes a record. A promise is given back only for a sender that must be looked up. Misuse is fatal. */
  record(type: number, data: Buffer): Promise<void> | undefined {
    if (this.#status !== 0) {
      // what follows an error is read, so that the client gets its answer and no SIGPIPE
      if (type === Rec.END) this.#part = PARTS.length;
      return undefined;
    }
    const { uid } = this.options;
    const set = PARTS[this.#part];
    if (set === undefined || type <= 0 || !set.has(type))
      fatal(`uid=${uid}: unexpected record type: ${type}`);
    const text = type === Rec.NORMAL || type === Rec.CONTINUED;
    if (!text && (data.includes(CR) || data.includes(LF) || data.includes(NUL)))
      this.#refuseBreak(type, data);
    if (type === set.terminator) this.#part++;
    switch (type) {
      case Rec.FROM:
        this.#senders++;
        return this.#sender(fromBytes(data));
      case Rec.RECIPIENT:
        this.#recipients++;
        break;
      case Rec.ATTRIBUTE: {
        const kept = this.#attribute(fromBytes(data));
        if (kept !== undefined) this.#put(type, kept);
        return undefined;
      }
    }
    this.#put(type, data);
    return undefined;
  }

  /** Commits a complete submission and says how it ended. Every refused one leaves no file behind. */
  async finish(): Promise<SubmissionResult> {
    if (this.#status === 0 && (this.#senders === 0 || this.#recipients === 0))
      this.#status |= SubmissionStatus.BAD;
    if (this.#status === 0) {
      const result = await this.file.commit();
      if (result.status !== 0) {
        this.#status |= result.status;
        warning(`uid=${this.options.uid}: ${errorText(result.error)}`);
      }
    } else check(`close ${this.#path}`, () => this.file.close());
    if (this.#status !== 0) this.#remove();
    this.#path = undefined;
    this.#forget();
    return { status: this.#status, reason: this.#reason };
  }

  /** The client went away before END: no trace stays. */
  cancel(): void {
    check(`close ${this.#path}`, () => this.file.close());
    this.#remove();
    this.#forget();
  }

  #remove(): void {
    if (this.#path !== undefined) removeFile(this.queues, this.options.uid, this.#path);
    this.#path = undefined;
  }

  #put(type: number, data: string | Buffer): void {
    try {
      this.file.writer.put(type, data);
    } catch (error) {
      this.#status |= errorCode(error) === "EFBIG" ? SubmissionStatus.SIZE : SubmissionStatus.WRITE;
      warning(`uid=${this.options.uid}: ${errorText(error)}`);
    }
  }

  async #sender(sender: string): Promise<void> {
    const verdict = await this.options.checkSender(sender);
    if (verdict === "error") {
      this.#status |= SubmissionStatus.WRITE;
      this.#reason = `local_login_sender_maps table lookup error for '${this.options.senderMaps}'`;
    } else if (verdict === "denied") {
      this.#status |= SubmissionStatus.NOPERM;
      this.#reason = `not authorized to use sender='${sender}'`;
    } else this.#put(Rec.FROM, sender);
  }

  /** The attribute as it is stored, or undefined for one that submissions may not set. */
  #attribute(text: string): string | undefined {
    const { uid } = this.options;
    const parsed = splitNameValue(text);
    if (parsed.kind === "malformed") {
      warning(`uid=${uid}: ignoring malformed record: ${parsed.error}: ${text.slice(0, SHOWN)}`);
      return undefined;
    }
    const { name, value } = parsed;
    if (name === "trace_flags") {
      if (value === "512" || value === "1024") return `${name}=${value}`;
      warning(`uid=${uid}: ignoring unexpected trace flags: ${value}`);
      return undefined;
    }
    const allowed =
      attributeRecordType(name) !== 0 ||
      (name === "encoding" && (value === "7bit" || value === "8bit" || value === "")) ||
      (name === "rewrite_context" && (value === "local" || value === "remote"));
    if (allowed) return `${name}=${value}`;
    warning(`uid=${uid}: ignoring attribute record: ${name}=${value}`);
    return undefined;
  }

  #refuseBreak(type: number, data: Buffer): never {
    const end = data.indexOf(NUL);
    const shown = fromBytes(data.subarray(0, end < 0 ? SHOWN : Math.min(end, SHOWN)));
    fatal(`uid=${this.options.uid}: null or line break in '${recordTypeName(type)}' record type: ${shown}`);
  }
}

function removeFile(queues: Queues, uid: number, path: string): void {
  try {
    queues.files.unlink(path);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") warning(`uid=${uid}: remove ${path}: ${errorText(error)}`);
  }
}
