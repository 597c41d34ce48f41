/** Named attributes (`name=value`) in queue file records and log files. */
import { isSpaceCode, trimSpace } from "../sys/bytes.ts";
import { readDecimal } from "../sys/numbers.ts";
import { Rec } from "./records.ts";

export type NamedAttribute =
  | { readonly kind: "attribute"; readonly name: string; readonly value: string }
  | { readonly kind: "malformed"; readonly error: string };

const EQUALS = 0x3d;

/** Splits `name = value`; white space around both is dropped. */
export function splitNameValue(text: string): NamedAttribute {
  let start = 0;
  while (start < text.length && isSpaceCode(text.charCodeAt(start))) start++;
  let end = start;
  for (; end < text.length; end++) {
    const code = text.charCodeAt(end);
    if (code === EQUALS || isSpaceCode(code)) break;
  }
  if (end === start) return { kind: "malformed", error: "missing attribute name" };
  let equals = end;
  while (equals < text.length && isSpaceCode(text.charCodeAt(equals))) equals++;
  if (text.charCodeAt(equals) !== EQUALS)
    return { kind: "malformed", error: "missing '=' after attribute name" };
  return { kind: "attribute", name: text.slice(start, end), value: trimSpace(text.slice(equals + 1)) };
}

/** The record type that an attribute stands for (DSN parameters and the time of creation), or 0. */
export function attributeRecordType(name: string): number {
  switch (name) {
    case "dsn_orig_rcpt":
      return Rec.DSN_ORIGINAL_RECIPIENT;
    case "notify_flags":
      return Rec.DSN_NOTIFY;
    case "envelope_id":
      return Rec.DSN_ENVELOPE_ID;
    case "ret_flags":
      return Rec.DSN_RET;
    case "create_time":
      return Rec.CREATE_TIME;
    default:
      return 0;
  }
}

/** Bits of notify_flags. RFC 3461 section 4.1 */
export const Notify = { NEVER: 1, SUCCESS: 2, FAILURE: 4, DELAY: 8 } as const;

/** notify_flags: exactly NEVER, or any other bits without it; undefined when malformed. */
export function readNotifyFlags(text: string): number | undefined {
  const flags = readDecimal(text, 14);
  if (flags === undefined || flags === 0) return undefined;
  return flags === Notify.NEVER || (flags & Notify.NEVER) === 0 ? flags : undefined;
}

/** ret_flags: 1 FULL, 2 HDRS; undefined when malformed. RFC 3461 section 4.3 */
export function readReturnFlags(text: string): 1 | 2 | undefined {
  return text === "1" ? 1 : text === "2" ? 2 : undefined;
}

/** Bits of trace_flags that a queue file may hold. */
export const TraceFlag = { MTA_VERIFY: 256, USER_VERIFY: 512, RECORD: 1024 } as const;
export const TRACE_FLAGS_IN_FILE = 256 | 512 | 1024;

/** The end of the year 9999: later times cannot be written as dates. */
export const LAST_TIME = 253_402_300_799;

const isBlankCode = (code: number): boolean => code === 0x20 || code === 0x09;

/** The text up to the first blank or tab, and what comes after these. */
function firstWord(text: string): readonly [string, string] {
  let end = 0;
  while (end < text.length && !isBlankCode(text.charCodeAt(end))) end++;
  let next = end;
  while (next < text.length && isBlankCode(text.charCodeAt(next))) next++;
  return [text.slice(0, end), text.slice(next)];
}

/** A TIME record, `seconds [microseconds]`; undefined when malformed or not a time that can be shown. */
export function readTime(text: string): { seconds: number; microseconds: number } | undefined {
  const [seconds, rest] = firstWord(trimSpace(text));
  const whole = readDecimal(seconds, LAST_TIME);
  if (whole === undefined || whole === 0) return undefined;
  const [microseconds] = firstWord(rest);
  return { seconds: whole, microseconds: readDecimal(microseconds, 999_999) ?? 0 };
}
