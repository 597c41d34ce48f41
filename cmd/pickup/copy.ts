/** Copies a maildrop file's records to cleanup, dropping what a previous run of cleanup added (queue.md 11, 6 to 11). */
import { internalToExternal } from "../../lib/address/quote.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { pickedUp } from "../../lib/log/events/pickup.ts";
import { log, warning } from "../../lib/log/log.ts";
import { mailDate } from "../../lib/message/date.ts";
import { attributeRecordType, LAST_TIME, splitNameValue } from "../../lib/queue/attributes.ts";
import type { RecordReader } from "../../lib/queue/record_reader.ts";
import { RecordBuffer } from "../../lib/queue/record_writer.ts";
import { Rec, type RecordSet, RecordSets } from "../../lib/queue/records.ts";
import type { Channel } from "../../lib/sys/channel.ts";
import type { Submitted } from "./message.ts";

const SEND_AT = 64 * 1024;
const SPACE = 0x20;
const TAB = 0x09;

/** True when the whole message was queued for sending (the caller flushes); false for a malformed file. Throws when cleanup is gone. */
export async function copyMessage(
  reader: RecordReader,
  channel: Channel,
  queueId: string,
  submitted: Submitted,
): Promise<boolean> {
  const out = new RecordBuffer(8192);
  const copier = new Copier(reader, out, queueId, submitted);
  const filter = parameter("content_filter");
  if (filter !== "") out.put(Rec.FILTER, filter);
  for (const step of [copier.envelope(), copier.content(), copier.extracted()]) {
    for (let piece = step.next(); ; piece = step.next()) {
      if (piece.done === true) {
        if (!piece.value) return false;
        break;
      }
      channel.write(out.take());
      await channel.flush();
    }
  }
  channel.write(out.take());
  return true;
}

/** Each part is a generator that pauses when enough has gathered to be sent; its result says whether the part was well-formed. */
class Copier {
  #sender: string | undefined;
  #sawTime = false;

  constructor(
    private readonly reader: RecordReader,
    private readonly out: RecordBuffer,
    private readonly queueId: string,
    private readonly submitted: Submitted,
  ) {}

  *envelope(): Generator<void, boolean> {
    const { reader, out, submitted } = this;
    for (;;) {
      const type = reader.read();
      if (!this.#expected(type, RecordSets.ENVELOPE)) return false;
      if (type === Rec.CONTENT) break;
      switch (type) {
        case Rec.FILTER:
        case Rec.REDIRECT:
          continue;
        case Rec.TIME:
          this.#sawTime = true;
          if (!isPossibleTime(reader.text)) {
            out.put(type, String(submitted.modified));
            continue;
          }
          break;
        case Rec.FROM:
          if (this.#sender === undefined) {
            this.#sender = reader.string;
            // submitters of long ago left the time to the file
            if (!this.#sawTime) out.put(Rec.TIME, String(submitted.modified));
          }
          break;
      }
      out.put(type, reader.data);
      if (out.length > SEND_AT) yield;
    }
    if (this.#sender === undefined) {
      warning(`${this.queueId}: uid=${submitted.uid}: no envelope sender`);
      return false;
    }
    log(
      pickedUp({
        queueId: this.queueId,
        uid: submitted.uid,
        sender:
          this.#sender === "" || parameter("info_log_address_format") === "internal"
            ? this.#sender
            : internalToExternal(this.#sender),
        originalId: submitted.requeued ? submitted.id : undefined,
      }),
    );
    return true;
  }

  *content(): Generator<void, boolean> {
    const { reader, out, submitted } = this;
    const host = parameter("myhostname");
    out.put(Rec.CONTENT);
    out.put(Rec.NORMAL, `Received: by ${host} (${parameter("mail_name")}, from userid ${submitted.uid})`);
    out.put(Rec.NORMAL, `\tid ${this.queueId}; ${mailDate(submitted.modified)}`);
    for (let first = true; ; first = false) {
      const type = reader.read();
      if (!this.#expected(type, RecordSets.CONTENT)) return false;
      if (type === Rec.EXTRACTED) return true;
      const { data } = reader;
      // a first line that would continue our own header begins the body
      if (first && (data[0] === SPACE || data[0] === TAB)) out.put(Rec.NORMAL);
      out.put(type, data);
      if (out.length > SEND_AT) yield;
    }
  }

  *extracted(): Generator<void, boolean> {
    const { reader, out } = this;
    out.put(Rec.EXTRACTED);
    for (;;) {
      const type = reader.read();
      if (!this.#expected(type, RecordSets.EXTRACT)) return false;
      switch (type) {
        case Rec.FILTER:
        case Rec.REDIRECT:
        case Rec.RETURN_RECEIPT:
        case Rec.ERRORS_TO:
          continue;
        case Rec.ATTRIBUTE: {
          const parsed = splitNameValue(reader.text);
          if (parsed.kind === "attribute" && attributeRecordType(parsed.name) === 0) continue;
          break;
        }
      }
      out.put(type, reader.data);
      if (type === Rec.END) return true;
      if (out.length > SEND_AT) yield;
    }
  }

  #expected(type: number, set: RecordSet): boolean {
    if (type > 0 && set.has(type)) return true;
    warning(`uid=${this.submitted.uid}: unexpected or malformed record type ${type}`);
    return false;
  }
}

const TIME_DIGITS = /^ *0*([0-9]+)/;

/** Text that is no time at all is for cleanup to refuse; a time that no date can show is replaced. */
function isPossibleTime(text: string): boolean {
  const digits = TIME_DIGITS.exec(text)?.[1];
  return digits === undefined || (digits.length <= 12 && Number(digits) <= LAST_TIME);
}
