/** The hot path of the body: records that need no look are copied in bulk, as they came. */
import { LINE, PIECE } from "../../lib/message/mime.ts";

export interface BodyRunOptions {
  /** Lines that begin with `--` need a look. */
  readonly boundaries: boolean;
  /** The record before was a piece of a line. */
  readonly inLine: boolean;
  readonly lineLimit: number;
  /** CR and LF inside records become blanks. */
  readonly replaceCrLf: boolean;
}

export interface BodyRun {
  /** Encoded bytes of the records that may pass. */
  readonly length: number;
  /** Their data bytes plus one each. */
  readonly counted: number;
  readonly lastType: number;
}

const CR = 0x0d;
const LF = 0x0a;
const SPACE = 0x20;
const DASH = 0x2d;

/** How many complete text records at the start of `bytes` may pass. Stray CR and LF are replaced in place. */
export function bodyRun(bytes: Buffer, options: BodyRunOptions): BodyRun {
  const { boundaries, lineLimit } = options;
  const end = bytes.length;
  const cr = options.replaceCrLf ? new Finder(bytes, CR) : undefined;
  const lf = options.replaceCrLf ? new Finder(bytes, LF) : undefined;
  let inLine = options.inLine;
  let at = 0;
  let counted = 0;
  let lastType = LINE;
  while (at < end) {
    const type = bytes[at];
    if (type !== LINE && type !== PIECE) break;
    let data = at + 1;
    let length = 0;
    let shift = 0;
    let complete = false;
    while (data < end && shift < 28) {
      const byte = bytes[data++] ?? 0;
      length |= (byte & 0x7f) << shift;
      shift += 7;
      if (byte < 0x80) {
        complete = true;
        break;
      }
    }
    if (!complete || length > lineLimit || data + length > end) break;
    if (boundaries && !inLine && length >= 2 && bytes[data] === DASH && bytes[data + 1] === DASH) break;
    cr?.blank(data, data + length);
    lf?.blank(data, data + length);
    at = data + length;
    counted += length + 1;
    lastType = type;
    inLine = type === PIECE;
  }
  return { length: at, counted, lastType };
}

/** Finds a byte value in growing ranges; each byte is searched once, apart from hits in record headers. */
class Finder {
  #next = -1;
  constructor(
    private readonly bytes: Buffer,
    private readonly value: number,
  ) {}

  /** Overwrites the byte value with a blank within the range. */
  blank(start: number, end: number): void {
    if (this.#next < start) this.#seek(start);
    while (this.#next < end) {
      this.bytes[this.#next] = SPACE;
      this.#seek(this.#next + 1);
    }
  }
  #seek(from: number): void {
    const found = this.bytes.indexOf(this.value, from);
    this.#next = found < 0 ? Number.POSITIVE_INFINITY : found;
  }
}

/** Replaces CR and LF in one record, in place. */
export function blankStrayLineEnds(data: Buffer): void {
  for (const value of [CR, LF]) {
    const finder = new Finder(data, value);
    finder.blank(0, data.length);
  }
}
