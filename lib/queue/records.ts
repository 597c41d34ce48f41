/** The records of queue files and of the stream to cleanup: a type byte, a length of 7 bits per byte (least significant first), data. */

/** Record types by the name they have in the manuals and in cleanup's language. Values are the type bytes. */
export const Rec = {
  SIZE: 0x43,
  TIME: 0x54,
  CREATE_TIME: 0x63,
  FULL_NAME: 0x46,
  INSPECTOR: 0x49,
  /** In the envelope and extracted segments; the same letter as CONTINUED. */
  FILTER: 0x4c,
  FROM: 0x53,
  DONE: 0x44,
  RECIPIENT: 0x52,
  ORIGINAL_RECIPIENT: 0x4f,
  CANCELED: 0x2f,
  WARN_TIME: 0x57,
  ATTRIBUTE: 0x41,
  KILLED: 0x4b,
  REDIRECT: 0x3e,
  CONTENT: 0x4d,
  NORMAL: 0x4e,
  /** A piece of a line that goes on in the next NORMAL or CONTINUED record. */
  CONTINUED: 0x4c,
  PADDING: 0x77,
  EXTRACTED: 0x58,
  RETURN_RECEIPT: 0x72,
  ERRORS_TO: 0x65,
  PRIORITY: 0x50,
  POINTER: 0x70,
  VERP: 0x56,
  END: 0x45,
  DSN_RET: 0x3c,
  DSN_ENVELOPE_ID: 0x69,
  DSN_ORIGINAL_RECIPIENT: 0x6f,
  DSN_NOTIFY: 0x6e,
  FLAGS: 0x66,
  MILTER_COUNT: 0x6d,
} as const;

/** Not a record: end of input between two records. */
export const REC_EOF = -1;
/** Not a record: malformed input; the cause was logged. The value appears in pickup's log line. */
export const REC_ERROR = -2;
/** Not a record: an incremental decoder needs more input. */
export const REC_MORE = -3;

/** What postcat prints. FILTER's name stands for `L`, as postcat prints it outside the content. */
const NAMES: ReadonlyArray<readonly [number, string]> = [
  [Rec.SIZE, "message_size"],
  [Rec.TIME, "message_arrival_time"],
  [Rec.CREATE_TIME, "queue_file_create_time"],
  [Rec.FULL_NAME, "sender_fullname"],
  [Rec.INSPECTOR, "content_inspector"],
  [Rec.FILTER, "content_filter"],
  [Rec.FROM, "sender"],
  [Rec.DONE, "done_recipient"],
  [Rec.RECIPIENT, "recipient"],
  [Rec.ORIGINAL_RECIPIENT, "original_recipient"],
  [Rec.CANCELED, "canceled_recipient"],
  [Rec.WARN_TIME, "warning_message_time"],
  [Rec.ATTRIBUTE, "named_attribute"],
  [Rec.KILLED, "killed_record"],
  [Rec.REDIRECT, "redirect_to"],
  [Rec.CONTENT, "message_content"],
  [Rec.NORMAL, "regular_text"],
  [Rec.PADDING, "padding"],
  [Rec.EXTRACTED, "extracted_info"],
  [Rec.RETURN_RECEIPT, "return_receipt"],
  [Rec.ERRORS_TO, "errors_to"],
  [Rec.PRIORITY, "priority"],
  [Rec.POINTER, "pointer_record"],
  [Rec.VERP, "verp_delimiters"],
  [Rec.END, "message_end"],
  [Rec.DSN_RET, "dsn_return_flags"],
  [Rec.DSN_ENVELOPE_ID, "dsn_envelope_id"],
  [Rec.DSN_ORIGINAL_RECIPIENT, "dsn_original_recipient"],
  [Rec.DSN_NOTIFY, "dsn_notify_flags"],
  [Rec.FLAGS, "flags"],
];

/** Name of a record type in postcat's output and in diagnostics. */
export const recordTypeName = (type: number): string =>
  NAMES.find(([code]) => code === type)?.[1] ?? "unknown_record_type";

/** The record types that one part of a message may hold; the first letter ends that part. */
export class RecordSet {
  readonly terminator: number;
  #members: Uint8Array | undefined;
  constructor(readonly letters: string) {
    this.terminator = letters.charCodeAt(0);
  }
  has(type: number): boolean {
    this.#members ??= membership(this.letters);
    return this.#members[type] === 1;
  }
}

function membership(letters: string): Uint8Array {
  const members = new Uint8Array(256);
  for (const byte of Buffer.from(letters, "latin1")) members[byte] = 1;
  return members;
}

/** The sets of each reader (cleanup, qmgr, pickup, postcat; POST_* are postdrop's). */
export const RecordSets = {
  ENVELOPE: new RecordSet("MCTcFILSDRO/WVA>K<ion"),
  CONTENT: new RecordSet("XLNw"),
  EXTRACT: new RecordSet("EDRO/PreAFIL>Kon"),
  ENVELOPE_RECIPIENT: new RecordSet("MDRO/Kon"),
  EXTRACT_RECIPIENT: new RecordSet("EDRO/Kon"),
  POST_ENVELOPE: new RecordSet("MCFSRVAin"),
  POST_CONTENT: new RecordSet("XLN"),
  POST_EXTRACT: new RecordSet("EAR"),
} as const;

/** Largest length that four length bytes can state. */
export const MAX_RECORD_LENGTH = 2 ** 28 - 1;
/** Bytes of a pointer record: type, length, 15 digits. */
export const POINTER_RECORD_SIZE = 17;

/** Number of length bytes for a data length. */
export const lengthBytes = (length: number): number =>
  length < 0x80 ? 1 : length < 0x4000 ? 2 : length < 0x200000 ? 3 : length < 0x10000000 ? 4 : 5;

/** Bytes that a record with so much data occupies. */
export const recordSize = (length: number): number => 1 + lengthBytes(length) + length;

/** Writes type and length at `at` and gives the offset after them. */
export function putRecordHeader(target: Uint8Array, at: number, type: number, length: number): number {
  target[at++] = type;
  let rest = length;
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}

/** One record as bytes. */
export function encodeRecord(type: number, data: string | Uint8Array = ""): Buffer {
  const record = Buffer.allocUnsafe(recordSize(data.length));
  const at = putRecordHeader(record, 0, type, data.length);
  if (typeof data === "string") record.write(data, at, "latin1");
  else record.set(data, at);
  return record;
}

/** An integer as SIZE, WARN_TIME and POINTER records hold it (`%15ld`). */
export const padNumber = (value: number): string => String(value).padStart(15);

/** Bytes of a type and the longest length. */
export const RECORD_HEAD_LIMIT = 6;

/** Data of a padding record (or of the dummy pointer after a short sender) that occupies max(3, size) bytes with its header. */
export const paddingData = (size: number): string => "0".padStart(Math.max(1, size - 2));

/** Data of a TIME record. */
export const timeData = (time: { readonly seconds: number; readonly microseconds: number }): string =>
  `${time.seconds} ${time.microseconds}`;
