/** Sets of bytes written with C escapes (message_reject_characters, message_strip_characters). */

const ESCAPES: ReadonlyMap<string, number> = new Map([
  ["a", 7],
  ["b", 8],
  ["f", 12],
  ["n", 10],
  ["r", 13],
  ["t", 9],
  ["v", 11],
]);

/** One flag for each byte value; undefined when the text is empty. */
export function byteSet(text: string): Uint8Array | undefined {
  if (text === "") return undefined;
  const flags = new Uint8Array(256);
  for (const match of text.matchAll(/\\([0-7]{1,3})|\\([\s\S])|([\s\S])/g)) {
    const [, octal, escaped, plain] = match;
    if (octal !== undefined) flags[Number.parseInt(octal, 8) & 0xff] = 1;
    else if (escaped !== undefined) flags[ESCAPES.get(escaped) ?? escaped.charCodeAt(0)] = 1;
    else if (plain !== undefined) flags[plain.charCodeAt(0)] = 1;
  }
  return flags;
}

/** Whether a byte of the data is in the set. */
export function holdsAny(data: Uint8Array, set: Uint8Array): boolean {
  for (const byte of data) if (set[byte] === 1) return true;
  return false;
}

/** The data without the bytes of the set. */
export const without = (data: Uint8Array, set: Uint8Array): Uint8Array =>
  holdsAny(data, set) ? data.filter((byte) => set[byte] !== 1) : data;
