/** Reads bounce, defer and trace logs entry by entry, new and old style. */

import { warning } from "../log/log.ts";
import { fromBytes, isAlnumCode, pathOf, printable, trimStartSpace } from "../sys/bytes.ts";
import { unless } from "../sys/errno.ts";
import { closeSync, openSync, readSync } from "../sys/fs.ts";
import { readDecimal } from "../sys/numbers.ts";
import { splitNameValue } from "./attributes.ts";
import type { LogQueue, Queues } from "./directories.ts";
import type { LogEntry } from "./log_entry.ts";
import type { QueueId } from "./queue_id.ts";

const CHUNK = 16 * 1024;
/** Longer lines are cut: no log of ours has them. */
const LINE_LIMIT = 64 * 1024;

export interface LogReadOptions {
  /** Valid UTF-8 is printable (smtputf8_enable). Default false. */
  readonly utf8?: boolean;
}

/** The entries of a log, in order; undefined when there is no such log. Throws when it cannot be opened or read. */
export function readLog(
  queues: Queues,
  queue: LogQueue,
  id: QueueId,
  options: LogReadOptions = {},
): Generator<LogEntry> | undefined {
  const path = queues.path(queue, id);
  if (!queues.files.exists(path)) return undefined;
  const fd = unless(["ENOENT"], () => openSync(pathOf(path), "r"));
  return fd === undefined ? undefined : readLogFile(fd, path, queue, options);
}

/** The entries of an open log file; the descriptor is closed at the end. */
export function* readLogFile(
  fd: number,
  path: string,
  queue: LogQueue,
  options: LogReadOptions = {},
): Generator<LogEntry> {
  try {
    let entry: MutableEntry | undefined;
    for (const bytes of lines(fd)) {
      const line = printable(bytes, options.utf8 === true);
      if (line === "") {
        if (entry !== undefined) yield entry;
        entry = undefined;
        continue;
      }
      entry ??= emptyEntry(queue);
      readLine(entry, line, path);
    }
  } finally {
    closeSync(fd);
  }
}

type MutableEntry = { -readonly [K in keyof LogEntry]: LogEntry[K] };

const emptyEntry = (queue: LogQueue): MutableEntry => ({
  recipient: "(recipient address unavailable)",
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
  reason: "(description unavailable)",
});

const addressOrUnknown = (address: string): string =>
  address === "" || address === "<>" ? "(MAILER-DAEMON)" : address;

function readLine(entry: MutableEntry, line: string, path: string): void {
  if (isAlnumCode(line.charCodeAt(0))) {
    const parsed = splitNameValue(line);
    if (parsed.kind === "malformed") warning(`${path}: malformed record: ${parsed.error}`);
    else if (!setField(entry, parsed.name, parsed.value))
      warning(`${path}: unknown attribute name: ${parsed.name}, ignored`);
    return;
  }
  const end = line.indexOf(">: ");
  if (line.startsWith("<") && end > 0) {
    entry.recipient = addressOrUnknown(line.slice(1, end));
    const reason = trimStartSpace(line.slice(end + 3));
    if (reason !== "") entry.reason = reason;
    return;
  }
  warning(`${path}: malformed record: ${line.slice(0, 100)}...`);
}

function setField(entry: MutableEntry, name: string, value: string): boolean {
  switch (name) {
    case "recipient":
      entry.recipient = addressOrUnknown(value);
      return true;
    case "original_recipient":
      entry.originalRecipient = addressOrUnknown(value);
      return true;
    case "offset":
      entry.offset = readDecimal(value) ?? 0;
      return true;
    case "dsn_orig_rcpt":
      entry.dsnOriginalRecipient = value;
      return true;
    case "notify_flags":
      entry.notifyFlags = readDecimal(value, 15) ?? 0;
      return true;
    case "status":
      if (value !== "") entry.status = value;
      return true;
    case "action":
      if (value !== "") entry.action = value;
      return true;
    case "diag_type":
      entry.diagnosticType = value;
      return true;
    case "diag_text":
      entry.diagnosticText = value;
      return true;
    case "mta_type":
      entry.mtaType = value;
      return true;
    case "mta_mname":
      entry.mtaName = value;
      return true;
    case "reason":
      if (value !== "") entry.reason = value;
      return true;
    default:
      return false;
  }
}

/** Lines without their line end; a last one without newline counts, as an entry it is unfinished anyway. */
function* lines(fd: number): Generator<string> {
  const chunk = spare.pop() ?? Buffer.allocUnsafeSlow(CHUNK);
  try {
    yield* linesOf(fd, chunk);
  } finally {
    spare.push(chunk);
  }
}

/** Buffers of readers that are done: showq reads very many logs. */
const spare: Buffer[] = [];

function* linesOf(fd: number, chunk: Buffer): Generator<string> {
  let begun = "";
  for (;;) {
    const count = readSync(fd, chunk, 0, CHUNK, null);
    if (count === 0) break;
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, start);
      if (end < 0 || end >= count) break;
      yield begun + fromBytes(chunk.subarray(start, end));
      begun = "";
      start = end + 1;
    }
    if (begun.length < LINE_LIMIT) begun += fromBytes(chunk.subarray(start, count));
    // a file gives less than is asked for at its end alone
    if (count < CHUNK) break;
  }
  if (begun !== "") yield begun;
}
