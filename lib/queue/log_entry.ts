/** An entry of a bounce, defer or trace log, and its text form. */
import { equalFold } from "../sys/bytes.ts";

/** Addresses are in RFC 5322 quoted form. Empty strings and zeros stand for what is not known. */
export interface LogEntry {
  readonly recipient: string;
  readonly originalRecipient: string;
  /** Offset of the recipient record in the queue file; 0 when unknown. */
  readonly offset: number;
  readonly dsnOriginalRecipient: string;
  readonly notifyFlags: number;
  /** `4.4.1` */
  readonly status: string;
  /** `delayed`, `failed`, `delivered`, `relayed`, `expanded`, `deliverable`, `undeliverable` */
  readonly action: string;
  readonly diagnosticType: string;
  readonly diagnosticText: string;
  readonly mtaType: string;
  readonly mtaName: string;
  readonly reason: string;
}

/** The text of an entry as it is appended to a log. `oldStyle`: backwards_bounce_logfile_compatibility. */
export function formatLogEntry(entry: LogEntry, oldStyle: boolean): string {
  const lines: string[] = [""];
  if (oldStyle) lines.push(`<${entry.recipient}>: ${entry.reason}`);
  lines.push(`recipient=${entry.recipient === "" ? "<>" : entry.recipient}`);
  if (entry.originalRecipient !== "" && !equalFold(entry.originalRecipient, entry.recipient))
    lines.push(`original_recipient=${entry.originalRecipient}`);
  if (entry.offset > 0) lines.push(`offset=${entry.offset}`);
  if (entry.dsnOriginalRecipient !== "") lines.push(`dsn_orig_rcpt=${entry.dsnOriginalRecipient}`);
  if (entry.notifyFlags !== 0) lines.push(`notify_flags=${entry.notifyFlags}`);
  if (entry.status !== "") lines.push(`status=${entry.status}`);
  if (entry.action !== "") lines.push(`action=${entry.action}`);
  if (entry.diagnosticType !== "" && entry.diagnosticText !== "")
    lines.push(`diag_type=${entry.diagnosticType}`, `diag_text=${entry.diagnosticText}`);
  if (entry.mtaType !== "" && entry.mtaName !== "")
    lines.push(`mta_type=${entry.mtaType}`, `mta_mname=${entry.mtaName}`);
  if (entry.reason !== "") lines.push(`reason=${entry.reason}`);
  lines.push("", "");
  return lines.join("\n");
}
