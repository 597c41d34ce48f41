/** Internet addresses as bytes, and their text forms (RFC 5952 as inet_ntop writes it). */

/** 4 or 16 bytes; undefined when the text is no numeric address. */
export function parseInet(text: string): Uint8Array | undefined {
  if (text.includes(":")) return parseV6(text);
  return parseV4(text);
}

const DOTTED = /^(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})$/;

function parseV4(text: string): Uint8Array | undefined {
  const octets = DOTTED.exec(text);
  if (octets === null) return undefined;
  const bytes = new Uint8Array(4);
  for (let index = 0; index < 4; index++) {
    const value = Number(octets[index + 1]);
    if (value > 255) return undefined;
    bytes[index] = value;
  }
  return bytes;
}

const GROUP = /^[0-9A-Fa-f]{1,4}$/;

function parseV6(text: string): Uint8Array | undefined {
  if (text.length > 45) return undefined;
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const parts = halves.map((half, index) => parseGroups(half, index === halves.length - 1));
  const [head, tail] = parts;
  if (head === undefined) return undefined;
  if (halves.length === 1) return head.length === 16 ? Uint8Array.from(head) : undefined;
  if (tail === undefined || head.length + tail.length > 14) return undefined;
  return Uint8Array.from([...head, ...Array<number>(16 - head.length - tail.length).fill(0), ...tail]);
}

function parseGroups(half: string, last: boolean): number[] | undefined {
  if (half === "") return [];
  const bytes: number[] = [];
  const groups = half.split(":");
  for (const [index, group] of groups.entries()) {
    if (GROUP.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
      continue;
    }
    const v4 = last && index === groups.length - 1 ? parseV4(group) : undefined;
    if (v4 === undefined) return undefined;
    bytes.push(...v4);
  }
  return bytes;
}

export function formatInet(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from(
    { length: 8 },
    (_, index) => ((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0),
  );
  const { start, length } = longestZeroRun(groups);
  const embedsV4 = start === 0 && (length === 6 || (length === 5 && groups[5] === 0xffff));
  const hex = (part: ReadonlyArray<number>): string => part.map((group) => group.toString(16)).join(":");
  if (embedsV4) return `${length === 6 ? "::" : "::ffff:"}${bytes.subarray(12).join(".")}`;
  if (length < 2) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

function longestZeroRun(groups: ReadonlyArray<number>): { start: number; length: number } {
  let best = { start: -1, length: 0 };
  let start = 0;
  for (let index = 0; index <= groups.length; index++) {
    if (groups[index] === 0) continue;
    if (index - start > best.length) best = { start, length: index - start };
    start = index + 1;
  }
  return best;
}

/** Number of leading one bits of a network mask. */
export function maskLength(mask: Uint8Array): number {
  let length = 0;
  for (const byte of mask) {
    if (byte !== 0xff) return length + Math.clz32(~byte << 24);
    length += 8;
  }
  return length;
}

/** The network part of an address. */
export function maskInet(address: Uint8Array, length: number): Uint8Array {
  return address.map((byte, index) => byte & (0xff << Math.max(0, Math.min(8, 8 * (index + 1) - length))));
}

/** IPv4 before IPv6, then by value. */
export const compareInet = (a: Uint8Array, b: Uint8Array): number =>
  a.length - b.length || Buffer.compare(a, b);

export const isLoopback = (address: Uint8Array): boolean =>
  address.length === 4 ? address[0] === 127 : formatInet(address) === "::1";
export const isUnspecified = (address: Uint8Array): boolean => address.every((byte) => byte === 0);
