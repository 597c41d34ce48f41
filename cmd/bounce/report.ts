/** The text of a notice: multipart/report (RFC 6522) with its delivery-status part (RFC 3464, RFC 6533), line by line as delivery.md 15. */

import { internalToExternal } from "../../lib/address/quote.ts";
import { parameter } from "../../lib/config/configuration.ts";
import type { Submission } from "../../lib/ipc/clients/cleanup.ts";
import { SENDOPT } from "../../lib/ipc/protocols/delivery.ts";
import { mailDate } from "../../lib/message/date.ts";
import { fromFormat } from "../../lib/message/from_format.ts";
import { isHeader } from "../../lib/message/header.ts";
import type { LogEntry } from "../../lib/queue/log_entry.ts";
import { RecordReader } from "../../lib/queue/record_reader.ts";
import { Rec } from "../../lib/queue/records.ts";
import { isAscii, isValidUtf8, lowerAscii } from "../../lib/sys/bytes.ts";
import type { Original } from "./original.ts";
import { BUILT_IN_FROM, BUILT_IN_ORIGIN, expandTemplate, type Template } from "./template.ts";
import { wrapLine } from "./wrap.ts";

/** Everything that a notice tells, whoever gets it. */
export interface Report {
  readonly queueId: string;
  readonly template: Template;
  /** `7bit`, `8bit` or empty, as the message said. */
  readonly encoding: string;
  readonly sendopts: number;
  /** Envelope sender of the message, internal form. */
  readonly sender: string;
  readonly envelopeId: string;
  readonly original: Original | undefined;
  /** Seconds since 1970, for the boundary. */
  readonly now: number;
  /** Action that stands in for the recorded one (failure notices). */
  readonly action: string | undefined;
}

/** One notice of a report: to the sender, or a copy for the postmaster. */
export interface Notice {
  readonly report: Report;
  /** Internal form. */
  readonly recipient: string;
  readonly postmaster: boolean;
  readonly headersOnly: boolean;
  /** Undefined: there is no log. */
  readonly entries: ReadonlyArray<LogEntry> | undefined;
}

const SMTPUTF8_MASK =
  SENDOPT.smtputf8Requested | SENDOPT.smtputf8Header | SENDOPT.smtputf8Sender | SENDOPT.smtputf8Recipient;

/** Writes header, the three parts and the closing boundary. */
export async function writeNotice(post: Submission, notice: Notice): Promise<void> {
  const { report } = notice;
  const boundary = `${report.queueId}.${report.now}/${parameter("myhostname")}`;
  const encoding = noticeEncoding(report);
  writeHeader(post, notice, boundary, encoding);
  writeText(post, notice, boundary, encoding);
  writeStatus(post, notice, boundary);
  await writeOriginal(post, notice, boundary, encoding);
}

/** Encoding of the notice; empty when unknown. */
function noticeEncoding(report: Report): string {
  if (parameter("smtputf8_enable") || report.encoding === "8bit") return "8bit";
  return report.encoding === "7bit" ? report.template.encoding : "";
}

function writeHeader(post: Submission, notice: Notice, boundary: string, encoding: string): void {
  const { report, postmaster } = notice;
  const { template, original } = report;
  post.line(`From: ${fromHeader(template)}`);
  post.line(`Subject: ${(postmaster ? template.postmasterSubject : undefined) ?? template.subject}`);
  post.line(`To: ${internalToExternal(notice.recipient)}`);
  if (parameter("enable_threaded_bounces") && original !== undefined && original.messageId !== "") {
    post.line(`References: ${original.messageId}`);
    post.line(`In-Reply-To: ${original.messageId}`);
  }
  const requireTls = (report.sendopts & SENDOPT.requireTls) !== 0;
  if ((report.sendopts & SENDOPT.tlsRequiredNo) !== 0 && !requireTls && parameter("tls_required_enable"))
    post.line("TLS-Required: no");
  post.line(`Auto-Submitted: ${postmaster ? "auto-generated" : "auto-replied"}`);
  post.line("MIME-Version: 1.0");
  post.line("Content-Type: multipart/report; report-type=delivery-status;");
  post.line(`\tboundary="${boundary}"`);
  if (encoding !== "") post.line(`Content-Transfer-Encoding: ${encoding}`);
  post.line("");
  post.line("This is a MIME-encapsulated message.");
}

function fromHeader(template: Template): string {
  const obsolete = fromFormat() === "obsolete";
  const builtIn = template.from === BUILT_IN_FROM || template.origin === BUILT_IN_ORIGIN;
  return obsolete && builtIn ? "MAILER-DAEMON (Mail Delivery System)" : template.from;
}

const partEncoding = (post: Submission, encoding: string): void => {
  if (encoding !== "" && encoding !== "7bit") post.line(`Content-Transfer-Encoding: ${encoding}`);
};

function writeText(post: Submission, notice: Notice, boundary: string, encoding: string): void {
  const { template } = notice.report;
  const own = lowerAscii(template.charset) !== "us-ascii";
  const charset = own ? template.charset : encoding === "8bit" ? "utf-8" : "us-ascii";
  post.line("");
  post.line(`--${boundary}`);
  post.line("Content-Description: Notification");
  post.line(`Content-Type: text/plain; charset=${charset}`);
  partEncoding(post, encoding);
  post.line("");
  if (!notice.postmaster) for (const line of expandTemplate(template)) post.line(line);
  if (notice.entries === undefined) {
    post.line("");
    post.line("\t--- Delivery report unavailable ---");
    return;
  }
  for (const entry of notice.entries) {
    const expanded = entry.originalRecipient === "" ? "" : ` (expanded from <${entry.originalRecipient}>)`;
    post.line("");
    for (const line of wrapLine(`<${entry.recipient}>${expanded}: ${entry.reason}`)) post.line(line);
  }
}

