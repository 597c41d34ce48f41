/** Header lines: names, the headers that cleanup and sendmail know, unfolding. */
import { isSpaceCode, lowerAscii } from "../sys/bytes.ts";

/** How a known header's addresses are rewritten. */
export type AddressClass = "sender" | "recipient";

export interface HeaderInfo {
  /** Canonical spelling. */
  readonly name: string;
  readonly addresses?: AddressClass;
  readonly mime?: true;
  /** The message is a resent one (RFC 5322 3.6.6). */
  readonly resent?: true;
  /** sendmail -t takes recipients from it. */
  readonly extract?: true;
}

const SENDER = [
  "From",
  "Sender",
  "Reply-To",
  "Errors-To",
  "Mail-Followup-To",
  "Disposition-Notification-To",
  "Return-Receipt-To",
  "Resent-From",
  "Resent-Sender",
  "Return-Path",
];
const RECIPIENT = [
  "To",
  "Cc",
  "Apparently-To",
  "Resent-To",
  "Resent-Cc",
  "Resent-Reply-To",
  "Bcc",
  "Resent-Bcc",
];
const NOTED = [
  "Content-Length",
  "Date",
  "Message-Id",
  "Received",
  "Delivered-To",
  "Resent-Date",
  "Resent-Message-Id",
  "TLS-Required",
  "Require-TLS-ESMTP",
];
const MIME = [
  "Content-Description",
  "Content-Disposition",
  "Content-ID",
  "Content-Transfer-Encoding",
  "Content-Type",
  "MIME-Version",
];
const EXTRACTED = /^(?:Resent-)?(?:To|Cc|Bcc)$/;

let known: Map<string, HeaderInfo> | undefined;

function knownHeaders(): Map<string, HeaderInfo> {
  const map = new Map<string, HeaderInfo>();
  const add = (names: string[], extra: Partial<HeaderInfo>): void => {
    for (const name of names)
      map.set(lowerAscii(name), {
        name,
        ...(name.startsWith("Resent-") ? { resent: true } : {}),
        ...(EXTRACTED.test(name) ? { extract: true } : {}),
        ...extra,
      });
  };
  add(SENDER, { addresses: "sender" });
  add(RECIPIENT, { addresses: "recipient" });
  add(NOTED, {});
  add(MIME, { mime: true });
  return map;
}

/** What is known of a header, by name in any case; undefined for all others. */
export const headerInfo = (name: string): HeaderInfo | undefined => foldedHeaderInfo(lowerAscii(name));

/** The same by name in lower case. */
export function foldedHeaderInfo(name: string): HeaderInfo | undefined {
  known ??= knownHeaders();
  return known.get(name);
}

const COLON = 0x3a;

/** Length of the name at the start of a header line, 0 when the line starts no header. */
export function labelLength(line: string): number {
  let end = 0;
  for (; end < line.length; end++) {
    const code = line.charCodeAt(end);
    if (code === COLON) return end;
    if (code <= 0x20 || code >= 0x7f) break;
  }
  let at = end;
  while (isBlankCode(line.charCodeAt(at))) at++;
  return line.charCodeAt(at) === COLON ? end : 0;
}

const isBlankCode = (code: number): boolean => code === 0x20 || code === 0x09;

/** `Name   : value` as `Name: value`. */
export function normalizeLabel(line: string, label: number): string {
  return line.charAt(label) === ":" ? line : line.slice(0, label) + line.slice(line.indexOf(":", label));
}

/** The name of a header. */
export const headerName = (header: string): string => header.slice(0, labelLength(header));

/** The value of a header after the colon and white space, continuation lines included. */
export function headerValue(header: string): string {
  let at = header.indexOf(":") + 1;
  while (at < header.length && isSpaceCode(header.charCodeAt(at))) at++;
  return header.slice(at);
}

/** True when the text is a header: `name: value` with a name. */
export const isHeader = (text: string): boolean => labelLength(text) > 0;

/** Distance at which a re-printed header gets a new line. */
const FOLD_WIDTH = 70;

/** Joins the lines of a re-printed header (one address each) as far as they fit; the others begin with a TAB (RFC 5322 2.2.3). */
export function foldHeader(text: string): string {
  const [first = "", ...rest] = text.split("\n");
  const parts = [first];
  let width = first.length;
  for (const line of rest) {
    const joined = width + 1 + line.length;
    if (joined < FOLD_WIDTH) {
      parts.push(" ", line);
      width = joined;
    } else {
      parts.push(line.startsWith(" ") || line.startsWith("\t") ? "\n" : "\n\t", line);
      width = line.length;
    }
  }
  return parts.join("");
}
