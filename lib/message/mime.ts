/** The structure of a message as it streams by, record for record: header blocks, nested messages, parts, body text (RFC 2045 to 2049). */
import { fromBytes, isAscii, lowerAscii } from "../sys/bytes.ts";
import { type ContentKind, type Encoding, parseContentType, parseEncoding } from "./content_type.ts";
import {
  foldedHeaderInfo,
  type HeaderInfo,
  headerInfo,
  headerValue,
  labelLength,
  normalizeLabel,
} from "./header.ts";
import { QuotedPrintable } from "./quoted_printable.ts";

/** Record types of text: a complete line (or the last piece of one), and a piece that is continued. */
export const LINE = 0x4e;
export const PIECE = 0x4c;

export type HeaderClass = "primary" | "mime" | "nested";

export type MimeProblem = "nesting" | "truncated" | "8bit-header" | "8bit-body" | "domain" | "end-of-header";

/** Problems in the order in which one is reported for the whole message, with their texts; all have DSN 5.6.0. */
export const MIME_PROBLEMS: ReadonlyArray<readonly [MimeProblem, string]> = [
  ["nesting", "MIME nesting exceeds safety limit"],
  ["truncated", "message header length exceeds safety limit"],
  ["8bit-header", "improper use of 8-bit data in message header"],
  ["8bit-body", "improper use of 8-bit data in message body"],
  ["domain", "invalid message/* or multipart/* encoding domain"],
  ["end-of-header", "primary header was terminated with non-empty line"],
];

export interface HeaderEvent {
  readonly kind: "header";
  readonly headerClass: HeaderClass;
  readonly info: HeaderInfo | undefined;
  /** Its name in lower case. */
  readonly name: string;
  /** Lines joined by newline, `Name:` without blanks before the colon. */
  readonly text: string;
}

export type MimeEvent =
  | HeaderEvent
  /** The primary headers are complete; the separator or the body follows. */
  | { readonly kind: "headersEnd" }
  | {
      readonly kind: "body";
      readonly type: number;
      readonly data: Uint8Array;
      /** Bytes before it in this body segment, a line end counting one. */
      readonly offset: number;
    }
  | { readonly kind: "problem"; readonly problem: MimeProblem; readonly sample: string };

export interface MimeOptions {
  /** Everything after the primary headers is body. */
  readonly disabled?: boolean;
  /** 8-bit parts become quoted-printable. */
  readonly downgrade?: boolean;
  /** Problems that are reported. */
  readonly report: ReadonlySet<MimeProblem>;
  readonly headerSizeLimit: number;
  readonly nestingLimit: number;
  readonly boundaryLimit: number;
}

const NO_DATA = new Uint8Array(0);
const SPACE = 0x20;
const TAB = 0x09;
const DASH = 0x2d;

interface Boundary {
  /** With the leading `--`. */
  readonly line: string;
  /** A part without Content-Type is a message (multipart/digest) or text. */
  readonly partsAreMessages: boolean;
}

type State = "primary" | "part" | "nested" | "body";

export class MimeParser {
  #state: State = "primary";
  #kind: ContentKind = "text";
  #subtype = "plain";
  /** The Content-Transfer-Encoding as named, and whether the header said so. */
  #encoding: Encoding = "7bit";
  readonly #stack: Boundary[] = [];
  #header: string[] | undefined;
  /** Length of its name. */
  #label = 0;
  #headerSize = 0;
  #previous: number = LINE;
  #offset = 0;
  readonly #reported = new Set<MimeProblem>();
  #encoder: QuotedPrintable | undefined;

  constructor(
    private readonly options: MimeOptions,
    private readonly emit: (event: MimeEvent) => void,
  ) {}

