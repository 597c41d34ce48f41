/** Lines of bounce(8), as bounce, defer and trace. */
import { defineEvent } from "../event.ts";

export type NoticeKind =
  | "sender non-delivery"
  | "postmaster non-delivery"
  | "sender delay"
  | "postmaster delay"
  | "sender delivery status";

/** A notice was opened under a new queue id. */
export const noticePosted = defineEvent<{ queueId: string; kind: NoticeKind; notice: string }>(
  "notice_posted",
  "info",
  (f) => `${f.queueId}: ${f.kind} notification: ${f.notice}`,
);

export const notSendingTrace = defineEvent<{ queueId: string; bounce: "single-bounce" | "double-bounce" }>(
  "trace_not_sent",
  "info",
  (f) => `${f.queueId}: not sending trace/success notification for ${f.bounce} message`,
);

/** A bounce, delay warning or trace service could not be used. */
export const bounceServiceFailed = defineEvent<{ queueId: string; what: string }>(
  "bounce_service_failed",
  "info",
  (f) => `${f.queueId}: status=deferred (${f.what} failed)`,
);
