/** A message in the active queue (queue.md 20). */
import { DELIVERY_PROBE_MASK } from "../../lib/ipc/protocols/delivery.ts";
import type { QueueId } from "../../lib/queue/queue_id.ts";
import { NEVER, type TimeStamp } from "./clock.ts";
import type { Job } from "./job.ts";

/** What the scan or the mode of the file asks for. */
export interface QueueFlags {
  /** Retry dead destinations of this message (flush by id). */
  readonly flushEach: boolean;
  /** Deliver through `defer_transports` too. */
  readonly flushDeferTransports: boolean;
  readonly forceExpire: boolean;
}

export class Message {
  readonly id: QueueId;
  readonly flags: QueueFlags;
  /** Time it entered the active queue: orders the jobs. */
  readonly queuedTime: number;
  readonly activeArrival: TimeStamp;

  /** Envelope, as read from the file. */
  arrival: TimeStamp = NEVER;
  createTime = 0;
  /** Offset and size of the content segment in the file. */
  dataOffset = 0;
  dataSize = 0;
  /** Size for logs and requests. */
  contentSize = 0;
  /** Recipients of all times, for the log. */
  recipientTotal = 0;
  /** `SizeHint` bits. */
  hints = 0;
  sendOptions = 0;
  sender: string | undefined;
  encoding = "";
  envelopeId = "";
  returnFlags = 0;
  traceFlags = 0;
  /** An address probe that came when there were enough; others that came at once must not count against each other. */
  probeTooMany = false;
  /** Offset of a trace_flags record that must be killed after its report. */
  traceOffset = 0;
  warnOffset = 0;
  warnTime = 0;
  verpDelimiters = "";
  filter = "";
  redirect = "";
  inspected = false;
  /** Attributes for logs were given: those of the client itself do not count. */
  hasLogAttributes = false;
  clientName = "";
  clientAddress = "";
  clientPort = "";
  protocolName = "";
  heloName = "";
  saslMethod = "";
  saslUsername = "";
  saslSender = "";
  logIdent = "";
  rewriteContext = "";

  /** Where the next recipients are; 0 when all were read. */
  recipientOffset = 0;
  /** A later part of the file could not be read: the message goes to `corrupt` when its entries are done. */
  refillFailed = false;
  recipientUnread = 0;
  /** All records other than recipients were seen. */
  complete = false;
  refillTime = 0;
  /** Recipients are being read or resolved: entries may still come. */
  assigning = false;

  /** Entries, and one for each assignment in progress. */
  references = 0;
  recipientCount = 0;
  recipientLimit: number;
  hasProblems = false;
  /** One for each transport: few. */
  jobs: Job[] = [];

  constructor(
    id: QueueId,
    flags: QueueFlags,
    queuedTime: number,
    activeArrival: TimeStamp,
    recipientLimit: number,
  ) {
    this.id = id;
    this.flags = flags;
    this.queuedTime = queuedTime;
    this.activeArrival = activeArrival;
    this.recipientLimit = recipientLimit;
  }

  get senderText(): string {
    return this.sender ?? "";
  }
  /** A probe is never delivered. */
  get isProbe(): boolean {
    return (this.traceFlags & DELIVERY_PROBE_MASK) !== 0;
  }
}