  /** True while body records need no attention unless one begins with `--` after a complete line and `hasBoundaries`. */
  get plainBody(): boolean {
    return (
      this.#state === "body" &&
      this.#encoder === undefined &&
      (this.options.disabled === true ||
        !this.options.report.has("8bit-body") ||
        this.#reported.has("8bit-body"))
    );
  }
  get hasBoundaries(): boolean {
    return this.#stack.length > 0;
  }
  get inBody(): boolean {
    return this.#state === "body";
  }
  /** The last record was a piece of a line. */
  get inLine(): boolean {
    return this.#previous === PIECE;
  }

  /** Body records went by unseen (plainBody): how many bytes they count, and the type of the last one. */
  passed(bytes: number, lastType: number): void {
    this.#offset += bytes;
    this.#previous = lastType;
  }

  /** One content record. */
  record(type: number, data: Uint8Array): void {
    if (this.#state === "body") this.#bodyRecord(type, data);
    else this.#headerRecord(type, data);
    this.#previous = type;
  }

  /** The end of the content. A body that ends in a piece of a line gets its end. */
  end(): void {
    if (this.#state === "body") {
      if (this.#previous === PIECE) this.record(LINE, NO_DATA);
      return;
    }
    const inHeader = this.#header !== undefined;
    this.#finishHeader();
    this.#finishBlock(undefined);
    // a boundary line was cut in mid-line
    if (!inHeader && this.#previous === PIECE) this.#emitBody(LINE, NO_DATA);
  }

  // --- headers -----------------------------------------------------------------------------------

  #headerRecord(type: number, data: Uint8Array): void {
    const { headerSizeLimit } = this.options;
    if (this.#header !== undefined) {
      const piece = this.#previous === PIECE;
      if (piece || data[0] === SPACE || data[0] === TAB) {
        if (this.#headerSize >= headerSizeLimit) {
          this.#problem("truncated", this.#header.join(""));
          return;
        }
        if (!piece) this.#header.push("\n");
        const more = headerText(data);
        this.#header.push(more);
        this.#headerSize += more.length + (piece ? 0 : 1);
        return;
      }
      this.#finishHeader();
    }
    if (data.length > 0) {
      const line = headerText(data);
      const label = labelLength(line);
      if (label > 0) {
        const text = normalizeLabel(line, label);
        this.#header = [text];
        this.#label = label;
        this.#headerSize = text.length;
        return;
      }
    }
    this.#endOfHeaders(type, data);
  }

  #finishHeader(): void {
    const parts = this.#header;
    if (parts === undefined) return;
    this.#header = undefined;
    const text = parts.length === 1 ? (parts[0] ?? "") : parts.join("");
    const { options } = this;
    const name = lowerAscii(text.slice(0, this.#label));
    const info = foldedHeaderInfo(name);
    if (options.disabled === true) {
      this.emit({ kind: "header", headerClass: info?.mime === true ? "mime" : "primary", info, name, text });
      return;
    }
    if (options.report.has("8bit-header") && !isAscii(text)) this.#problem("8bit-header", text);
    if (info?.mime === true) {
      if (info.name === "Content-Type") this.#contentType(text);
      else if (info.name === "Content-Transfer-Encoding" && this.#contentEncoding(text)) return;
    }
    const headerClass =
      info?.mime === true || this.#state === "part"
        ? "mime"
        : this.#state === "nested"
          ? "nested"
          : "primary";
    this.emit({ kind: "header", headerClass, info, name, text });
  }

  #contentType(text: string): void {
    const parsed = parseContentType(headerValue(text));
    if (parsed === undefined) return;
    this.#kind = parsed.kind;
    this.#subtype = parsed.subtype;
    if (parsed.kind !== "multipart") return;
    for (const boundary of parsed.boundaries) {
      if (this.#stack.length > this.options.nestingLimit + 1) {
        this.#problem("nesting", text);
        continue;
      }
      this.#stack.push({
        line: `--${boundary.slice(0, this.options.boundaryLimit)}`,
        partsAreMessages: parsed.subtype === "digest",
      });
    }
  }

  /** True when the header is held back, to be replaced at the end of its block. */
  #contentEncoding(text: string): boolean {
    const encoding = parseEncoding(headerValue(text));
    if (encoding !== undefined) this.#encoding = encoding;
    return this.options.downgrade === true && this.#isEightBit;
  }

  get #isEightBit(): boolean {
    return this.#encoding === "8bit" || this.#encoding === "binary";
  }

