/** Lines of cleanup(8) that log analysers read (logging.md 9.2). */
import { defineEvent } from "../event.ts";

/** A Message-Id header, or the lack of one (`<>`). */
export const messageId = defineEvent<{ queueId: string; id: string }>(
  "message_id",
  "info",
  (f) => `${f.queueId}: message-id=${f.id}`,
);

export const resentMessageId = defineEvent<{ queueId: string; id: string }>(
  "resent_message_id",
  "info",
  (f) => `${f.queueId}: resent-message-id=${f.id}`,
);

/** cleanup removed the queue file: `canceled` without taking responsibility, `discarded` with. */
export const removed = defineEvent<{ queueId: string; why: "canceled" | "discarded" }>(
  "message_removed",
  "info",
  (f) => `${f.queueId}: removed (${f.why})`,
);

export interface ContentActionFields {
  readonly queueId: string;
  /** `reject`, `warning`, `hold`, ... */
  readonly action: string;
  /** `header`, `body` or `content`. */
  readonly context: string;
  readonly content: string;
  readonly origin: string;
  readonly from: string;
  readonly to?: string | undefined;
  readonly proto?: string | undefined;
  readonly helo?: string | undefined;
  readonly text: string;
  readonly [name: string]: string | undefined;
}

/** What a header or body check did. */
export const contentAction = defineEvent<ContentActionFields>(
  "content_action",
  "info",
  (f) =>
    `${f.queueId}: ${f.action}: ${f.context} ${f.content} from ${f.origin}; from=<${f.from}>` +
    (f.to === undefined ? "" : ` to=<${f.to}>`) +
    (f.proto === undefined ? "" : ` proto=${f.proto}`) +
    (f.helo === undefined ? "" : ` helo=<${f.helo}>`) +
    (f.text === "" ? "" : `: ${f.text}`),
);

/** The structure of a message breaks a rule that the configuration enforces. */
export const mimeError = defineEvent<{
  queueId: string;
  problem: string;
  sample: string;
  origin: string;
  from: string;
  to: string;
}>(
  "mime_error",
  "info",
  (f) =>
    `${f.queueId}: reject: mime-error ${f.problem}: ${f.sample} from ${f.origin}; from=<${f.from}> to=<${f.to}>`,
);
