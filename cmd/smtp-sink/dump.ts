/** Messages written to files (-d, -D). */

import { fatal } from "../../lib/log/log.ts";
import { mailDate } from "../../lib/message/date.ts";
import { pathOf, toBytes } from "../../lib/sys/bytes.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { closeSync, constants, mkdirSync, openSync, writeSync } from "../../lib/sys/fs.ts";
import { directoryOf } from "../../lib/sys/paths.ts";
import { formatTime } from "../../lib/sys/strftime.ts";
import type { Settings } from "./options.ts";

/** What the session knows of a message when its content begins. */
export interface Envelope {
  readonly clientAddress: string;
  readonly protocol: "SMTP" | "ESMTP" | "LMTP";
  /** Undefined without a greeting of the client. */
  readonly helo: string | undefined;
  /** What follows `MAIL FROM:`. */
  readonly mail: string;
  /** What follows each `RCPT TO:`. */
  readonly recipients: ReadonlyArray<string>;
}

/** A message that is appended to a file stays in one piece up to this size. */
const PIECE = 1 << 20;

const isIPv6 = (address: string): boolean => address.includes(":");

/** One message on its way into a file. */
export class Dump {
  readonly #fd: number;
  readonly #single: boolean;
  #pieces: Uint8Array[] = [];
  #size = 0;

  constructor(settings: Settings, { template, kind }: NonNullable<Settings["dump"]>, envelope: Envelope) {
    const id = Math.floor(Math.random() * 0x100000000)
      .toString(16)
      .padStart(8, "0");
    const seconds = Date.now() / 1000;
    const name = formatTime(template, seconds);
    this.#single = kind === "single";
    this.#fd = this.#single ? create(`${name}${id}`, constants.O_EXCL) : create(name, constants.O_APPEND);
    const { clientAddress, protocol, helo, mail, recipients } = envelope;
    const from = helo ?? `[${clientAddress}]`;
    this.#add(
      toBytes(
        `${settings.startText}X-Client-Addr: ${isIPv6(clientAddress) ? "ipv6:" : ""}${clientAddress}\n` +
          `X-Client-Proto: ${protocol}\n${helo === undefined ? "" : `X-Helo-Args: ${helo}\n`}X-Mail-Args: ${mail}\n` +
          recipients.map((recipient) => `X-Rcpt-Args: ${recipient}\n`).join("") +
          `Received: from ${from} ([${clientAddress}])\n\tby ${settings.hostName} (smtp-sink) with ${protocol} id ${id};\n` +
          `\t${mailDate(seconds)}\n`,
      ),
    );
  }

  /** Content without dot-stuffing; lines end in LF in the file. */
  content(chunk: Uint8Array): void {
    this.#add(
      chunk.includes(0x0d) ? toBytes(Buffer.from(chunk).toString("latin1").replaceAll("\r", "")) : chunk,
    );
  }

  /** The message is complete. */
  end(): void {
    this.#add(toBytes("\n"));
    this.#write();
    closeSync(this.#fd);
  }

  /** The client went away: what came is of use in a file of its own only. */
  abandon(): void {
    if (this.#single) this.#write();
    closeSync(this.#fd);
  }

  #add(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.#size += bytes.length;
    if (this.#size > PIECE) this.#write();
  }

  #write(): void {
    let bytes: Uint8Array = Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#size = 0;
    try {
      while (bytes.length > 0) bytes = bytes.subarray(writeSync(this.#fd, bytes));
    } catch (error) {
      fatal(`write to dump file: ${errorText(error)}`);
    }
  }
}

/** Opens a file for writing, and makes the directories on the way. */
function create(name: string, flag: number): number {
  const open = (): number =>
    openSync(pathOf(name), constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | flag, 0o644);
  try {
    return open();
  } catch (error) {
    if (errorCode(error) !== "ENOENT") fatal(`create dump file ${name}: ${errorText(error)}`);
  }
  try {
    mkdirSync(pathOf(directoryOf(name)), { recursive: true });
    return open();
  } catch (error) {
    return fatal(`create dump file ${name}: ${errorText(error)}`);
  }
}
