/** Who gets which notice (delivery.md 15.4, 17.3). */
import { externalToInternal, internalToExternal } from "../../lib/address/quote.ts";
import { verpSender } from "../../lib/address/verp.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { DELIVERY_FLAG, NOTIFY, RET } from "../../lib/ipc/protocols/delivery.ts";
import { type NoticeKind, notSendingTrace } from "../../lib/log/events/bounce.ts";
import { log, warning } from "../../lib/log/log.ts";
import type { LogEntry } from "../../lib/queue/log_entry.ts";
import { equalFold, lowerAscii, splitAny } from "../../lib/sys/bytes.ts";
import { doubleBounceSender, type PostResult, postNotice } from "./post.ts";
import type { Notice, Report } from "./report.ts";

/** What a notice is to be made of; the template is in the report. */
export interface NoticeRequest {
  readonly report: Report;
  /** Flags of the request. */
  readonly flags: number;
  /** `RET` bits. */
  readonly retFlags: number;
  /** All logged recipients; undefined when there is no log. */
  readonly entries: ReadonlyArray<LogEntry> | undefined;
}

type SenderKind = "null" | "double-bounce" | "normal";

function senderKind(sender: string): SenderKind {
  if (sender === "") return "null";
  return equalFold(sender, doubleBounceSender()) ? "double-bounce" : "normal";
}

/** Whether notices of an error class go to the postmaster (notify_classes). */
const notifies = (...classes: ReadonlyArray<string>): boolean =>
  splitAny(lowerAscii(parameter("notify_classes")), ", \t\r\n").some((word) => classes.includes(word));

/** RFC 3461 section 4.1: recipients that asked for this kind of notice, or for nothing in particular. */
const eligible = (
  entries: ReadonlyArray<LogEntry> | undefined,
  bit: number,
): ReadonlyArray<LogEntry> | undefined =>
  entries?.filter((entry) => entry.notifyFlags === 0 || (entry.notifyFlags & bit) !== 0);

/** A postmaster's copy: full for bounces that nobody else gets, else headers only. */
async function toPostmaster(
  request: NoticeRequest,
  recipient: string,
  kind: NoticeKind,
  full: boolean,
): Promise<PostResult> {
  const notice: Notice = {
    report: request.report,
    recipient,
    postmaster: true,
    headersOnly: !full,
    entries: request.entries,
  };
  return postNotice(doubleBounceSender(), kind, notice);
}

function failedFor(queueId: string, to: string | undefined, result: PostResult): boolean {
  if (result.ok) return false;
  const whom =
    to === undefined
      ? "postmaster notification failed"
      : `sender notification failed to ${internalToExternal(to)}`;
  warning(`${queueId}: ${whom}${result.reason === "" ? "" : `: ${result.reason}`}`);
  return true;
}

const discarded = (queueId: string): true => {
  warning(`${queueId}: undeliverable postmaster notification discarded`);
  return true;
};

/** The non-delivery notice of a message, or of one recipient. */
export async function notifyFailure(request: NoticeRequest): Promise<boolean> {
  const { report } = request;
  const { queueId, sender } = report;
  switch (senderKind(sender)) {
    case "double-bounce":
      return discarded(queueId);
    case "null":
      if (!notifies("2bounce", "bounce")) return true;
      return !failedFor(
        queueId,
        undefined,
        await toPostmaster(request, parameter("2bounce_notice_recipient"), "postmaster non-delivery", true),
      );
    case "normal": {
      const entries = eligible(request.entries, NOTIFY.failure);
      const notice: Notice = {
        report,
        recipient: sender,
        postmaster: false,
        headersOnly: request.retFlags === RET.headers,
        entries,
      };
      const wanted = entries === undefined || entries.length > 0;
      if (failedFor(queueId, sender, await postNotice("", "sender non-delivery", notice, wanted)))
        return false;
      await copyFailure(request);
      return true;
    }
  }
}

