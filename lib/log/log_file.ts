/** maillog_file as it is written to: a full disk costs records, never the program that writes them. */

import { errorCode, errorText } from "../sys/errno.ts";
import { writeSync } from "../sys/fs.ts";

const NEWLINE = 0x0a;

export class LogFile {
  /** The last write ended within a record. */
  #torn = false;
  #failing = false;

  /** `complain` is told of the first failure of a row. `fd` is open for appending. */
  constructor(
    private readonly fd: number,
    private readonly path: string,
    private readonly complain: (text: string) => void,
  ) {}

  /** Appends whole records, each with its newline, in one write, so that those of several writers never mix. */
  append(records: Uint8Array): void {
    try {
      if (this.#torn) this.#write(Buffer.of(NEWLINE));
      this.#write(records);
      this.#failing = false;
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      if (this.#failing) return;
      this.#failing = true;
      this.complain(`write logfile '${this.path}': ${errorText(error)}`);
    }
  }

  #write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; this.#torn = bytes[at - 1] !== NEWLINE)
      at += writeSync(this.fd, bytes, at, bytes.length - at);
  }
}
