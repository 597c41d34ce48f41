/** Queue IDs: the name of a message file, made of the time and the file's inode number. */

declare const brand: unique symbol;
/** A valid queue ID: 1 to 255 letters, digits or underscores; safe in a path. */
export type QueueId = string & { readonly [brand]: "QueueId" };

const VALID_ID = /^[A-Za-z0-9_]{1,255}$/;
export const isQueueId = (text: string): text is QueueId => VALID_ID.test(text);
export const parseQueueId = (text: string): QueueId | undefined => (isQueueId(text) ? text : undefined);

const ALPHABET = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";
/** Digits of the inode number exclude the separator. */
const INODE_BASE = 51n;
const TIME_BASE = 52n;
const SEPARATOR = "z";
/** Least index of the separator: six digits of seconds and four of microseconds stand before it. */
const LEAST_SEPARATOR = 10;
const MAX_UINT64 = 2n ** 64n - 1n;

function encodeDigits(value: bigint, base: bigint, width: number): string {
  let digits = "";
  for (let rest = value; rest > 0n; rest /= base) digits = ALPHABET.charAt(Number(rest % base)) + digits;
  return digits.padStart(width, "0");
}

/** undefined for a character outside the alphabet or a value beyond 64 bits. */
function decodeDigits(text: string, base: bigint): bigint | undefined {
  let value = 0n;
  for (const char of text) {
    const digit = ALPHABET.indexOf(char);
    if (digit < 0 || digit >= Number(base)) return undefined;
    value = value * base + BigInt(digit);
    if (value > MAX_UINT64) return undefined;
  }
  return value;
}

export interface QueueIdParts {
  readonly seconds: number;
  readonly microseconds: number;
  readonly inode: bigint;
}

export const shortMicroseconds = (microseconds: number): string =>
  microseconds.toString(16).toUpperCase().padStart(5, "0");
export const shortInode = (inode: bigint): string => inode.toString(16).toUpperCase();
export const longInode = (inode: bigint): string => encodeDigits(inode, INODE_BASE, 0);

/** The ID of a new file; the long form when `long` (enable_long_queue_ids). */
export function makeQueueId(parts: QueueIdParts, long: boolean): QueueId {
  const id = long
    ? encodeDigits(BigInt(parts.seconds), TIME_BASE, 6) +
      encodeDigits(BigInt(parts.microseconds), TIME_BASE, 4) +
      SEPARATOR +
      longInode(parts.inode)
    : shortMicroseconds(parts.microseconds) + shortInode(parts.inode);
  return id as QueueId;
}

/** Index of the separator of a long ID; undefined for the short form. */
export function longSeparator(id: string): number | undefined {
  const at = id.lastIndexOf(SEPARATOR);
  return at >= LEAST_SEPARATOR ? at : undefined;
}
export const isLongQueueId = (id: string): boolean => longSeparator(id) !== undefined;

/** Microseconds in a long ID; undefined when its digits do not decode. */
function longMicroseconds(id: string, separator: number): number | undefined {
  let value = 0;
  for (let at = separator - 4; at < separator; at++) {
    const digit = ALPHABET.indexOf(id.charAt(at));
    if (digit < 0) return undefined;
    value = value * ALPHABET.length + digit;
  }
  return value;
}

const HEX = /^[0-9A-Fa-f]{1,16}$/;

/** Inode number in an ID of either form; undefined when there is none. */
export function inodeOf(id: string): bigint | undefined {
  const separator = longSeparator(id);
  if (separator !== undefined) {
    const digits = id.slice(separator + 1);
    return digits === "" ? undefined : decodeDigits(digits, INODE_BASE);
  }
  const digits = id.slice(5);
  return HEX.test(digits) ? BigInt(`0x${digits}`) : undefined;
}

/** Time of creation in an ID, as far as it tells: the short form has no seconds. */
export function timeOf(id: string): { seconds: number | undefined; microseconds: number } | undefined {
  const separator = longSeparator(id);
  if (separator === undefined) {
    const digits = id.slice(0, 5);
    return digits.length === 5 && HEX.test(digits)
      ? { seconds: undefined, microseconds: Number.parseInt(digits, 16) }
      : undefined;
  }
  const seconds = decodeDigits(id.slice(0, separator - 4), TIME_BASE);
  const microseconds = longMicroseconds(id, separator);
  return seconds === undefined || microseconds === undefined
    ? undefined
    : { seconds: Number(seconds), microseconds };
}

/** What the hash directories are named after: both forms hash on the hexadecimal microseconds. */
export function hashKey(id: string): string {
  const separator = longSeparator(id);
  return separator === undefined ? id : shortMicroseconds(longMicroseconds(id, separator) ?? 0);
}

/**
 * The ID that a file should have by its inode: for a long ID with long IDs in use the time part is kept; else the short
 * form is made of the microseconds.
 */
export function withInode(id: string, inode: bigint, long: boolean): QueueId {
  const separator = longSeparator(id);
  if (separator === undefined) return (id.slice(0, 5) + shortInode(inode)) as QueueId;
  if (long) return (id.slice(0, separator) + SEPARATOR + longInode(inode)) as QueueId;
  return (hashKey(id) + shortInode(inode)) as QueueId;
}