  /** Ends a header block; `terminator` is the record that is no header, undefined at the end of the message. */
  #finishBlock(terminator: Uint8Array | undefined): void {
    const primary = this.#state === "primary";
    const { options } = this;
    if (options.disabled !== true) {
      if (options.report.has("domain")) this.#checkDomain();
      if (options.downgrade === true && this.#isEightBit) {
        const sevenBit =
          this.#kind === "multipart" || (this.#kind === "message" && this.#subtype !== "global");
        const text = `Content-Transfer-Encoding: ${sevenBit ? "7bit" : "quoted-printable"}`;
        this.emit({
          kind: "header",
          headerClass: "mime",
          info: headerInfo("Content-Transfer-Encoding"),
          name: "content-transfer-encoding",
          text,
        });
        // a nested message or a multipart body resets it
        this.#encoder = new QuotedPrintable();
      }
    }
    if (primary) {
      if (terminator !== undefined && terminator.length > 0)
        this.#problem("end-of-header", fromBytes(terminator));
      this.emit({ kind: "headersEnd" });
    }
  }

  #checkDomain(): void {
    const encoding = this.#encoding;
    if (this.#kind === "message") {
      if (this.#subtype === "partial" || this.#subtype === "external-body") {
        if (encoding !== "7bit") this.#problem("domain", encoding);
      } else if (this.#subtype === "rfc822" && !this.#isIdentity) this.#problem("domain", encoding);
    } else if (this.#kind === "multipart" && !this.#isIdentity) this.#problem("domain", encoding);
  }
  get #isIdentity(): boolean {
    return this.#encoding === "7bit" || this.#isEightBit;
  }

  #endOfHeaders(type: number, data: Uint8Array): void {
    const primary = this.#state === "primary";
    this.#finishBlock(data);
    this.#state = "body";
    this.#offset = 0;
    this.#previous = LINE;
    if (data.length > 0) {
      if (primary) this.#emitBody(LINE, NO_DATA);
      this.#bodyRecord(type, data);
      return;
    }
    this.#emitBody(type, data);
    if (this.options.disabled === true) return;
    if (this.#kind === "message" && this.#nestsMessage) {
      this.#startBlock("nested", false);
    } else if (this.#kind === "multipart") {
      this.#kind = "other";
      this.#encoding = "7bit";
      this.#encoder = undefined;
    }
  }
  get #nestsMessage(): boolean {
    return this.#subtype === "rfc822" || (this.#subtype === "global" && this.#encoder === undefined);
  }

  #startBlock(state: "part" | "nested", partIsMessage: boolean): void {
    this.#state = state;
    this.#kind = partIsMessage ? "message" : "text";
    this.#subtype = partIsMessage ? "rfc822" : "plain";
    this.#encoding = "7bit";
    this.#encoder = undefined;
    this.#header = undefined;
  }

  // --- body --------------------------------------------------------------------------------------

  #bodyRecord(type: number, data: Uint8Array): void {
    const { options } = this;
    if (options.disabled === true) {
      this.#emitBody(type, data);
      return;
    }
    // two dashes alone are no boundary, not even where that is empty
    const dashes = data.length > 2 && data[0] === DASH && data[1] === DASH;
    if (this.#stack.length > 0 && this.#previous !== PIECE && dashes) {
      const line = fromBytes(data);
      const at = this.#stack.findLastIndex((boundary) => line.startsWith(boundary.line));
      const boundary = this.#stack[at];
      if (boundary !== undefined) {
        this.#emitBody(type, data);
        this.#stack.length = at + 1;
        if (line.startsWith("--", boundary.line.length)) {
          this.#stack.length = at;
          this.#kind = "other";
          this.#encoding = "7bit";
          this.#encoder = undefined;
        } else this.#startBlock("part", boundary.partsAreMessages);
        return;
      }
    }
    if (this.#encoding === "7bit" && options.report.has("8bit-body") && !this.#reported.has("8bit-body")) {
      const text = fromBytes(data);
      if (!isAscii(text)) this.#problem("8bit-body", text);
    }
    const encoder = this.#encoder;
    if (encoder === undefined) this.#emitBody(type, data);
    else encoder.encode(data, type === LINE, (encoded) => this.#emitBody(LINE, encoded));
  }

  #emitBody(type: number, data: Uint8Array): void {
    this.emit({ kind: "body", type, data, offset: this.#offset });
    this.#offset += data.length + 1;
  }

  #problem(problem: MimeProblem, sample: string): void {
    if (!this.options.report.has(problem) || this.#reported.has(problem)) return;
    this.#reported.add(problem);
    this.emit({ kind: "problem", problem, sample: untilNul(sample) });
  }
}

/** A NUL ends a header line, as everywhere in Postfix's headers; it is no legal character there (RFC 5322 4.1). */
const headerText = (data: Uint8Array): string => untilNul(fromBytes(data));

function untilNul(text: string): string {
  const end = text.indexOf("\0");
  return end < 0 ? text : text.slice(0, end);
}
