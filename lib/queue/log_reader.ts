/** Reads bounce, defer and trace logs entry by entry, new and old style. */

import { warning } from "../log/log.ts";
import { isAlnumCode, isSpaceCode, pathOf, printable, trimStartSpace } from "../sys/bytes.ts";
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
): LogReader | undefined {
  const path = queues.path(queue, id);
  if (!queues.files.exists(path)) return undefined;
  const fd = unless(["ENOENT"], () => openSync(pathOf(path), "r"));
  return fd === undefined ? undefined : new LogReader(fd, path, queue, options);
}

/** An open log, read piece by piece. */
export class LogReader implements Iterable<LogEntry> {
  readonly queue: LogQueue;
  readonly #path: string;
  readonly #utf8: boolean;
  readonly #chunk = spare.pop() ?? Buffer.allocUnsafeSlow(CHUNK);
  #fd: number;
  /** What was read; where the next line begins in it; whether it is printable as it is. */
  #text = "";
  #at = 0;
  #clean = true;
  #ended = false;

  constructor(fd: number, path: string, queue: LogQueue, options: LogReadOptions) {
    this.queue = queue;
    this.#path = path;
    this.#utf8 = options.utf8 === true;
    this.#fd = fd;
  }

  /** The next entry; undefined at the end, when the log is closed. One that is unfinished there does not count. */
  next(): LogEntry | undefined {
    let entry: MutableEntry | undefined;
    for (;;) {
      const start = this.#at;
      let end = this.#text.indexOf("\n", start);
      if (end < 0) {
        if (this.#fill()) continue;
        end = this.#text.length;
        if (start >= end) break;
      }
      this.#at = end + 1;
      if (end > start) {
        entry ??= emptyEntry(this.queue);
        this.#readLine(entry, start, end);
      } else if (entry !== undefined) return entry;
    }
    this.close();
    return undefined;
  }

  #readLine(entry: MutableEntry, start: number, end: number): void {
    if (this.#clean) {
      readLine(entry, this.#text, start, end, this.#path);
      return;
    }
    const line = printable(this.#text.slice(start, end), this.#utf8);
    readLine(entry, line, 0, line.length, this.#path);
  }

  /** Reads on, after what is left of the text; false at the end. */
  #fill(): boolean {
    if (this.#ended) return false;
    const count = readSync(this.#fd, this.#chunk, 0, CHUNK, null);
    // a file gives less than is asked for at its end alone
    this.#ended = count < CHUNK;
    const rest = this.#text.slice(this.#at);
    const read = this.#chunk.toString("latin1", 0, count);
    this.#text = rest + (rest.length < LINE_LIMIT ? read : read.slice(lineEnd(read)));
    this.#at = 0;
    this.#clean = !UNCLEAN.test(this.#text);
    return true;
  }

  /** For who does not read to the end. */
  close(): void {
    if (this.#fd < 0) return;
    spare.push(this.#chunk);
    closeSync(this.#fd);
    this.#fd = -1;
    this.#ended = true;
  }

  *[Symbol.iterator](): Generator<LogEntry> {
    try {
      for (let entry = this.next(); entry !== undefined; entry = this.next()) yield entry;
    } finally {
      this.close();
    }
  }
}

/** Buffers of readers that are done: showq reads very many logs. */
const spare: Buffer[] = [];

const lineEnd = (text: string): number => (text.includes("\n") ? text.indexOf("\n") : text.length);

const UNCLEAN = /[^\n -~]/;

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

/** The part of a text without white space at its ends. */
function trimmed(text: string, start: number, end: number): string {
  while (start < end && isSpaceCode(text.charCodeAt(start))) start++;
  while (end > start && isSpaceCode(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function readLine(entry: MutableEntry, text: string, start: number, end: number, path: string): void {
  const equals = text.indexOf("=", start);
  // the common case: nothing is white space but what may surround the value
  if (
    equals < 0 ||
    equals > end ||
    !setField(entry, text.slice(start, equals), trimmed(text, equals + 1, end))
  )
    readUnusualLine(entry, text.slice(start, end), path);
}

function readUnusualLine(entry: MutableEntry, line: string, path: string): void {
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
