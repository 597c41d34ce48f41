/** Prints one queue file record by record. */

import { fatal, warning } from "../../lib/log/log.ts";
import { ascTime } from "../../lib/message/date.ts";
import { isHeader } from "../../lib/message/header.ts";
import { LAST_TIME, splitNameValue } from "../../lib/queue/attributes.ts";
import { RecordReader } from "../../lib/queue/record_reader.ts";
import { REC_EOF, REC_ERROR, Rec, RecordSets, recordTypeName } from "../../lib/queue/records.ts";
import { decodeSize } from "../../lib/queue/size_record.ts";
import { toBytes } from "../../lib/sys/bytes.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { writeSync } from "../../lib/sys/fs.ts";
import { leadingInteger } from "../../lib/sys/numbers.ts";

export interface Display {
  readonly envelope: boolean;
  readonly header: boolean;
  readonly body: boolean;
  /** -d, -o, -f: what precedes each line. */
  readonly decimalType: boolean;
  readonly offset: boolean;
  readonly fileName: boolean;
  /** -r: pointers are shown and not followed; the END record is not the end. */
  readonly rawPointers: boolean;
  /** Shows records that readers hide. */
  readonly verbose: boolean;
  /** Offset of the first record. */
  readonly start: number;
}

type State = "envelope" | "header" | "body";

export function showFile(
  fd: number,
  path: string,
  seekable: boolean,
  display: Display,
  write: (bytes: Buffer) => void = writeStandardOutput,
): void {
  const reader = new RecordReader(fd, path, { raw: display.verbose, seekable });
  if (display.start === 0) {
    const first = reader.peek();
    if (first === REC_EOF) return;
    // a file that begins with a NUL counts as one with records of a type that nobody knows
    if (first !== 0 && !RecordSets.ENVELOPE.has(first)) {
      warning(`${path}: input is not a valid queue file`);
      return;
    }
  } else reader.skip(display.start);
  const printer = new Printer(reader, path, display, write);
  printer.run();
  printer.flush();
}

const PRINT_AT = 32 * 1024;

class Printer {
  #state: State = "envelope";
  #previous = 0;
  #dataOffset = -1;
  #contentSize = -1;
  #output: Buffer[] = [];
  #outputSize = 0;

  constructor(
    private readonly reader: RecordReader,
    private readonly path: string,
    private readonly display: Display,
    private readonly write: (bytes: Buffer) => void,
  ) {}

