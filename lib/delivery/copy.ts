/** A message on its way out of the queue: trace header lines, content, quoting (delivery.md 3.1). */
import { internalToExternal } from "../address/quote.ts";
import { ascTime } from "../message/date.ts";
import { RecordReader } from "../queue/record_reader.ts";
import { Rec } from "../queue/records.ts";
import { toBytes } from "../sys/bytes.ts";
import { errorCode, errorText } from "../sys/errno.ts";
import { type Dsn, dsn } from "./status.ts";

export interface CopyOptions {
  /** `From sender  date` in front. */
  readonly fromLine?: boolean;
  readonly returnPath?: boolean;
  /** X-Original-To, when there is an original recipient. */
  readonly originalTo?: boolean;
  readonly deliveredTo?: boolean;
  /** `>` before lines that begin with `From `. */
  readonly quoteFrom?: boolean;
  /** `.` before lines that begin with `.`. */
  readonly dotStuff?: boolean;
  /** An empty line after the message. */
  readonly blankLine?: boolean;
  readonly endOfLine?: string;
}

/** What a UNIX mailbox gets. */
export const MBOX: CopyOptions = {
  fromLine: true,
  returnPath: true,
  originalTo: true,
  deliveredTo: true,
  quoteFrom: true,
  blankLine: true,
};
export const MAILDIR: CopyOptions = { returnPath: true, originalTo: true, deliveredTo: true };
export const COMMAND: CopyOptions = { fromLine: true, returnPath: true, originalTo: true, deliveredTo: true };

export interface CopySource {
  readonly fd: number;
  /** Name of the queue file for warnings. */
  readonly path: string;
  /** Offset of the first content record. */
  readonly offset: number;
  /** Content length in the queue file, a hint. */
  readonly size: number;
  /** Envelope sender in internal form. */
  readonly sender: string;
  /** Empty: none, or not wanted (enable_original_recipient). */
  readonly originalRecipient: string;
  readonly delivered: string;
}

export type CopyEnd =
  | { readonly kind: "complete"; readonly lines: number }
  /** A record that has no place there; the caller marks the queue file corrupt. */
  | { readonly kind: "corrupt"; readonly recordType: number }
  | { readonly kind: "unreadable"; readonly dsn: Dsn };

/** The lines in front of the message. */
export function copyHeader(
  source: CopySource,
  options: CopyOptions,
  now: number = Date.now() / 1000,
): string {
  const eol = options.endOfLine ?? "\n";
  const sender = internalToExternal(source.sender);
  let text = "";
  if (options.fromLine === true)
    text += `From ${source.sender === "" ? "MAILER-DAEMON" : sender}  ${ascTime(now)}${eol}`;
  if (options.returnPath === true) text += `Return-Path: <${source.sender === "" ? "" : sender}>${eol}`;
  if (options.originalTo === true && source.originalRecipient !== "")
    text += `X-Original-To: ${internalToExternal(source.originalRecipient)}${eol}`;
  if (options.deliveredTo === true) text += `Delivered-To: ${internalToExternal(source.delivered)}${eol}`;
  return text;
}

/** A reader placed at the first content record, with a buffer that suits the message. */
export const contentReader = (source: Pick<CopySource, "fd" | "path" | "offset" | "size">): RecordReader =>
  new RecordReader(source.fd, source.path, {
    start: source.offset,
    bufferSize: Math.min(OUTPUT, Math.max(4096, source.size + 1024)),
  });

const OUTPUT = 65536;
const FROM = Buffer.from("From ", "latin1");
const DOT = 0x2e;

/**
 * Yields the message in chunks; a chunk is valid until the next one is asked for. The return value says how the content ended.
 * Reading is synchronous: the caller may be acting as the recipient.
 */
export function* copyMessage(
  source: CopySource,
  options: CopyOptions,
  now?: number,
): Generator<Buffer, CopyEnd> {
  const eol = toBytes(options.endOfLine ?? "\n");
  const header = toBytes(copyHeader(source, options, now));
  const out = Buffer.allocUnsafe(
    Math.max(Math.min(OUTPUT, source.size + header.length + 256), header.length + 256),
  );
  let used = header.copy(out);
  let lines = 0;
  let atLineStart = true;
  const reader = contentReader(source);
  let type: number;
  try {
    for (;;) {
      type = reader.read();
      if (type !== Rec.NORMAL && type !== Rec.CONTINUED) break;
      const { source: memory, start, end } = reader;
      const length = end - start;
      if (used + length + eol.length + 1 > out.length) {
        if (used > 0) yield out.subarray(0, used);
        used = 0;
      }
      if (atLineStart && length > 0) {
        const first = memory[start];
        const quote =
          options.quoteFrom === true &&
          first === 0x46 &&
          length >= 5 &&
          memory.compare(FROM, 0, 5, start, start + 5) === 0
            ? 0x3e
            : options.dotStuff === true && first === DOT
              ? DOT
              : 0;
        if (quote !== 0) out[used++] = quote;
      }
      if (length + eol.length > out.length - used) {
        if (used > 0) yield out.subarray(0, used);
        used = 0;
        yield reader.data;
      } else used += memory.copy(out, used, start, end);
      atLineStart = type === Rec.NORMAL;
      if (atLineStart) {
        used += eol.copy(out, used);
        lines++;
      }
    }
  } catch (error) {
    return { kind: "unreadable", dsn: readErrorDsn(error) };
  }
  if (type !== Rec.EXTRACTED) return { kind: "corrupt", recordType: type };
  const tail = (atLineStart ? 0 : 1) + (options.blankLine === true ? 1 : 0);
  if (used + tail * eol.length > out.length) {
    yield out.subarray(0, used);
    used = 0;
  }
  for (let i = 0; i < tail; i++) used += eol.copy(out, used);
  if (used > 0) yield out.subarray(0, used);
  return { kind: "complete", lines };
}

function readErrorDsn(error: unknown): Dsn {
  const code = errorCode(error);
  if (code === undefined) throw error;
  return dsn(
    code === "EAGAIN" || code === "ESTALE" ? "4.3.0" : "5.3.0",
    `error reading message: ${errorText(error)}`,
  );
}

/** DSN code of a failed mailbox operation (delivery.md 3.2). */
export function mailboxStatus(code: string | undefined, fallback: string): string {
  switch (code) {
    case "EAGAIN":
    case "ESTALE":
      return "4.2.0";
    case "ENOSPC":
      return "4.3.0";
    case "EDQUOT":
    case "EFBIG":
      return "5.2.2";
    default:
      return fallback;
  }
}

/** The outcome of a write error while copying. */
export const writeErrorDsn = (error: unknown, fallback = "5.3.0"): Dsn =>
  dsn(mailboxStatus(errorCode(error), fallback), `error writing message: ${errorText(error)}`, {
    diagnosticType: "x-unix",
    diagnosticText: "input/output error",
  });
