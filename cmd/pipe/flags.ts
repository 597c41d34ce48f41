/** The letters of `flags=`: how the message and the macros look (pipe(8)). */

/** Options of one service. */
export interface PipeFlags {
  /** B: an empty line after the message. */
  readonly blankLine: boolean;
  /** D: Delivered-To, and loops are detected by it. */
  readonly deliveredTo: boolean;
  /** F: a `From ` line in front. */
  readonly fromLine: boolean;
  /** O: X-Original-To. */
  readonly originalTo: boolean;
  /** R: Return-Path. */
  readonly returnPath: boolean;
  /** X: the command is the final destination. */
  readonly finalDelivery: boolean;
  /** `.`: a dot before lines that begin with one. */
  readonly dotStuff: boolean;
  /** `>`: `>` before lines that begin with `From `. */
  readonly quoteFrom: boolean;
  /** h: domains in lower case. */
  readonly foldDomain: boolean;
  /** q: localparts quoted where RFC 822 needs it. */
  readonly quoteAddresses: boolean;
  /** u: localparts in lower case. */
  readonly foldLocal: boolean;
}

const LETTERS: ReadonlyMap<string, keyof PipeFlags> = new Map([
  ["B", "blankLine"],
  ["D", "deliveredTo"],
  ["F", "fromLine"],
  ["O", "originalTo"],
  ["R", "returnPath"],
  ["X", "finalDelivery"],
  [".", "dotStuff"],
  [">", "quoteFrom"],
  ["h", "foldDomain"],
  ["q", "quoteAddresses"],
  ["u", "foldLocal"],
]);

/** Reads the letters; the first unknown one otherwise. */
export function parseFlags(
  text: string,
): { readonly ok: true; readonly flags: PipeFlags } | { readonly ok: false; readonly unknown: string } {
  const set = new Set<keyof PipeFlags>();
  for (const letter of text) {
    const flag = LETTERS.get(letter);
    if (flag === undefined) return { ok: false, unknown: letter };
    set.add(flag);
  }
  const flags = Object.fromEntries([...LETTERS.values()].map((flag) => [flag, set.has(flag)]));
  return { ok: true, flags: flags as unknown as PipeFlags };
}
