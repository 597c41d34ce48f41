/** Compatibility levels: `major[.minor[.patch]]`, compared as numbers (3.10 > 3.9). */
import { readDecimal } from "../sys/numbers.ts";

/** The levels at which some default changes; the last one is the recommended setting. */
export const KNOWN_LEVELS = ["0", "1", "2", "3.6", "3.11"] as const;
export const NEWEST_LEVEL = "3.11";

const MAX_MAJOR = 2 ** 43 - 1;
const MAX_PART = 1023;

/** The level as one number, undefined when the text is malformed. */
export function parseLevel(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length > 3) return undefined;
  const major = readDecimal(parts[0] ?? "", MAX_MAJOR);
  const minor = parts[1] === undefined ? 0 : readDecimal(parts[1], MAX_PART);
  const patch = parts[2] === undefined ? 0 : readDecimal(parts[2], MAX_PART);
  if (major === undefined || minor === undefined || patch === undefined) return undefined;
  return major * 2 ** 20 + minor * 2 ** 10 + patch;
}

export const compareLevels = (a: number, b: number): number => a - b;
