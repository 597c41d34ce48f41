/** Address patterns: `addr`, `addr/len`, `[v6]`, `[v6]/len`, `[v6/len]` (cidr_table(5), match lists). */
import { parseInet } from "../config/inet.ts";
import { readDecimal } from "../sys/numbers.ts";

export interface Network {
  /** 4 or 16 bytes. */
  readonly bytes: Uint8Array;
  /** Length of the network part. */
  readonly bits: number;
}

export type NetworkResult =
  | { readonly ok: true; readonly network: Network }
  | { readonly ok: false; readonly problem: string };

const LEADING_ZERO = /(?:^|[.:])0[0-9]+(?:\.|$)/;

/** The bytes of an address in text form as inet_pton() reads it (no leading zeros in dotted parts), else undefined. */
export function parseAddress(text: string): Uint8Array | undefined {
  if (text.includes(".") && LEADING_ZERO.test(text)) return undefined;
  return parseInet(text);
}

const bad = (problem: string): NetworkResult => ({ ok: false, problem });

/** Parses a pattern with all its brackets. */
export function parseNetwork(pattern: string): NetworkResult {
  if (!pattern.startsWith("[")) return parseBare(pattern);
  const close = pattern.indexOf("]");
  if (close < 0) return bad(`missing ']' character after "${pattern}"`);
  const inside = pattern.slice(1, close);
  const rest = pattern.slice(close + 1);
  if (rest !== "" && !rest.startsWith("/")) return bad(`garbage after "${pattern.slice(0, close + 1)}"`);
  return parseBare(inside + rest);
}

function parseBare(pattern: string): NetworkResult {
  const slash = pattern.indexOf("/");
  if (slash < 0) {
    const bytes = parseAddress(pattern);
    return bytes === undefined
      ? bad(`bad address pattern: "${pattern}"`)
      : { ok: true, network: { bytes, bits: bytes.length * 8 } };
  }
  const address = pattern.slice(0, slash);
  const bits = readDecimal(pattern.slice(slash + 1), 0xffffffff);
  if (bits === undefined) return bad(`bad mask value in "${pattern}"`);
  if (bits > (address.includes(":") ? 128 : 32)) return bad(`bad mask length in "${pattern}"`);
  const bytes = parseAddress(address);
  if (bytes === undefined) return bad(`bad network value in "${pattern}"`);
  const masked = mask(bytes, bits);
  if (Buffer.compare(bytes, masked) !== 0)
    return bad(
      `non-null host address bits in "${pattern}", perhaps you should use "${formatAddress(masked)}/${bits}" instead`,
    );
  return { ok: true, network: { bytes, bits } };
}

function mask(bytes: Uint8Array, bits: number): Uint8Array {
  const masked = Uint8Array.from(bytes);
  for (let i = 0; i < masked.length; i++) {
    const keep = Math.min(8, Math.max(0, bits - i * 8));
    masked[i] = (masked[i] ?? 0) & (0xff00 >> keep);
  }
  return masked;
}

/** Whether an address is in a network; never across address families. */
export function contains(network: Network, address: Uint8Array): boolean {
  const { bytes, bits } = network;
  if (bytes.length !== address.length) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (bytes[i] !== address[i]) return false;
  const rest = bits & 7;
  return rest === 0 || (((bytes[whole] ?? 0) ^ (address[whole] ?? 0)) & (0xff00 >> rest) & 0xff) === 0;
}

/** inet_ntop(). */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0));
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let run = i;
    while (run < 8 && groups[run] === 0) run++;
    if (run - i > length) {
      start = i;
      length = run - i;
    }
  }
  const mapped = start === 0 && (length === 6 || (length === 5 && groups[5] === 0xffff));
  const hex = (from: number, to: number): string =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(":");
  if (mapped) return `${length === 6 ? "::" : "::ffff:"}${bytes.subarray(12).join(".")}`;
  return start < 0 ? hex(0, 8) : `${hex(0, start)}::${hex(start + length, 8)}`;
}
