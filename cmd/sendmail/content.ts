/** Cuts standard input into text records: lines, pieces of long lines, line ends, From_ lines, the lone dot (tools.md 2.7). */
import { Rec } from "../../lib/queue/records.ts";

export type LineEndings = "always" | "strict" | "never";

export interface ContentRules {
  /** line_length_limit */
  readonly limit: number;
  /** sendmail_fix_line_endings */
  readonly lineEndings: LineEndings;
  readonly dotIsText: boolean;
}

const LF = 0x0a;
const CR = 0x0d;
const DOT = 0x2e;
const GREATER = 0x3e;
const FROM = Buffer.from("From ");
const NOTHING = Buffer.alloc(0);

export class ContentCutter {
  #held: Buffer = NOTHING;
  #previous: number = Rec.NORMAL;
  #atStart = true;
  /** Unknown until the first complete line was seen. */
  #strip: boolean | undefined;
  #ended = false;

  constructor(
    private readonly rules: ContentRules,
    private readonly emit: (type: number, data: Buffer) => void,
  ) {
    if (rules.lineEndings !== "strict") this.#strip = rules.lineEndings === "always";
  }

  /** Takes input; false when a lone dot has ended the message. */
  push(chunk: Buffer): boolean {
    if (this.#ended) return false;
    const input = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = NOTHING;
    const { limit } = this.rules;
    let at = 0;
    let newline = -2;
    while (at < input.length) {
      if (newline !== -1 && newline < at) newline = input.indexOf(LF, at);
      if (newline >= 0 && newline - at < limit) {
        this.#line(input.subarray(at, newline));
        at = newline + 1;
      } else if (input.length - at >= limit) {
        this.#piece(input.subarray(at, at + limit));
        at += limit;
      } else break;
      if (this.#ended) return false;
    }
    // the chunk's memory is used again by the caller
    if (at < input.length) this.#held = Buffer.from(input.subarray(at));
    return true;
  }

  /** The end of the input: what is left is an unfinished line. */
  end(): void {
    if (this.#ended || this.#held.length === 0) return;
    this.#piece(this.#held);
    this.#held = NOTHING;
  }

  #line(text: Buffer): void {
    this.#strip ??= text.length > 0 && text[text.length - 1] === CR;
    if (this.#atStart) {
      if (isFromLine(text)) return;
      this.#atStart = false;
    }
    let end = text.length;
    if (this.#strip) while (end > 0 && text[end - 1] === CR) end--;
    this.#put(Rec.NORMAL, end === text.length ? text : text.subarray(0, end));
  }

  #piece(text: Buffer): void {
    this.#atStart = false;
    this.#put(Rec.CONTINUED, text);
  }

  #put(type: number, data: Buffer): void {
    if (data.length === 1 && data[0] === DOT && !this.rules.dotIsText && this.#previous !== Rec.CONTINUED) {
      this.#ended = true;
      return;
    }
    this.#previous = type;
    this.emit(type, data);
  }
}

function isFromLine(text: Buffer): boolean {
  let at = 0;
  while (text[at] === GREATER) at++;
  return text.length >= at + FROM.length && text.compare(FROM, 0, FROM.length, at, at + FROM.length) === 0;
}
