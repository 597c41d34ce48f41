/** Replies of a remote SMTP or LMTP server: read within bounds, whatever the server sends (RFC 5321 4.2). */
import { warning } from "../log/log.ts";
import { fromBytes, isDigitCode, printable } from "../sys/bytes.ts";
import type { Channel } from "../sys/channel.ts";
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

/** Reads one line without its end; at most `limit` bytes of it are kept. Undefined at the end of the connection. */
async function readLine(
  channel: Channel,
  rules: ReplyRules,
  budget: { left: number },
): Promise<string | undefined> {
  const { lineLimit } = rules;
  let kept: string | undefined;
  let searched = 0;
  for (;;) {
    const view = channel.peek();
    const at = view.indexOf(LF, searched);
    if (at >= 0) {
      const end = at > 0 && view[at - 1] === CR ? at - 1 : at;
      const line = kept ?? fromBytes(view.subarray(0, Math.min(end, lineLimit)));
      const long = kept !== undefined || end > lineLimit;
      budget.left -= at + 1;
      channel.consume(at + 1);
      if (long)
        warning(`${rules.peer}: response longer than ${lineLimit}: ${printable(line.slice(0, 30))}...`);
      return printable(line, rules.utf8);
    }
    if (view.length > lineLimit) {
      kept ??= fromBytes(view.subarray(0, lineLimit));
      budget.left -= view.length;
      channel.consume(view.length);
      searched = 0;
    } else searched = view.length;
    if (budget.left < 0) return undefined;
    if (!(await channel.more())) return undefined;
  }
}

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

/** Reads one reply. Throws ConnectionLost, ChannelTimeout or the connection's error. */
export async function readReply(channel: Channel, rules: ReplyRules): Promise<ServerReply> {
  const budget = { left: REPLY_BYTES };
  let text = "";
  let full = false;
  for (;;) {
    let line = await readLine(channel, rules, budget);
    if (line === undefined || budget.left < 0) throw new ConnectionLost(rules.peer);
    if (rules.filter !== undefined) {
      const original = line;
      line = await rules.filter(original);
      rules.onLine?.(original, line === original ? undefined : line);
    } else rules.onLine?.(line, undefined);
    const kind = lineKind(line);
    if (text.length < rules.lineLimit) text = text === "" ? line : `${text}\n${line}`;
    else if (!full) {
      full = true;
      warning(`${rules.peer}: multi-line response longer than ${rules.lineLimit} ${text.slice(0, 30)}...`);
    }
    if (kind === "last") return { code: Number(line.slice(0, 3)), text, status: statusOfReply(line) };
    if (kind === "junk") rules.onJunk?.(line);
  }
}
