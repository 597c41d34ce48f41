/** Requests to bounce, defer and trace: read, checked, carried out. */

import { internalToExternal } from "../../lib/address/quote.ts";
import { verpDelimiterProblem } from "../../lib/address/verp.ts";
import { parameter } from "../../lib/config/configuration.ts";
import type { NoticeEnvelope } from "../../lib/ipc/clients/bounce.ts";
import { BOUNCE_FLAG } from "../../lib/ipc/protocols/bounce.ts";
import { type Dsn, type Recipient, SENDOPT } from "../../lib/ipc/protocols/delivery.ts";
import { ClientAbort, check, warning } from "../../lib/log/log.ts";
import { queues } from "../../lib/queue/configured_queues.ts";
import { isQueueName, type LogQueue } from "../../lib/queue/directories.ts";
import type { LogEntry } from "../../lib/queue/log_entry.ts";
import { appendLog, LogAppendError } from "../../lib/queue/log_file.ts";
import { readLog } from "../../lib/queue/log_reader.ts";
import { isQueueId, type QueueId } from "../../lib/queue/queue_id.ts";
import { Rec } from "../../lib/queue/records.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { writeSync } from "../../lib/sys/fs.ts";
import {
  type NoticeRequest,
  notifyDelay,
  notifyFailure,
  notifyFailureVerp,
  notifyTrace,
  traceTemplate,
} from "./notices.ts";
import { closeOriginal, type Original, openOriginal } from "./original.ts";
import { loadTemplates, type TemplateClass, type Templates } from "./template.ts";

/** The service that this process runs as, and its templates. */
export interface BounceService {
  readonly queue: LogQueue;
  readonly name: string;
  readonly templates: () => Templates;
}

export const bounceService = (name: string, queue: LogQueue): BounceService => {
  let templates: Templates | undefined;
  return {
    name,
    queue,
    templates: () => {
      templates ??= loadTemplates();
      return templates;
    },
  };
};

export interface AppendRequest extends Recipient, Dsn {
  readonly flags: number;
  readonly queueId: string;
}

export function checkedId(queueId: string): QueueId | undefined {
  if (isQueueId(queueId)) return queueId;
  warning(`malformed queue id: ${queueId}`);
  return undefined;
}

/** Appends of this process to one log take turns: waiting for a lock costs a second. */
const turns = new Map<QueueId, Promise<void>>();

async function inTurn(id: QueueId, work: () => Promise<void>): Promise<void> {
  const before = turns.get(id);
  const mine = before === undefined ? work() : before.then(work, work);
  turns.set(id, mine);
  try {
    await mine;
  } finally {
    if (turns.get(id) === mine) turns.delete(id);
  }
}

/** Adds an entry to the message's log and returns when it is on disk. */
export async function append(service: BounceService, request: AppendRequest): Promise<boolean> {
  const id = checkedId(request.queueId);
  if (id === undefined) return false;
  try {
    await inTurn(id, () => appendEntry(service, id, request));
    return true;
  } catch (error) {
    if ((request.flags & BOUNCE_FLAG.clean) !== 0) removeLog(service, id);
    if (error instanceof LogAppendError) throw new ClientAbort(error.message);
    throw error;
  }
}

const appendEntry = (service: BounceService, id: QueueId, request: AppendRequest): Promise<void> =>
  appendLog(queues(), service.queue, id, entryOf(request), {
    oldStyle: parameter("backwards_bounce_logfile_compatibility"),
    lockAttempts: parameter("deliver_lock_attempts"),
    lockDelay: parameter("deliver_lock_delay"),
  });

/** The log entry of a recipient and its status; addresses in quoted form. */
const entryOf = (request: Recipient & Dsn): LogEntry => ({
  recipient: internalToExternal(request.recipient),
  originalRecipient: request.originalRecipient === "" ? "" : internalToExternal(request.originalRecipient),
  offset: request.offset,
  dsnOriginalRecipient: request.dsnOriginalRecipient,
  notifyFlags: request.notifyFlags,
  status: request.status,
  action: request.action,
  diagnosticType: request.diagnosticType,
  diagnosticText: request.diagnosticText,
  mtaType: request.mtaType,
  mtaName: request.mtaName,
  reason: request.reason,
});

export function removeLog(service: BounceService, id: QueueId): void {
  check(`remove ${service.queue} ${id}`, () => queues().remove(service.queue, id));
}

function checkEnvelope(envelope: NoticeEnvelope): QueueId | undefined {
  if (!isQueueName(envelope.queueName)) {
    warning(`malformed queue name: ${envelope.queueName}`);
    return undefined;
  }
  return checkedId(envelope.queueId);
}