  run(): void {
    const { reader, display } = this;
    if (display.start === 0 && display.envelope) this.#print(`*** ENVELOPE RECORDS ${this.path} ***\n`);
    for (;;) {
      const offset = reader.position;
      const type = reader.read();
      if (type === REC_EOF) return;
      if (type === REC_ERROR) {
        this.flush();
        fatal("record read error");
      }
      if (!this.#record(type, offset)) return;
    }
  }

  /** One record; false when nothing more is to be shown. */
  #record(type: number, offset: number): boolean {
    const { reader, display } = this;
    switch (type) {
      case Rec.SIZE:
        this.#size(reader.string);
        this.#envelopeLine(type, offset, `${recordTypeName(type)}: ${reader.string}\n`);
        if (!display.envelope && this.#dataOffset > 0) {
          reader.seek(this.#dataOffset);
          this.#state = "header";
        }
        break;
      case Rec.CONTENT:
        if (this.#state !== "envelope") warning(`${this.path}: out-of-order message content marker`);
        this.#envelopeLine(type, offset, `*** MESSAGE CONTENTS ${this.path} ***\n`, true);
        this.#state = "header";
        if (!display.header && !display.body && this.#dataOffset > 0 && this.#contentSize > 0)
          reader.seek(this.#dataOffset + this.#contentSize);
        break;
      case Rec.EXTRACTED:
        if (this.#state === "envelope" && display.start === 0 && (display.header || display.body))
          warning(`${this.path}: out-of-order extracted segment marker`);
        if (this.#previous === Rec.CONTINUED && this.#showsText()) this.#print("\n");
        this.#state = "envelope";
        this.#envelopeLine(type, offset, `*** HEADER EXTRACTED ${this.path} ***\n`, true);
        break;
      case Rec.END:
        if (this.#state !== "envelope") warning(`${this.path}: out-of-order message end marker`);
        this.#envelopeLine(type, offset, `*** MESSAGE FILE END ${this.path} ***\n`, true);
        this.#previous = type;
        return display.rawPointers;
      case Rec.NORMAL:
        if (!this.#text(type, offset)) return false;
        break;
      case Rec.CONTINUED:
        if (this.#state === "envelope")
          this.#envelopeLine(type, offset, `content_filter: ${reader.string}\n`);
        else if (!this.#text(type, offset)) return false;
        break;
      case Rec.TIME:
      case Rec.WARN_TIME:
        this.#envelopeLine(type, offset, `${recordTypeName(type)}: ${dateOf(reader.string)}\n`);
        break;
      case Rec.ATTRIBUTE:
        this.#attribute(type, offset, reader.string);
        break;
      case Rec.POINTER:
        this.#line(type, offset, `${recordTypeName(type)}: ${reader.string}\n`);
        if (!display.rawPointers && !reader.follow()) {
          this.flush();
          fatal("bad pointer record, or input is not seekable");
        }
        // where text goes on does not depend on the pointer between
        return true;
      case Rec.PADDING:
        this.#line(type, offset, `${recordTypeName(type)}: ${reader.string}\n`);
        return true;
      default:
        this.#envelopeLine(type, offset, `${recordTypeName(type)}: ${reader.string}\n`);
    }
    this.#previous = type;
    return true;
  }

  #size(text: string): void {
    if (this.#dataOffset >= 0) warning("file contains multiple size records");
    const size = decodeSize(text);
    if (size.kind === "size") {
      this.#dataOffset = size.fields.dataOffset;
      this.#contentSize = size.fields.contentSize;
    } else if (!this.path.startsWith("maildrop/")) warning(`invalid size record: ${text.slice(0, 100)}`);
  }

  #attribute(type: number, offset: number, text: string): void {
    if (!this.#shows("envelope")) return;
    const parsed = splitNameValue(text);
    if (parsed.kind === "malformed") {
      this.#print(this.#prefix(type, offset));
      this.flush();
      warning(`${this.path}: malformed attribute: ${parsed.error}: ${text.slice(0, 100)}`);
      return;
    }
    const { name, value } = parsed;
    this.#line(
      type,
      offset,
      name === "create_time" ? `${name}: ${dateOf(value)}\n` : `${recordTypeName(type)}: ${name}=${value}\n`,
    );
  }

  /** A record of message text; false when the rest is body that nobody wants. */
  #text(type: number, offset: number): boolean {
    const { reader, display } = this;
    if (this.#state === "header" && this.#previous !== Rec.CONTINUED) {
      const line = reader.text;
      if (!line.startsWith(" ") && !line.startsWith("\t") && !isHeader(line)) {
        this.#state = "body";
        if (!display.body && !display.envelope) return false;
      }
    }
    if (!this.#shows(this.#state)) return true;
    this.#print(this.#prefix(type, offset));
    if (display.verbose) this.#print(type === Rec.NORMAL ? "regular_text: " : "unterminated_text: ");
    this.#put(Buffer.from(reader.data));
    if (type === Rec.NORMAL || display.offset || display.verbose) this.#print("\n");
    return true;
  }

  #shows(state: State): boolean {
    return this.display[state];
  }
  #showsText(): boolean {
    return this.#shows(this.#state) && !this.display.offset && !this.display.verbose;
  }

  /** A line that belongs to the envelope, wherever it stands. */
  #envelopeLine(type: number, offset: number, text: string, marker = false): void {
    if (marker ? this.display.envelope : this.#shows(this.#state === "envelope" ? "envelope" : this.#state))
      this.#line(type, offset, text);
  }

  #line(type: number, offset: number, text: string): void {
    if (this.#shows(this.#state) || this.display.envelope) this.#print(this.#prefix(type, offset) + text);
  }

  #prefix(type: number, offset: number): string {
    const { display } = this;
    return (
      (display.fileName ? `${this.path}: ` : "") +
      (display.offset ? `${String(offset).padStart(9)} ` : "") +
      (display.decimalType ? `${String(type).padStart(3)} ` : "")
    );
  }

  #print(text: string): void {
    if (text !== "") this.#put(toBytes(text));
  }

  #put(bytes: Buffer): void {
    this.#output.push(bytes);
    this.#outputSize += bytes.length;
    if (this.#outputSize > PRINT_AT) this.flush();
  }

  flush(): void {
    if (this.#outputSize > 0) this.write(Buffer.concat(this.#output));
    this.#output = [];
    this.#outputSize = 0;
  }
}

function writeStandardOutput(bytes: Buffer): void {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      const code = errorCode(error);
      if (code === "EAGAIN") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      else if (code === "EPIPE") process.exit(0);
      else fatal(`output write error: ${errorText(error)}`);
    }
  }
}

/** asctime() of a number of seconds, as far as there are dates. */
const dateOf = (text: string): string => ascTime(Math.max(-LAST_TIME, Math.min(secondsOf(text), LAST_TIME)));

const secondsOf = (text: string): number => {
  const digits = /^[ \t\n\v\f\r]{0,100}(-?[0-9]{1,15})/.exec(text)?.[1];
  return digits === undefined ? leadingInteger(text) : Number(digits);
};
