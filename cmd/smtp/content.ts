/** The message on its way to the server: straight from the queue file, or through MIME conversion, checks and generic maps. */

import { internalToSmtp } from "../../lib/address/quote.ts";
import { parameter } from "../../lib/config/configuration.ts";
import { contentReader } from "../../lib/delivery/copy.ts";
import { type Dsn, dsn } from "../../lib/delivery/status.ts";
import { check, info, warning } from "../../lib/log/log.ts";
import { LINE, MIME_PROBLEMS, type MimeEvent, MimeParser, type MimeProblem } from "../../lib/message/mime.ts";
import { MODE_CORRUPT } from "../../lib/queue/directories.ts";
import type { RecordReader } from "../../lib/queue/record_reader.ts";
import { Rec } from "../../lib/queue/records.ts";
import { fromBytes } from "../../lib/sys/bytes.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { fchmodSync } from "../../lib/sys/fs.ts";
import { applyChecks } from "./checks.ts";
import { ContentWriter } from "./content_writer.ts";
import type { Delivery } from "./delivery.ts";
import { mapGeneric, mapHeader } from "./generic.ts";

/** The message cannot be sent; what the server has of it must not be completed. */
export class ContentFailure extends Error {
  constructor(readonly status: Dsn) {
    super(status.reason);
    this.name = "ContentFailure";
  }
}

export type SendChunk = (chunk: Buffer) => Promise<void>;

/** Whether 8-bit parts have to become quoted-printable for a server. */
export const needsDowngrade = (delivery: Delivery, eightBitMime: boolean): boolean =>
  !eightBitMime && delivery.request.encoding !== "7bit" && !parameter("disable_mime_output_conversion");

/** Writes header lines of our own, then the content. Chunks go out through `send`; the last one stays in the writer. */
export async function writeContent(
  delivery: Delivery,
  downgrade: boolean,
  send: SendChunk,
): Promise<ContentWriter> {
  const { request, agent } = delivery;
  const limit = agent.settings.lineLengthLimit;
  const writer = new ContentWriter(limit, () =>
    info(`${request.queueId}: breaking line > ${limit} bytes with <CR><LF>SPACE`),
  );
  try {
    const { returnPath, originalTo, deliveredTo } = agent.flags;
    if (returnPath || originalTo || deliveredTo)
      for (const line of await ownHeaders(delivery)) writer.line(line);
    const reader = contentReader(request);
    const type = inspects(delivery, downgrade)
      ? await copyInspected(delivery, downgrade, reader, writer, send)
      : await copyPlain(reader, writer, send);
    writer.endPiece();
    if (type !== Rec.EXTRACTED) {
      warning(`${request.queueId}: bad record type: ${type} in message content`);
      check(`set mode of ${request.path}`, () => fchmodSync(request.fd, MODE_CORRUPT));
      throw new ContentFailure(dsn("5.3.0", "unreadable mail queue entry"));
    }
    return writer;
  } catch (error) {
    writer.release();
    throw error;
  }
}

/** Return-Path, X-Original-To and Delivered-To, as flags= asks for. */
async function ownHeaders(delivery: Delivery): Promise<string[]> {
  const { request, agent } = delivery;
  const { flags, tables } = agent;
  const [first] = delivery.remaining;
  const lines: string[] = [];
  const mapped = async (address: string): Promise<string> =>
    internalToSmtp(await mapGeneric(address, tables));
  if (flags.returnPath)
    lines.push(`Return-Path: <${request.sender === "" ? "" : await mapped(request.sender)}>`);
  if (flags.originalTo && first !== undefined && first.originalRecipient !== "")
    lines.push(`X-Original-To: ${await mapped(first.originalRecipient)}`);
  if (flags.deliveredTo && first !== undefined) lines.push(`Delivered-To: ${await mapped(first.recipient)}`);
  return lines;
}

function inspects(delivery: Delivery, downgrade: boolean): boolean {
  const { headerChecks, mimeHeaderChecks, nestedHeaderChecks, bodyChecks, generic } = delivery.agent.tables;
  return (
    downgrade ||
    ![headerChecks, mimeHeaderChecks, nestedHeaderChecks, bodyChecks, generic].every((tables) => tables.empty)
  );
}

/** Reads a record; a failed read is a failure of the delivery. */
function readRecord(reader: RecordReader): number {
  try {
    return reader.read();
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    throw new ContentFailure(dsn("4.3.0", `error reading message: ${errorText(error)}`));
  }
}

async function copyPlain(reader: RecordReader, writer: ContentWriter, send: SendChunk): Promise<number> {
  for (;;) {
    const type = readRecord(reader);
    if (type !== Rec.NORMAL && type !== Rec.CONTINUED) return type;
    writer.addSlice(reader.source, reader.start, reader.end, type === Rec.NORMAL);
    if (writer.full) await send(writer.take());
  }
}

async function copyInspected(
  delivery: Delivery,
  downgrade: boolean,
  reader: RecordReader,
  writer: ContentWriter,
  send: SendChunk,
): Promise<number> {
  const events: MimeEvent[] = [];
  const report = new Set<MimeProblem>(downgrade ? ["nesting"] : []);
  const parser = new MimeParser(
    {
      downgrade,
      report,
      headerSizeLimit: parameter("header_size_limit"),
      nestingLimit: parameter("mime_nesting_limit"),
      boundaryLimit: parameter("mime_boundary_length_limit"),
    },
    (event) => events.push(event),
  );
  const handle = async (): Promise<void> => {
    for (const event of events) await writeEvent(delivery, event, writer);
    events.length = 0;
    if (writer.full) await send(writer.take());
  };
  for (;;) {
    const type = readRecord(reader);
    if (type !== Rec.NORMAL && type !== Rec.CONTINUED) {
      parser.end();
      await handle();
      return type;
    }
    parser.record(type, reader.data);
    if (events.length > 0) await handle();
  }
}

async function writeEvent(delivery: Delivery, event: MimeEvent, writer: ContentWriter): Promise<void> {
  const { tables } = delivery.agent;
  switch (event.kind) {
    case "header": {
      const checks = {
        primary: tables.headerChecks,
        mime: tables.mimeHeaderChecks,
        nested: tables.nestedHeaderChecks,
      }[event.headerClass];
      const outcome = await applyChecks(delivery.queueId, checks, "header", event.text);
      for (const text of outcome.before) writeLines(text, writer);
      if (outcome.text === undefined) return;
      const addresses =
        event.headerClass === "primary" && event.info?.addresses !== undefined && !tables.generic.empty;
      writeLines(addresses ? await mapHeader(outcome.text, tables) : outcome.text, writer);
      return;
    }
    case "headersEnd":
      return;
    case "body": {
      const data = Buffer.from(event.data.buffer, event.data.byteOffset, event.data.byteLength);
      const last = event.type === LINE;
      if (
        tables.bodyChecks.empty ||
        data.length === 0 ||
        event.offset >= parameter("body_checks_size_limit")
      ) {
        writer.add(data, last);
        return;
      }
      const text = fromBytes(data);
      const outcome = await applyChecks(delivery.queueId, tables.bodyChecks, "body", text);
      for (const line of outcome.before) writeLines(line, writer);
      if (outcome.text === text) writer.add(data, last);
      else if (outcome.text !== undefined) writeLines(outcome.text, writer);
      return;
    }
    case "problem": {
      const problem = MIME_PROBLEMS.find(([name]) => name === event.problem);
      throw new ContentFailure(dsn("5.6.0", problem?.[1] ?? event.problem));
    }
  }
}

function writeLines(text: string, writer: ContentWriter): void {
  for (const line of text.split("\n")) writer.line(line);
}