/** Makes a non-delivery notice of the log; then the log is gone. */
export const flush = (service: BounceService, envelope: NoticeEnvelope): Promise<boolean> =>
  withLog(service, envelope, "failure", async (request, id, original) => {
    const done = await notifyFailure(request);
    return done && finish(service, envelope, id, request.entries, original);
  });

export function flushVerp(
  service: BounceService,
  envelope: NoticeEnvelope,
  delimiters: string,
): Promise<boolean> {
  if (verpDelimiterProblem(delimiters, parameter("verp_delimiter_filter")) !== undefined) {
    warning(`malformed verp delimiter string: ${delimiters}`);
    return Promise.resolve(false);
  }
  return withLog(service, envelope, "failure", async (request, id, original) => {
    const done = await notifyFailureVerp(request, delimiters);
    return done && finish(service, envelope, id, request.entries, original);
  });
}

/** Makes a delay notice of the log, which stays. */
export const warn = (service: BounceService, envelope: NoticeEnvelope): Promise<boolean> =>
  withLog(service, envelope, "delay", (request) => notifyDelay(request));

/** Makes a delivery report of the log; then the log is gone. */
export const trace = (service: BounceService, envelope: NoticeEnvelope): Promise<boolean> =>
  withLog(service, envelope, traceTemplate(envelope.flags), async (request, id, original) => {
    const done = await notifyTrace(request);
    return done && finish(service, envelope, id, request.entries, original);
  });

/** A non-delivery notice about one recipient, without a log. */
export async function one(
  service: BounceService,
  envelope: NoticeEnvelope,
  recipient: Recipient & Dsn,
): Promise<boolean> {
  if (service.queue !== "bounce") {
    warning(`wrong service name "${service.name}" for one-recipient bouncing`);
    return false;
  }
  const id = checkEnvelope(envelope);
  if (id === undefined) return false;
  return withOriginal(envelope, id, (original) =>
    notifyFailure(noticeRequest(service, envelope, "failure", original, [entryOf(recipient)])),
  );
}

type Work = (request: NoticeRequest, id: QueueId, original: Original | undefined) => Promise<boolean>;

async function withLog(
  service: BounceService,
  envelope: NoticeEnvelope,
  template: TemplateClass,
  work: Work,
): Promise<boolean> {
  const id = checkEnvelope(envelope);
  if (id === undefined) return false;
  try {
    const log = readLog(queues(), service.queue, id, { utf8: parameter("smtputf8_enable") });
    // a delay or trace notice without a log has nothing to say; a failure is reported all the same
    if (log === undefined && template !== "failure") return true;
    const entries = log === undefined ? undefined : [...log];
    return await withOriginal(envelope, id, (original) =>
      work(noticeRequest(service, envelope, template, original, entries), id, original),
    );
  } finally {
    if ((envelope.flags & BOUNCE_FLAG.clean) !== 0) removeLog(service, id);
  }
}

async function withOriginal(
  envelope: NoticeEnvelope,
  id: QueueId,
  work: (original: Original | undefined) => Promise<boolean>,
): Promise<boolean> {
  const original = openOriginal(envelope.queueName, id, parameter("enable_threaded_bounces"));
  try {
    return await work(original);
  } finally {
    if (original !== undefined) closeOriginal(original);
  }
}

function noticeRequest(
  service: BounceService,
  envelope: NoticeEnvelope,
  template: TemplateClass,
  original: Original | undefined,
  entries: ReadonlyArray<LogEntry> | undefined,
): NoticeRequest {
  const sendopts = parameter("requiretls_enable")
    ? envelope.sendopts
    : envelope.sendopts & ~SENDOPT.requireTls;
  return {
    flags: envelope.flags,
    retFlags: envelope.retFlags,
    entries,
    report: {
      queueId: envelope.queueId,
      template: service.templates()[template],
      encoding: envelope.encoding,
      sendopts,
      sender: envelope.sender,
      envelopeId: envelope.envelopeId,
      original,
      now: Math.floor(Date.now() / 1000),
      action: template === "failure" ? "failed" : undefined,
    },
  };
}

const DONE = Uint8Array.of(Rec.DONE);

/** After the notice: recipients are done where that was asked for, and the log goes. */
function finish(
  service: BounceService,
  envelope: NoticeEnvelope,
  id: QueueId,
  entries: ReadonlyArray<LogEntry> | undefined,
  original: Original | undefined,
): boolean {
  if ((envelope.flags & BOUNCE_FLAG.deleteRecipients) !== 0 && original !== undefined)
    for (const { offset } of entries ?? []) {
      if (offset <= 0) continue;
      try {
        writeSync(original.fd, DONE, 0, 1, offset);
      } catch (error) {
        throw new ClientAbort(`update queue file ${original.path}: ${errorText(error)}`);
      }
    }
  removeLog(service, id);
  return true;
}
