/** Queue files as cleanup writes them. */
import { encodeRecord, padNumber, Rec } from "../../../lib/queue/records.ts";
import { encodeSize } from "../../../lib/queue/size_record.ts";

export interface FileOptions {
  readonly sender?: string;
  readonly recipients: ReadonlyArray<string>;
  readonly envelope?: ReadonlyArray<readonly [number, string]>;
  readonly extracted?: ReadonlyArray<readonly [number, string]>;
  readonly content?: string;
  readonly created?: number;
  readonly count?: number;
  readonly hints?: number;
}

/** A queue file as cleanup writes it. */
export function queueFile(options: FileOptions): Buffer {
  const created = options.created ?? Math.floor(Date.now() / 1000);
  const envelope: Buffer[] = [
    encodeRecord(Rec.TIME, `${created} 12345`),
    encodeRecord(Rec.ATTRIBUTE, `create_time=${created}`),
    encodeRecord(Rec.ATTRIBUTE, "log_client_name=client.example"),
    encodeRecord(Rec.FROM, options.sender ?? "sender@example.com"),
    ...(options.envelope ?? []).map(([type, data]) => encodeRecord(type, data)),
    ...options.recipients.map((address) => encodeRecord(Rec.RECIPIENT, address)),
    encodeRecord(Rec.POINTER, padNumber(0)),
    encodeRecord(Rec.CONTENT),
  ];
  const content = encodeRecord(Rec.NORMAL, options.content ?? "Subject: test");
  const end = [
    encodeRecord(Rec.EXTRACTED),
    ...(options.extracted ?? []).map(([type, data]) => encodeRecord(type, data)),
    encodeRecord(Rec.END),
  ];
  const head = Buffer.concat(envelope);
  const size = encodeRecord(
    Rec.SIZE,
    encodeSize({
      contentSize: content.length,
      dataOffset: 97 + head.length,
      recipientCount: options.count ?? options.recipients.length,
      hints: options.hints ?? 0,
      messageLength: content.length,
      sendOptions: 0,
    }),
  );
  return Buffer.concat([size, head, content, ...end]);
}
