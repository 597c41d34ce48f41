/**
 * Message content as it comes from the network, DATA and BDAT, split into lines. Chunks are scanned with indexOf and handed on
 * by reference; only a line that straddles two chunks is copied. No more than one piece of a line is ever held back.
 */

export interface ContentSink {
  /**
   * One line, or (not `whole`) a piece of a longer line that goes on, without its line end. `stuffed`: a dot was taken off its
   * front. The bytes are valid during the call only.
   */
  record(whole: boolean, bytes: Buffer, start: number, end: number, stuffed: boolean): void;
}

export interface LineRules {
  /** Longest piece of a line, in bytes (line_length_limit). */
  readonly lineLimit: number;
  /** Bare LF is told apart from CR LF: only one CR is taken off, and only CR LF `.` CR LF ends DATA (smtpd_forbid_bare_newline). */
  readonly detectBareLf: boolean;
}

const LF = 0x0a;
const CR = 0x0d;
const DOT = 0x2e;
const EMPTY = Buffer.alloc(0);

abstract class LineSplitter {
  protected readonly sink: ContentSink;
  protected readonly lineLimit: number;
  protected readonly detectBareLf: boolean;
  /** A line ended by LF alone was seen while looking for such. */
  sawBareLf = false;
  /** Start of a line whose end has not come yet, no longer than a piece. */
  private carry: Buffer = EMPTY;

  constructor(sink: ContentSink, rules: LineRules) {
    this.sink = sink;
    this.lineLimit = rules.lineLimit;
    this.detectBareLf = rules.detectBareLf;
  }

  /** Bytes received of a line whose end has not come. */
  get pending(): number {
    return this.carry.length;
  }

  protected takeCarry(): Buffer {
    const carry = this.carry;
    this.carry = EMPTY;
    return carry;
  }

  /** Takes one line or piece; true ends the stream. */
  protected abstract line(
    whole: boolean,
    bytes: Buffer,
    start: number,
    end: number,
    bareLf: boolean,
  ): boolean;

  /** Takes a chunk; returns the index behind the end of the content, or -1 when more is to come. */
  push(chunk: Buffer): number {
    let at = 0;
    let lf = -2;
    while (this.carry.length > 0 && at < chunk.length) {
      if (lf !== -1 && lf < at) lf = chunk.indexOf(LF, at);
      const end = Math.min(lf < 0 ? chunk.length : lf + 1, at + this.lineLimit);
      const carry = this.takeCarry();
      const done = this.scan(Buffer.concat([carry, chunk.subarray(at, end)]), 0);
      if (done >= 0) return at + done - carry.length;
      at = end;
    }
    return at < chunk.length ? this.scan(chunk, at) : -1;
  }

  private scan(chunk: Buffer, from: number): number {
    const limit = this.lineLimit;
    let at = from;
    while (at < chunk.length) {
      const lf = chunk.indexOf(LF, at);
      const stop = lf < 0 ? chunk.length : lf;
      // A CR that fills a piece may belong to the line end behind it.
      while (stop - at > limit || (stop - at === limit && chunk[stop - 1] !== CR)) {
        this.line(false, chunk, at, at + limit, false);
        at += limit;
      }
      if (lf < 0) {
        if (at < chunk.length) this.carry = Buffer.from(chunk.subarray(at));
        return -1;
      }
      if (this.wholeLine(chunk, at, lf)) return lf + 1;
      at = lf + 1;
    }
    return -1;
  }

  private wholeLine(chunk: Buffer, start: number, lf: number): boolean {
    if (lf === start || chunk[lf - 1] !== CR) {
      if (this.detectBareLf) this.sawBareLf = true;
      return this.line(true, chunk, start, lf, true);
    }
    let end = lf - 1;
    if (!this.detectBareLf) while (end > start && chunk[end - 1] === CR) end--;
    return this.line(true, chunk, start, end, false);
  }
}

/** The content after DATA: dots are removed, `.` on a line of its own ends it. RFC 5321 section 4.5.2. */
export class DataSplitter extends LineSplitter {
  private midLine = false;
  private previousBareLf = false;

  protected override line(
    whole: boolean,
    bytes: Buffer,
    start: number,
    end: number,
    bareLf: boolean,
  ): boolean {
    const atStart = !this.midLine;
    const mixed = bareLf || this.previousBareLf;
    this.midLine = !whole;
    if (whole) this.previousBareLf = bareLf;
    if (atStart && start < end && bytes[start] === DOT) {
      if (whole && end - start === 1) {
        // SMTP smuggling: a lone dot next to a bare LF is neither the end nor content.
        return !(this.detectBareLf && mixed);
      }
      this.sink.record(whole, bytes, start + 1, end, true);
      return false;
    }
    this.sink.record(whole, bytes, start, end, false);
    return false;
  }
}

/** The content of BDAT chunks: no dots; lines may straddle chunks. RFC 3030. */
export class ChunkSplitter extends LineSplitter {
  private midLine = false;

  protected override line(whole: boolean, bytes: Buffer, start: number, end: number): boolean {
    this.midLine = !whole;
    this.sink.record(whole, bytes, start, end, false);
    return false;
  }

  /** The last chunk has been pushed: an unfinished line is a line. */
  finish(): void {
    const carry = this.takeCarry();
    if (carry.length > 0 || this.midLine) this.line(true, carry, 0, carry.length);
  }
}
