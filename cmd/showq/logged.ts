/** The recipients in a defer or bounce log, as far as a listing tells of them. */
import type { LogField, LogLines } from "../../lib/queue/log_lines.ts";
import { NULL_ADDRESS, UNKNOWN_REASON, UNKNOWN_RECIPIENT } from "../../lib/queue/log_reader.ts";
import { ByteOutput } from "../../lib/sys/byte_output.ts";
import { toBytes } from "../../lib/sys/bytes.ts";

const SIZE = 256;
/** The null address in a log. */
const NULL = toBytes("<>");

/** One entry after the other, in memory that is used again. */
export class LoggedRecipient {
  readonly original = new ByteOutput(SIZE);
  readonly recipient = new ByteOutput(SIZE);
  readonly reason = new ByteOutput(SIZE);
  readonly #utf8: boolean;

  /** `utf8`: smtputf8_enable. */
  constructor(utf8: boolean) {
    this.#utf8 = utf8;
  }

  /** Reads the next entry; false at the end of the log. */
  read(lines: LogLines): boolean {
    this.original.clear();
    this.recipient.clear();
    this.reason.clear();
    let begun = false;
    for (let line = lines.next(); line !== "end"; line = lines.next()) {
      if (line === "blank") {
        if (begun) return this.#finish();
        continue;
      }
      begun = true;
      if (line !== "unusual") this.#set(line, lines.bytes, lines.start, lines.end);
      else this.#setText(lines.field);
    }
    return false;
  }

  #set(field: LogField, bytes: Buffer, start: number, end: number): void {
    const target = this.#target(field);
    if (target === undefined || (target === this.reason && start === end)) return;
    target.clear();
    const isNull = end - start === NULL.length && bytes[start] === NULL[0] && bytes[start + 1] === NULL[1];
    if (target !== this.reason && (isNull || start === end)) target.text(NULL_ADDRESS);
    else target.printable(bytes, start, end, this.#utf8);
  }

  #setText(field: readonly [LogField, string] | undefined): void {
    if (field !== undefined) this.#set(field[0], toBytes(field[1]), 0, field[1].length);
  }

  #target(field: LogField): ByteOutput | undefined {
    switch (field) {
      case "recipient":
        return this.recipient;
      case "original_recipient":
        return this.original;
      case "reason":
        return this.reason;
      default:
        return undefined;
    }
  }

  #finish(): true {
    if (this.recipient.length === 0) this.recipient.text(UNKNOWN_RECIPIENT);
    if (this.reason.length === 0) this.reason.text(UNKNOWN_REASON);
    return true;
  }
}