async function copyFailure(request: NoticeRequest): Promise<void> {
  if (!notifies("bounce")) return;
  const { queueId, sender } = request.report;
  const result = await toPostmaster(
    request,
    parameter("bounce_notice_recipient"),
    "postmaster non-delivery",
    false,
  );
  if (failedFor(queueId, undefined, result))
    warning(`${queueId}: postmaster notice failed while bouncing to ${internalToExternal(sender)}`);
}

/** One non-delivery notice a recipient, each to an address that names the recipient. */
export async function notifyFailureVerp(request: NoticeRequest, delimiters: string): Promise<boolean> {
  const { report } = request;
  const { queueId, sender } = report;
  if (senderKind(sender) !== "normal" || request.entries === undefined) {
    if (request.entries !== undefined) warning("request to send VERP-style notification of bounced mail");
    return notifyFailure(request);
  }
  for (const entry of request.entries) {
    const one: NoticeRequest = { ...request, entries: [entry] };
    if (entry.notifyFlags === 0 || (entry.notifyFlags & NOTIFY.failure) !== 0) {
      const recipient = verpSender(delimiters, sender, verpRecipient(entry));
      const notice: Notice = {
        report,
        recipient,
        postmaster: false,
        headersOnly: request.retFlags === RET.headers,
        entries: [entry],
      };
      if (failedFor(queueId, recipient, await postNotice("", "sender non-delivery", notice))) return false;
    }
    await copyFailure(one);
  }
  return true;
}

const verpRecipient = (entry: LogEntry): string =>
  externalToInternal(entry.originalRecipient === "" ? entry.recipient : entry.originalRecipient);

/** The warning that a message is still waiting. */
export async function notifyDelay(request: NoticeRequest): Promise<boolean> {
  const { report } = request;
  const { queueId, sender } = report;
  const postmaster = parameter("delay_notice_recipient");
  switch (senderKind(sender)) {
    case "double-bounce":
      return discarded(queueId);
    case "null":
      return (
        !notifies("delay") ||
        !failedFor(queueId, undefined, await toPostmaster(request, postmaster, "postmaster delay", true))
      );
    case "normal": {
      const entries = eligible(request.entries ?? [], NOTIFY.delay) ?? [];
      const notice: Notice = { report, recipient: sender, postmaster: false, headersOnly: true, entries };
      if (failedFor(queueId, sender, await postNotice("", "sender delay", notice, entries.length > 0)))
        return false;
      if (
        notifies("delay") &&
        failedFor(queueId, undefined, await toPostmaster(request, postmaster, "postmaster delay", false))
      )
        warning(`${queueId}: postmaster notice failed while warning ${internalToExternal(sender)}`);
      return true;
    }
  }
}

/** The delivery report for `sendmail -v`, `-bv` and NOTIFY=SUCCESS. */
export async function notifyTrace(request: NoticeRequest): Promise<boolean> {
  const { report } = request;
  const { queueId, sender } = report;
  const kind = senderKind(sender);
  if (kind === "double-bounce" || (kind === "null" && !notifies("2bounce"))) {
    log(notSendingTrace({ queueId, bounce: kind === "null" ? "single-bounce" : "double-bounce" }));
    return true;
  }
  const recipient = kind === "null" ? parameter("2bounce_notice_recipient") : sender;
  const notice: Notice = {
    report,
    recipient,
    postmaster: false,
    headersOnly: true,
    entries: request.entries ?? [],
  };
  const from = kind === "null" ? doubleBounceSender() : "";
  return !failedFor(queueId, recipient, await postNotice(from, "sender delivery status", notice));
}

/** The verify template answers a request for a report, the success template NOTIFY=SUCCESS. */
export const traceTemplate = (flags: number): "verify" | "success" =>
  (flags & (DELIVERY_FLAG.userVerify | DELIVERY_FLAG.record)) !== 0 ? "verify" : "success";
