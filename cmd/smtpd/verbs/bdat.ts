/** BDAT. RFC 3030 section 2; the cases in the order of smtpd.md 8. */
import { warning } from "../../../lib/log/log.ts";
import { type BdatCommand, parseBdat } from "../../../lib/smtp/command.ts";
import { printable } from "../../../lib/sys/bytes.ts";
import { beginTransfer, type GoodTransfer, transferSize } from "../chunks.ts";
import { endOfData } from "../end_of_data.ts";
import { startContent } from "../message.ts";
import { readChunks } from "../reading.ts";
import type { Session } from "../session.ts";
import type { VerbHandler } from "../verb.ts";

export const bdat: VerbHandler = async (session, { tokens, line }) => {
  if (session.discarded.has("CHUNKING"))
    return session.refuse("521 5.5.1 Error: command not implemented", "protocol");
  const chunk = parseBdat(tokens);
  if (chunk === undefined) {
    warning(
      `${session.queueId}: malformed BDAT command syntax from ${session.nameAddress}: ${printable(line.slice(0, 100))}`,
    );
    return session.refuse("521 5.5.4 Syntax: BDAT count [LAST]", "protocol");
  }
  if (session.chunks?.state === "failed")
    return skip(session, chunk, `551 5.0.0 Discarded ${chunk.size} bytes after earlier error`);
  if (chunk.size === 0 && !chunk.last) {
    warning(`${session.queueId}: null BDAT request from ${session.nameAddress}`);
    return skip(session, chunk, "551 5.7.1 Null BDAT request");
  }
  const transfer = session.chunks ?? (await begin(session));
  if (typeof transfer === "string") return skip(session, chunk, transfer);
  const limit = session.settings.messageSizeLimit;
  // a line counts when it is whole; the end of the message finds the rest
  if (limit > 0 && chunk.size > limit - transfer.content.size) {
    warning(`${session.queueId}: BDAT request from ${session.nameAddress} exceeds message size limit`);
    return skip(session, chunk, "552 5.3.4 Chunk exceeds message size limit");
  }
  return receive(session, chunk, transfer);
};

/** The first chunk of a message: its transfer, or the reply that refuses it. */
async function begin(session: Session): Promise<GoodTransfer | string> {
  const { transaction } = session;
  if (transaction === undefined) return "503 5.5.1 Error: need RCPT command";
  const { stream } = transaction;
  if (transaction.recipientCount === 0 || stream === undefined) return "554 5.5.1 Error: no valid recipients";
  if (!session.standAlone) {
    const refusal = await session.access.data();
    if (refusal !== undefined) return refusal;
  }
  const refusal = await startContent(session, transaction, stream);
  if (refusal !== undefined) {
    session.noteError(refusal.errorClass);
    return refusal.reply;
  }
  const transfer = beginTransfer(session, stream);
  session.chunks = transfer;
  return transfer;
}

async function receive(session: Session, chunk: BdatCommand, transfer: GoodTransfer): Promise<boolean> {
  const { transaction } = session;
  const { content, splitter, stream } = transfer;
  if (transaction === undefined) return skip(session, chunk, "503 5.5.1 Error: need RCPT command");
  session.contentBytes = () => transferSize(transfer);
  let left = chunk.size;
  if (left > 0)
    await readChunks(
      session,
      (bytes) => {
        const mine = left < bytes.length ? bytes.subarray(0, left) : bytes;
        left -= mine.length;
        splitter.push(mine);
        return left === 0 ? mine.length : -1;
      },
      stream,
    );
  if (chunk.last) {
    session.contentBytes = undefined;
    splitter.finish();
    return endOfData(session, transaction, stream, content, splitter.sawBareLf, "BDAT");
  }
  const bareLf = splitter.sawBareLf && session.settings.bareLf === "reject";
  if (content.tooBig || bareLf || !stream.writable) {
    const received = transferSize(transfer);
    const accepted = await endOfData(session, transaction, stream, content, splitter.sawBareLf, "chunk");
    session.chunks = { state: "failed", received };
    return accepted;
  }
  await session.reply(`250 2.0.0 Ok: ${chunk.size} bytes`);
  return true;
}

/** Throws a chunk away and refuses it; the state becomes "failed" until the last chunk or RSET. SMTPD-01: nothing of the transaction survives. */
async function skip(session: Session, chunk: BdatCommand, reply: string): Promise<boolean> {
  const { settings } = session;
  const received = transferSize(session.chunks) + chunk.size;
  const limit = settings.messageSizeLimit;
  const id = session.queueId;
  session.resetTransaction();
  session.chunks = { state: "failed", received };
  session.noteError("protocol");
  if (limit > 0 && received > 1.5 * limit) {
    await session.reply(reply);
    warning(`${id}: too much BDAT content -- disabling further input from ${session.nameAddress}`);
    session.disableInput();
    return false;
  }
  let left = chunk.size;
  if (left > 0)
    await readChunks(session, (bytes) => {
      const mine = Math.min(left, bytes.length);
      left -= mine;
      return left === 0 ? mine : -1;
    });
  if (chunk.last) session.resetTransaction();
  await session.reply(reply);
  return false;
}
