/** Quoted-printable encoding of body lines that arrive in pieces (RFC 2045 6.7). */

const HEX = Buffer.from("0123456789ABCDEF", "latin1");
/** A soft line break is put when more than this is pending. */
const LINE_LIMIT = 72;
const TAB = 0x09;
const SPACE = 0x20;
const EQUALS = 0x3d;

export class QuotedPrintable {
  #line: Buffer = Buffer.allocUnsafeSlow(LINE_LIMIT + 8);
  #length = 0;

  /** Encodes a piece of a line; `last`: the line ends here. Calls `out` for each finished output line. */
  encode(data: Uint8Array, last: boolean, out: (line: Buffer) => void): void {
    for (let at = 0; at < data.length; at++) {
      const byte = data[at] ?? 0;
      if (this.#length > LINE_LIMIT) {
        this.#put(EQUALS);
        this.#flush(out);
      }
      if ((byte < SPACE && byte !== TAB) || byte === EQUALS || byte > 126) this.#putEncoded(byte);
      else this.#put(byte);
    }
    if (last) {
      const end = this.#line[this.#length - 1];
      if (this.#length > 0 && (end === SPACE || end === TAB)) {
        this.#length--;
        this.#putEncoded(end);
      }
      this.#flush(out);
    }
  }

  #put(byte: number): void {
    this.#line[this.#length++] = byte;
  }
  #putEncoded(byte: number): void {
    this.#put(EQUALS);
    this.#put(HEX[byte >> 4] ?? 0);
    this.#put(HEX[byte & 15] ?? 0);
  }
  #flush(out: (line: Buffer) => void): void {
    out(Buffer.from(this.#line.subarray(0, this.#length)));
    this.#length = 0;
  }
}
