/** Returning a message that cleanup cannot accept to its sender, for clients that cannot do it themselves (local submission). */

import { parameter } from "../../lib/config/configuration.ts";
import { bounced } from "../../lib/delivery/disposition.ts";
import { NO_STATS } from "../../lib/delivery/stats.ts";
import { dsn } from "../../lib/delivery/status.ts";
import { flushBounces, flushBouncesVerp, type NoticeEnvelope } from "../../lib/ipc/clients/bounce.ts";
import { BOUNCE_FLAG } from "../../lib/ipc/protocols/bounce.ts";
import { cleanupStatusBit, cleanupStatusDetail } from "../../lib/ipc/protocols/cleanup.ts";
import { NO_MOMENT, RET, type Recipient } from "../../lib/ipc/protocols/delivery.ts";
import { attributeRecordType, readNotifyFlags, splitNameValue } from "../../lib/queue/attributes.ts";
import { RecordReader } from "../../lib/queue/record_reader.ts";
import { REC_EOF, REC_ERROR, Rec } from "../../lib/queue/records.ts";
import { splitStatus } from "../../lib/smtp/dsn.ts";
import type { Message } from "./message.ts";
import type { CleanupSettings } from "./settings.ts";

const DELIVERY_TRACE_FLAGS = 256 | 512 | 1024;

/** Bounces every recipient stored so far and has the notice sent; false when that failed. */
export async function bounceMessage(message: Message, settings: CleanupSettings): Promise<boolean> {
  message.output.flush();
  const recipients = storedRecipients(message);
  const detail = cleanupStatusDetail(message.status);
  const { status, text } = splitStatus(
    message.reason === "" ? `${detail.dsn} ${detail.text}` : message.reason,
    "5.0.0",
  );
  const incomingArrival = message.arrival ?? NO_MOMENT;
  for (const recipient of recipients) {
    const outcome = await bounced(
      {
        message: {
          queueId: message.queueId,
          flags: message.traceFlags & DELIVERY_TRACE_FLAGS,
          stats: { ...NO_STATS, incomingArrival },
        },
        recipient,
        relay: "none",
        clean: true,
      },
      dsn(status, text),
    );
    if (outcome !== "finished") return false;
  }
  const headersOnly = (message.status & (cleanupStatusBit("CONT") | cleanupStatusBit("SIZE"))) !== 0;
  const envelope: NoticeEnvelope = {
    flags: BOUNCE_FLAG.clean,
    queueName: "incoming",
    queueId: message.queueId,
    encoding: message.encoding,
    sendopts: message.sendOptions,
    sender: message.sender ?? "",
    envelopeId: message.envelopeId,
    retFlags: headersOnly ? RET.headers : message.returnFlags,
  };
  const service = parameter("bounce_service_name");
  return message.verpDelimiters !== undefined && !settings.disableVerpBounces
    ? flushBouncesVerp(service, envelope, message.verpDelimiters)
    : flushBounces(service, envelope);
}

const UNKNOWN: Recipient = {
  originalRecipient: "",
  recipient: "unknown",
  offset: 0,
  dsnOriginalRecipient: "",
  notifyFlags: 0,
};

/** The recipients in the unfinished queue file, read back; `unknown` when there are none. */
function storedRecipients(message: Message): Recipient[] {
  const reader = new RecordReader(message.output.fd, message.queueId);
  const found: Recipient[] = [];
  let original = "";
  let dsnOriginal = "";
  let notify = 0;
  let inContent = false;
  for (
    let type = reader.read();
    type !== REC_EOF && type !== REC_ERROR && type !== Rec.END;
    type = reader.read()
  ) {
    if (type === Rec.CONTENT) inContent = true;
    else if (type === Rec.EXTRACTED) inContent = false;
    if (inContent) continue;
    if (type === Rec.ATTRIBUTE) {
      const split = splitNameValue(reader.text);
      if (split.kind !== "attribute") continue;
      const standsFor = attributeRecordType(split.name);
      if (standsFor === Rec.DSN_ORIGINAL_RECIPIENT) dsnOriginal = split.value;
      else if (standsFor === Rec.DSN_NOTIFY) notify = readNotifyFlags(split.value) ?? 0;
    } else if (type === Rec.ORIGINAL_RECIPIENT) original = reader.text;
    else if (type === Rec.RECIPIENT) {
      found.push({
        originalRecipient: original,
        recipient: reader.text,
        offset: 0,
        dsnOriginalRecipient: dsnOriginal,
        notifyFlags: notify,
      });
      original = dsnOriginal = "";
      notify = 0;
    }
  }
  return found.length > 0 ? found : [UNKNOWN];
}
