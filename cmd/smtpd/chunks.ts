/** A sequence of BDAT commands. RFC 3030 section 2. */
import { ChunkSplitter } from "../../lib/smtp/data_stream.ts";
import { Content } from "./content.ts";
import type { Session } from "./session.ts";
import type { MessageTarget } from "./transaction.ts";

export interface GoodTransfer {
  readonly state: "receiving";
  readonly stream: MessageTarget;
  readonly content: Content;
  readonly splitter: ChunkSplitter;
}

/** After an error all chunks up to the last are thrown away; `received` bytes came so far. */
export interface FailedTransfer {
  readonly state: "failed";
  readonly received: number;
}

export type ChunkTransfer = GoodTransfer | FailedTransfer;

export function beginTransfer(session: Session, stream: MessageTarget): GoodTransfer {
  const { settings } = session;
  const content = new Content(stream, session.queueId, settings.messageSizeLimit, false);
  const splitter = new ChunkSplitter(content, {
    lineLimit: settings.lineLimit,
    detectBareLf: session.detectBareLf,
  });
  return { state: "receiving", stream, content, splitter };
}

/** Bytes of a transfer so far, those of a line that goes on included. */
export const transferSize = (transfer: ChunkTransfer | undefined): number => {
  if (transfer === undefined) return 0;
  return transfer.state === "failed" ? transfer.received : transfer.content.size + transfer.splitter.pending;
};
