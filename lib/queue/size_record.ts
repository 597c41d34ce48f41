/** The SIZE record: six numbers of fixed width at the start of a queue file (queue manager's map of the file). */
import { padNumber } from "./records.ts";

export interface SizeFields {
  /** Bytes of the content segment, from `dataOffset` to the EXTRACTED record; edits by Milters do not change it. */
  readonly contentSize: number;
  /** Offset of the first content record. */
  readonly dataOffset: number;
  readonly recipientCount: number;
  /** Hints to the queue manager, `SizeHint`. */
  readonly hints: number;
  /** Content length in record bytes for logs and limits. */
  readonly messageLength: number;
  /** `SendOption` bits. */
  readonly sendOptions: number;
}

export const SizeHint = {
  /** Recipients are mixed with other records: read the whole envelope. */
  MIXED: 1,
  NOTIFY_NEVER: 2,
  NOTIFY_SUCCESS: 4,
  NOTIFY_FAILURE: 8,
  NOTIFY_DELAY: 16,
} as const;
const ALL_HINTS = 31;

export const SendOption = {
  SMTPUTF8_REQUESTED: 1,
  SMTPUTF8_HEADER: 2,
  SMTPUTF8_SENDER: 4,
  SMTPUTF8_RECIPIENT: 8,
  TLS_REQUIRED_NO: 16,
  REQUIRETLS: 32,
} as const;
/** Bits that cleanup derives from the message itself. */
export const DERIVED_SEND_OPTIONS = 2 | 4 | 8 | 16;
const ALL_SEND_OPTIONS = 63;

/** Bytes of data in a SIZE record: six 15-column numbers, five blanks. */
export const SIZE_DATA_LENGTH = 95;

export const encodeSize = (fields: SizeFields): string =>
  [
    fields.contentSize,
    fields.dataOffset,
    fields.recipientCount,
    fields.hints,
    fields.messageLength,
    fields.sendOptions,
  ]
    .map(padNumber)
    .join(" ");

/** The SIZE record that keeps the place for the real one. */
export const EMPTY_SIZE = `${" ".repeat(14)}0${`${" ".repeat(15)}0`.repeat(5)}`;

/** The preliminary SIZE record of a submission with sender options. */
export const encodePreliminarySize = (sendOptions: number): string =>
  [-1, -1, -1, -1, -1, sendOptions].map(padNumber).join(" ");

const INTEGER = /[ \t\n\v\f\r]{0,40}([+-]?[0-9]{1,19})/y;

/** Up to six decimal integers at the start of the text, as C scanf("%ld %ld ...") takes them. */
export function scanSizeNumbers(text: string): number[] {
  const numbers: number[] = [];
  INTEGER.lastIndex = 0;
  while (numbers.length < 6) {
    const match = INTEGER.exec(text);
    if (match === null) break;
    numbers.push(Number(match[1]));
  }
  return numbers;
}

export type SizeResult =
  | { readonly kind: "size"; readonly fields: SizeFields }
  /** One or two numbers: a file from before Postfix 1.0; `contentSize` alone is known. */
  | { readonly kind: "ancient"; readonly contentSize: number; readonly dataOffset: number }
  | { readonly kind: "invalid"; readonly why: "invalid size record" | "invalid flags in size record" };

/** Decodes a SIZE record as the queue manager does. */
export function decodeSize(text: string): SizeResult {
  const [contentSize, dataOffset, recipientCount, hints, messageLength, sendOptions] = scanSizeNumbers(text);
  if (contentSize === undefined) return { kind: "invalid", why: "invalid size record" };
  if (recipientCount === undefined) return { kind: "ancient", contentSize, dataOffset: dataOffset ?? 0 };
  if (dataOffset === undefined || dataOffset <= 0 || contentSize <= 0)
    return { kind: "invalid", why: "invalid size record" };
  if (hints !== undefined && (hints & ~ALL_HINTS) !== 0)
    return { kind: "invalid", why: "invalid flags in size record" };
  if (messageLength !== undefined && messageLength < 0)
    return { kind: "invalid", why: "invalid size record" };
  return {
    kind: "size",
    fields: {
      contentSize,
      dataOffset,
      recipientCount,
      hints: hints ?? SizeHint.MIXED,
      messageLength: messageLength === undefined || messageLength === 0 ? contentSize : messageLength,
      sendOptions: (sendOptions ?? 0) & ALL_SEND_OPTIONS,
    },
  };
}
