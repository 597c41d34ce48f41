/** SMTP replies: RFC 5321 section 4.2. A reply is kept as text, lines joined by CR LF, each beginning with the code. */
import { isDigitCode } from "../sys/bytes.ts";

/** The lines of a reply text; CR LF and bare LF separate them. */
export function replyLines(text: string): string[] {
  if (!text.includes("\n")) return [text];
  return text.split("\n").map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line));
}

/** The three-digit code at the head of a reply line, when a blank, `-` or the end follows it; else 0. */
export function replyCode(line: string): number {
  if (line.length < 3) return 0;
  for (let i = 0; i < 3; i++) if (!isDigitCode(line.charCodeAt(i))) return 0;
  if (line.length > 3 && line[3] !== " " && line[3] !== "-") return 0;
  const code = Number(line.slice(0, 3));
  return code >= 200 && code <= 599 ? code : 0;
}

/** A 4xx or 5xx reply that may be sent as it is: `ddd ` or `ddd-` and, where digits follow, an enhanced code of the same class. */
export function isRejectReply(text: string): boolean {
  if (text.length < 4) return false;
  const code = replyCode(text);
  if (code < 400) return false;
  const next = text.charCodeAt(4);
  return text.length === 4 || !isDigitCode(next) || text[4] === text[0];
}

/** Replies after which the server closes the connection (RFC 5321 section 3.8). */
export const isFinalReply = (text: string): boolean => text.startsWith("421") || text.startsWith("521");

/**
 * The bytes of a reply as they go to the client: every line but the last with `-` in column four, CR LF ends.
 * With `soft` (soft_bounce) the class digits 5 of the code and of an enhanced code in column five become 4.
 */
export function renderReply(text: string, soft = false): string {
  if (!soft && !text.includes("\n")) return `${text}\r\n`;
  const lines = replyLines(text);
  let out = "";
  for (let i = 0; i < lines.length; i++) {
    let line = lines[i] as string;
    if (soft && line.startsWith("5"))
      line = `4${line.slice(1, 4)}${line[4] === "5" ? "4" : (line[4] ?? "")}${line.slice(5)}`;
    if (i < lines.length - 1) line = `${line.slice(0, 3)}-${line.slice(4)}`;
    out += `${line}\r\n`;
  }
  return out;
}

/** Adds a footer to a 4xx or 5xx reply: its lines repeat the code and enhanced code; a leading `\c` continues the last line of the reply. */
export function appendFooter(reply: string, footer: string): string {
  const lines = replyLines(reply);
  const first = lines[0] ?? "";
  const code = first.slice(0, 3);
  const enhanced = enhancedPrefix(first.slice(4));
  const glued = footer.startsWith("\\c");
  const parts = (glued ? footer.slice(2) : footer).split(/\\n|\r?\n/);
  if (glued) {
    const head = parts.shift() ?? "";
    lines[lines.length - 1] = `${lines[lines.length - 1] ?? ""}${head}`;
  }
  for (const part of parts) lines.push(`${code} ${enhanced}${part}`);
  return lines.join("\r\n");
}

const ENHANCED = /^[245]\.[0-9]{1,3}\.[0-9]{1,3} /;
const enhancedPrefix = (text: string): string => ENHANCED.exec(text)?.[0] ?? "";

/** `4dd ` or `5dd ` at the head: text that a configuration may give as a refusal. */
export const isReplyWithCode = (text: string): boolean => text[3] === " " && replyCode(text) >= 400;
