/** What is sent: addresses, header and body (tools.md 13.1). */
import { mailDate } from "../../lib/message/date.ts";
import { toBytes } from "../../lib/sys/bytes.ts";
import type { Settings } from "./options.ts";

/** Bytes of a line with its end. */
const LINE = 80;
const TEXT = [1, 2, 3, 4].map((number) => `La de da de da ${number}.\r\n`).join("");

/** The body of every message, dots doubled, lines ended by CR LF. */
export function bodyOf({ content, length }: Settings): Buffer {
  if (content !== undefined) return stuffed(content);
  if (length === undefined) return toBytes(TEXT);
  let body = "";
  let left = length;
  for (let number = 1; left > LINE; number++, left -= LINE)
    body += `${String(number % 10).padEnd(LINE - 2, "X")}\r\n`;
  return toBytes(`${body}${"X".repeat(left)}\r\n`);
}

/** A file of lines as it is sent: CR LF ends each line, a dot at its beginning is doubled. */
function stuffed(content: Uint8Array): Buffer {
  const lines = Buffer.from(content).toString("latin1").split("\n");
  return toBytes(lines.map((line) => `${line.startsWith(".") ? "." : ""}${line}\r\n`).join(""));
}

/** The recipient with a number before its domain. */
export function numberedRecipient(recipient: string, number: number): string {
  const at = recipient.indexOf("@");
  return at < 0 ? `${recipient}${number}` : `${recipient.slice(0, at)}${number}${recipient.slice(at)}`;
}

const hex = (value: number): string => value.toString(16).padStart(4, "0");

/** The header; a message of the user's has its own. */
export function headerOf(settings: Settings, recipient: string, session: number, remaining: number): string {
  const { old, content, sender, hostName, subject } = settings;
  if (old || content !== undefined) return "";
  const id = `${hex(process.pid & 0xffff)}.${hex(session)}.${hex(remaining)}`;
  return (
    `From: <${sender}>\r\nTo: <${recipient}>\r\nDate: ${mailDate(Date.now() / 1000)}\r\nMessage-Id: <${id}@${hostName}>\r\n` +
    `${subject === undefined ? "" : `Subject: ${subject}\r\n`}\r\n`
  );
}
