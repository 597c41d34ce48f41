/** Replies of a remote SMTP or LMTP server: read within bounds, whatever the server sends (RFC 5321 4.2). */
import { warning } from "../log/log.ts";
import { fromBytes, isDigitCode, printable } from "../sys/bytes.ts";
import type { Channel } from "../sys/channel.ts";
import type { Soon } from "../sys/when.ts";
import { statusLength } from "./dsn.ts";

export interface ServerReply {
  /** The code of the last line, 0 to 999. */
  readonly code: number;
  /** The lines joined by newline, each with its code. */
  readonly text: string;
  /** Enhanced status code, the server's or the default of the reply's class. */
  readonly status: string;
}

export interface ReplyRules {
  /** `host[address]:port` in warnings. */
  readonly peer: string;
  /** Bytes of a line that are kept (line_length_limit); no line is added to a text that is as long. */
  readonly lineLimit: number;
  /** Valid UTF-8 is kept. */
  readonly utf8: boolean;
  /** smtp_reply_filter. */
  readonly filter?: ((line: string) => Promise<string>) | undefined;
  /** A line that is no reply, which is ignored. */
  readonly onJunk?: ((line: string) => void) | undefined;
  /** Every line, for a transcript. */
  readonly onLine?: ((line: string, replaced: string | undefined) => void) | undefined;
}

/** The connection ended where a reply was due. */
export class ConnectionLost extends Error {
  constructor(peer: string) {
    super(`lost connection with ${peer}`);
    this.name = "ConnectionLost";
  }
}

const LF = 0x0a;
const CR = 0x0d;
/** More than this in one reply is no conversation any more. */
const REPLY_BYTES = 1024 * 1024;

type LineKind = "last" | "continued" | "junk";

/** Exactly three digits, then `-`, blank or the end. */
function lineKind(line: string): LineKind {
  for (let i = 0; i < 3; i++) if (!isDigitCode(line.charCodeAt(i))) return "junk";
  if (line.length === 3) return "last";
  const next = line.charAt(3);
  return next === "-" ? "continued" : next === " " ? "last" : "junk";
}

/** The enhanced status of a reply line: its own when the classes agree, else the default of its class (RFC 2034). */
export function statusOfReply(line: string): string {
  const digit = line.charAt(0);
  if (digit !== "2" && digit !== "4" && digit !== "5") return "5.5.0";
  if (line.charAt(4) === digit) {
    const rest = line.slice(4);
    const length = statusLength(rest);
    if (length > 0) return rest.slice(0, length);
  }
  return `${digit}.0.0`;
}

/** Reads one reply, at once when it has come already. Throws ConnectionLost, ChannelTimeout or the connection's error. */
export const readReply = (channel: Channel, rules: ReplyRules): Soon<ServerReply> =>
  new ReplyReader(channel, rules).read();

class ReplyReader {
  #left = REPLY_BYTES;
  #text = "";
  #full = false;
  /** The beginning of a line that is longer than line_length_limit. */
  #kept: string | undefined;
  /** Bytes of the input in which there is no line end. */
  #searched = 0;

  constructor(
    private readonly channel: Channel,
    private readonly rules: ReplyRules,
  ) {}

  read(): Soon<ServerReply> {
    return (this.rules.filter === undefined ? this.#fromBuffer() : undefined) ?? this.#awaited();
  }

  #fromBuffer(): ServerReply | undefined {
    for (let line = this.#bufferedLine(); line !== undefined; line = this.#bufferedLine()) {
      this.rules.onLine?.(line, undefined);
      const reply = this.#take(line);
      if (reply !== undefined) return reply;
    }
    return undefined;
  }

  async #awaited(): Promise<ServerReply> {
    const { channel, rules } = this;
    for (;;) {
      const original = this.#bufferedLine();
      if (original === undefined) {
        if (!(await channel.more())) throw new ConnectionLost(rules.peer);
        continue;
      }
      const line = rules.filter === undefined ? original : await rules.filter(original);
      rules.onLine?.(original, line === original ? undefined : line);
      const reply = this.#take(line);
      if (reply !== undefined) return reply;
    }
  }

  /** The next line without its end, at most line_length_limit bytes of it; undefined when more input is needed. Throws when it was too much. */
  #bufferedLine(): string | undefined {
    const { channel, rules } = this;
    const { lineLimit } = rules;
    const view = channel.peek();
    const at = view.indexOf(LF, this.#searched);
    if (at >= 0) {
      const end = at > 0 && view[at - 1] === CR ? at - 1 : at;
      const line = this.#kept ?? fromBytes(view.subarray(0, Math.min(end, lineLimit)));
      const long = this.#kept !== undefined || end > lineLimit;
      this.#left -= at + 1;
      channel.consume(at + 1);
      this.#kept = undefined;
      this.#searched = 0;
      this.#bound();
      if (long)
        warning(`${rules.peer}: response longer than ${lineLimit}: ${printable(line.slice(0, 30))}...`);
      return printable(line, rules.utf8);
    }
    if (view.length > lineLimit) {
      this.#kept ??= fromBytes(view.subarray(0, lineLimit));
      this.#left -= view.length;
      channel.consume(view.length);
      this.#searched = 0;
      this.#bound();
    } else this.#searched = view.length;
    return undefined;
  }

  #bound(): void {
    if (this.#left < 0) throw new ConnectionLost(this.rules.peer);
  }

  /** Adds a line; the reply when it was the last one. */
  #take(line: string): ServerReply | undefined {
    const { rules } = this;
    const kind = lineKind(line);
    if (this.#text.length < rules.lineLimit) this.#text = this.#text === "" ? line : `${this.#text}\n${line}`;
    else if (!this.#full) {
      this.#full = true;
      warning(
        `${rules.peer}: multi-line response longer than ${rules.lineLimit} ${this.#text.slice(0, 30)}...`,
      );
    }
    if (kind === "last")
      return { code: Number(line.slice(0, 3)), text: this.#text, status: statusOfReply(line) };
    if (kind === "junk") rules.onJunk?.(line);
    return undefined;
  }
}