const NAME_SPECIALS = /[ \t\r\n()<>@,;:\\".[\]]/g;

function writeStatus(post: Submission, notice: Notice, boundary: string): void {
  const { report } = notice;
  const { original } = report;
  const mailName = parameter("mail_name").replace(NAME_SPECIALS, "-");
  post.line("");
  post.line(`--${boundary}`);
  post.line("Content-Description: Delivery report");
  if ((report.sendopts & SENDOPT.smtputf8Requested) !== 0) {
    post.line("Content-Type: message/global-delivery-status");
    post.line("Content-Transfer-Encoding: 8bit");
  } else post.line("Content-Type: message/delivery-status");
  post.line("");
  post.line(`Reporting-MTA: dns; ${parameter("myhostname")}`);
  if (report.envelopeId !== "") post.line(`Original-Envelope-Id: ${report.envelopeId}`);
  post.line(`X-${mailName}-Queue-ID: ${report.queueId}`);
  const sender = shownSender(report);
  post.line(`X-${mailName}-Sender: ${addressType(report, sender)}; ${sender}`);
  if (original !== undefined && original.arrival > 0)
    post.line(`Arrival-Date: ${mailDate(original.arrival)}`);
  for (const entry of notice.entries ?? []) writeRecipient(post, report, entry, mailName);
}

function writeRecipient(post: Submission, report: Report, entry: LogEntry, mailName: string): void {
  post.line("");
  post.line(`Final-Recipient: ${addressType(report, entry.recipient)}; ${entry.recipient}`);
  if (entry.dsnOriginalRecipient !== "") post.line(`Original-Recipient: ${entry.dsnOriginalRecipient}`);
  else if (entry.originalRecipient !== "")
    post.line(
      `Original-Recipient: ${addressType(report, entry.originalRecipient)}; ${entry.originalRecipient}`,
    );
  post.line(`Action: ${report.action ?? entry.action}`);
  post.line(`Status: ${entry.status}`);
  if (entry.mtaType !== "" && entry.mtaName !== "")
    post.line(`Remote-MTA: ${entry.mtaType}; ${entry.mtaName}`);
  const diagnostic =
    entry.diagnosticType !== "" && entry.diagnosticText !== ""
      ? `${entry.diagnosticType}; ${entry.diagnosticText}`
      : `X-${mailName}; ${entry.reason}`;
  for (const line of wrapLine(`Diagnostic-Code: ${diagnostic}`)) post.line(line);
  const arrival = report.original?.arrival ?? 0;
  if (report.template.class === "delay" && arrival > 0)
    post.line(`Will-Retry-Until: ${mailDate(arrival + parameter("maximal_queue_lifetime"))}`);
}

/** RFC 6533 section 3: utf-8 for addresses that need it in a message that may have them. */
const addressType = (report: Report, address: string): string =>
  (report.sendopts & SMTPUTF8_MASK) !== 0 && !isAscii(address) && isValidUtf8(address) ? "utf-8" : "rfc822";

/** The sender of the message itself: a notice to the owner of a list goes to somebody else. */
function shownSender(report: Report): string {
  const sender = report.original?.sender ?? report.sender;
  return sender === "" ? `MAILER-DAEMON@${parameter("myhostname")}` : internalToExternal(sender);
}

async function writeOriginal(
  post: Submission,
  notice: Notice,
  boundary: string,
  encoding: string,
): Promise<void> {
  const { report } = notice;
  const { original } = report;
  const headersOnly = notice.headersOnly || isTooBig(original);
  const international = (report.sendopts & SENDOPT.smtputf8Requested) !== 0;
  const undelivered =
    report.template.class === "failure" || report.template.class === "delay" ? "Undelivered " : "";
  post.line("");
  post.line(`--${boundary}`);
  post.line(`Content-Description: ${undelivered}Message${headersOnly ? " Headers" : ""}`);
  if (headersOnly)
    post.line(`Content-Type: ${international ? "message/global-headers" : "text/rfc822-headers"}`);
  else post.line(`Content-Type: ${international ? "message/global" : "message/rfc822"}`);
  partEncoding(post, encoding);
  post.line("");
  if (original?.dataOffset === undefined) {
    post.line("\t--- Undelivered message unavailable ---");
    return;
  }
  post.line(`Return-Path: <${shownSender(report)}>`);
  await copyContent(post, original, original.dataOffset, headersOnly);
  post.line("");
  post.line(`--${boundary}--`);
}

function isTooBig(original: Original | undefined): boolean {
  const limit = parameter("bounce_size_limit");
  return limit > 0 && (original?.size === undefined || original.size > limit);
}

async function copyContent(
  post: Submission,
  original: Original,
  offset: number,
  headersOnly: boolean,
): Promise<void> {
  const reader = new RecordReader(original.fd, original.path, { start: offset });
  for (;;) {
    const type = reader.read();
    if (type !== Rec.NORMAL && type !== Rec.CONTINUED) return;
    if (headersOnly) {
      const first = reader.data[0];
      if (first !== 0x20 && first !== 0x09 && !isHeader(reader.text)) return;
    }
    post.record(type, reader.data);
    await post.relieve();
  }
}
