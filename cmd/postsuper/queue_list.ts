/** The directories that postsuper knows. */

export interface QueueKind {
  /** Its files are messages. */
  readonly messages: boolean;
  /** It may have hash subdirectories. */
  readonly hashed: boolean;
}

const LOGS: QueueKind = { messages: false, hashed: true };
const MESSAGES: QueueKind = { messages: true, hashed: true };

const KINDS = {
  defer: LOGS,
  bounce: LOGS,
  maildrop: { messages: true, hashed: false },
  incoming: MESSAGES,
  active: MESSAGES,
  deferred: MESSAGES,
  hold: MESSAGES,
  flush: LOGS,
  trace: LOGS,
} as const satisfies Readonly<Record<string, QueueKind>>;

export type KnownQueue = keyof typeof KINDS;

export const queueKind = (name: KnownQueue): QueueKind => KINDS[name];
export const isKnownQueue = (name: string): name is KnownQueue => Object.hasOwn(KINDS, name);

/** In the order in which they are worked on; `trace` must be named. */
export const DEFAULT_QUEUES: ReadonlyArray<KnownQueue> = [
  "defer",
  "bounce",
  "maildrop",
  "incoming",
  "active",
  "deferred",
  "hold",
  "flush",
];

/** Logs that belong to a message. */
export const LOG_QUEUES = ["bounce", "defer", "trace"] as const;
