/** cleanup(8), public/cleanup: one message per connection (ipc.md 5.1). */
import { constant, int, message, string, type ValueOf } from "../attributes.ts";

export const CleanupGreeting = message("cleanup greeting", [
  constant("protocol", "cleanup_protocol"),
  string("queue_id", "queueId"),
]);
/** Ours: with it begins each further message on a connection that is used again (docs/daemons.md); the greeting follows. */
export const CleanupAgain = message("cleanup again", [constant("request", "message")]);
export const CleanupFlags = message("cleanup flags", [int("flags")]);
/** After the flags the client sends records up to END, then the server answers. */
export const CleanupStatus = message("cleanup status", [int("status"), string("reason")]);
export type CleanupStatus = ValueOf<typeof CleanupStatus>;

/** postdrop(1) speaks the same with its standard input and output (ipc.md 5.18). */
export const PostdropGreeting = message("postdrop greeting", [
  constant("protocol", "postdrop_protocol"),
  string("queue_id", "queueId"),
]);
export const PostdropStatus = CleanupStatus;

/** Cleanup request flags (ipc.md 6.1). */
export const CLEANUP_FLAG = {
  bounce: 1,
  filter: 2,
  hold: 4,
  discard: 8,
  bcc: 16,
  map: 32,
  milter: 64,
  smtpReply: 128,
  smtputf8Requested: 256,
  smtputf8Autodetect: 512,
  requireTls: 1024,
} as const;

/** Cleanup status bits in the order of severity in which the first one set is reported (ipc.md 6.2). */
export const CLEANUP_STATUS = [
  { name: "DEFER", bit: 256, smtp: 451, dsn: "4.7.1", text: "service unavailable" },
  { name: "PROXY", bit: 128, smtp: 451, dsn: "4.3.0", text: "queue file write error" },
  { name: "BAD", bit: 1, smtp: 451, dsn: "4.3.0", text: "internal protocol error" },
  { name: "RCPT", bit: 64, smtp: 550, dsn: "5.1.0", text: "no recipients specified" },
  { name: "HOPS", bit: 16, smtp: 554, dsn: "5.4.0", text: "too many hops" },
  { name: "SIZE", bit: 4, smtp: 552, dsn: "5.3.4", text: "message file too big" },
  { name: "CONT", bit: 8, smtp: 550, dsn: "5.7.1", text: "message content rejected" },
  { name: "WRITE", bit: 2, smtp: 451, dsn: "4.3.0", text: "queue file write error" },
  { name: "NOPERM", bit: 512, smtp: 550, dsn: "5.7.1", text: "service denied" },
  { name: "BARE_LF", bit: 65536, smtp: 521, dsn: "5.5.2", text: "bare <LF> received" },
] as const;

export type CleanupStatusName = (typeof CLEANUP_STATUS)[number]["name"];
export interface CleanupStatusDetail {
  readonly smtp: number;
  readonly dsn: string;
  readonly text: string;
}

const bits = new Map(CLEANUP_STATUS.map((entry) => [entry.name, entry.bit]));
/** The bit of a status by its name. */
export const cleanupStatusBit = (name: CleanupStatusName): number => bits.get(name) ?? 0;

/** The most severe status of a bit mask. */
export const cleanupStatusDetail = (status: number): CleanupStatusDetail =>
  CLEANUP_STATUS.find((entry) => (status & entry.bit) !== 0) ??
  (status === 0
    ? { smtp: 250, dsn: "2.0.0", text: "Success" }
    : { smtp: 451, dsn: "4.3.0", text: "internal protocol error" });
