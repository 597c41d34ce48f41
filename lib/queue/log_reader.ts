/** Reads bounce, defer and trace logs entry by entry, new and old style. */
import { unless } from "../sys/errno.ts";
import { openUnnoted } from "../sys/files.ts";
import { constants } from "../sys/fs.ts";
import { readDecimal } from "../sys/numbers.ts";
import type { LogQueue, Queues } from "./directories.ts";
import type { LogEntry } from "./log_entry.ts";
import { type LogField, LogLines } from "./log_lines.ts";
import type { QueueId } from "./queue_id.ts";

export interface LogReadOptions {
  /** Valid UTF-8 is printable (smtputf8_enable). Default false. */
  readonly utf8?: boolean;
  /** It is most likely there: opening it tells, where otherwise a look before costs less than a failure. Default false. */
  readonly expected?: boolean;
}

/** The lines of a log; undefined when there is no such log. Throws when it cannot be opened. */
export function openLog(
  queues: Queues,
  queue: LogQueue,
  id: QueueId,
  options: LogReadOptions = {},
): LogLines | undefined {
  const path = queues.path(queue, id);
  if (options.expected !== true && !queues.files.exists(path)) return undefined;
  const fd = unless(["ENOENT"], () => openUnnoted(path, constants.O_RDONLY));
  return fd === undefined ? undefined : new LogLines(fd, path, options.utf8 === true);
}

/** The entries of a log, in order; undefined when there is no such log. Throws when it cannot be opened or read. */
export function readLog(
  queues: Queues,
  queue: LogQueue,
  id: QueueId,
  options: LogReadOptions = {},
): Generator<LogEntry> | undefined {
  const lines = openLog(queues, queue, id, options);
  return lines === undefined ? undefined : readEntries(lines, queue);
}

function* readEntries(lines: LogLines, queue: LogQueue): Generator<LogEntry> {
  try {
    let entry: MutableEntry | undefined;
    for (let line = lines.next(); line !== "end"; line = lines.next()) {
      if (line === "blank") {
        if (entry !== undefined) yield entry;
        entry = undefined;
        continue;
      }
      entry ??= emptyEntry(queue);
      const [field, value] = line === "unusual" ? (lines.field ?? []) : [line, lines.text];
      if (field !== undefined && value !== undefined) setField(entry, field, value);
    }
  } finally {
    lines.close();
  }
}

/** What stands for what a log does not tell. */
export const UNKNOWN_RECIPIENT = "(recipient address unavailable)";
export const UNKNOWN_REASON = "(description unavailable)";
export const NULL_ADDRESS = "(MAILER-DAEMON)";

type MutableEntry = { -readonly [K in keyof LogEntry]: LogEntry[K] };

const emptyEntry = (queue: LogQueue): MutableEntry => ({
  recipient: UNKNOWN_RECIPIENT,
  originalRecipient: "",
  offset: 0,
  dsnOriginalRecipient: "",
  notifyFlags: 0,
  status: queue === "defer" ? "4.0.0" : "5.0.0",
  action: queue === "defer" ? "delayed" : "failed",
  diagnosticType: "",
  diagnosticText: "",
  mtaType: "",
  mtaName: "",
  reason: UNKNOWN_REASON,
});

const addressOrUnknown = (address: string): string =>
  address === "" || address === "<>" ? NULL_ADDRESS : address;

function setField(entry: MutableEntry, field: LogField, value: string): void {
  switch (field) {
    case "recipient":
      entry.recipient = addressOrUnknown(value);
      return;
    case "original_recipient":
      entry.originalRecipient = addressOrUnknown(value);
      return;
    case "offset":
      entry.offset = readDecimal(value) ?? 0;
      return;
    case "dsn_orig_rcpt":
      entry.dsnOriginalRecipient = value;
      return;
    case "notify_flags":
      entry.notifyFlags = readDecimal(value, 15) ?? 0;
      return;
    case "status":
      if (value !== "") entry.status = value;
      return;
    case "action":
      if (value !== "") entry.action = value;
      return;
    case "diag_type":
      entry.diagnosticType = value;
      return;
    case "diag_text":
      entry.diagnosticText = value;
      return;
    case "mta_type":
      entry.mtaType = value;
      return;
    case "mta_mname":
      entry.mtaName = value;
      return;
    case "reason":
      if (value !== "") entry.reason = value;
  }
}
