/** `d.d.d.d` patterns of DNS list answers; each part a number or `[n;n..m;...]` (postconf(5), reject_rbl_client). */
import { readDecimal } from "../../../lib/sys/numbers.ts";

type Range = readonly [number, number];

/** A test of an IPv4 address against the pattern; undefined when the pattern is malformed. */
export function parsePattern(pattern: string): ((address: string) => boolean) | undefined {
  const parts: Range[][] = [];
  let rest = pattern;
  for (let i = 0; i < 4; i++) {
    const close = rest.startsWith("[") ? rest.indexOf("]") : -1;
    let part: string;
    if (rest.startsWith("[")) {
      if (close < 0) return undefined;
      part = rest.slice(1, close);
      rest = rest.slice(close + 1);
    } else {
      const dot = rest.indexOf(".");
      part = dot < 0 ? rest : rest.slice(0, dot);
      rest = dot < 0 ? "" : rest.slice(dot);
    }
    const ranges = parseRanges(part);
    if (ranges === undefined) return undefined;
    parts.push(ranges);
    if (i < 3) {
      if (!rest.startsWith(".")) return undefined;
      rest = rest.slice(1);
    }
  }
  if (rest !== "") return undefined;
  return (address) => {
    const octets = address.split(".").map(Number);
    return (
      octets.length === 4 &&
      parts.every((ranges, i) =>
        ranges.some(([low, high]) => (octets[i] ?? -1) >= low && (octets[i] ?? 256) <= high),
      )
    );
  };
}

function parseRanges(text: string): Range[] | undefined {
  const ranges: Range[] = [];
  for (const item of text.split(";")) {
    const [low, high, ...more] = item.split("..").map((bound) => readDecimal(bound, 255));
    if (low === undefined || more.length > 0) return undefined;
    if (item.includes("..") && high === undefined) return undefined;
    if (high !== undefined && high < low) return undefined;
    ranges.push([low, high ?? low]);
  }
  return ranges;
}
