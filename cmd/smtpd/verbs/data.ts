/** DATA. RFC 5321 section 4.1.1.4. */
import { DataSplitter } from "../../../lib/smtp/data_stream.ts";
import { when } from "../../../lib/sys/when.ts";
import { Content } from "../content.ts";
import { endOfData } from "../end_of_data.ts";
import { startContent } from "../message.ts";
import { readChunks } from "../reading.ts";
import type { Session } from "../session.ts";
import type { MessageTarget, Transaction } from "../transaction.ts";
import type { VerbHandler } from "../verb.ts";

export const data: VerbHandler = (session, { tokens }) => {
  const { transaction } = session;
  if (session.chunks !== undefined) return session.refuse("503 5.5.1 Error: DATA after BDAT", "protocol");
  const stream = transaction?.stream;
  if (transaction === undefined) return session.refuse("503 5.5.1 Error: need RCPT command", "protocol");
  if (transaction.recipientCount === 0 || stream === undefined)
    return session.refuse("554 5.5.1 Error: no valid recipients");
  if (tokens.length !== 1) return session.refuse("501 5.5.4 Syntax: DATA", "protocol");
  return when(session.standAlone ? undefined : session.access.data(), (refused) => {
    if (refused !== undefined) return session.refuse(refused);
    return when(startContent(session, transaction, stream), (refusal) =>
      refusal === undefined
        ? receive(session, transaction, stream)
        : session.refuse(refusal.reply, refusal.errorClass),
    );
  });
};

async function receive(session: Session, transaction: Transaction, stream: MessageTarget): Promise<boolean> {
  const { settings } = session;
  const replied = session.reply("354 End data with <CR><LF>.<CR><LF>");
  if (replied instanceof Promise) await replied;
  const content = new Content(stream, session.queueId, settings.messageSizeLimit, true);
  const splitter = new DataSplitter(content, {
    lineLimit: settings.lineLimit,
    detectBareLf: session.detectBareLf,
  });
  session.contentBytes = () => content.size;
  await readChunks(session, (chunk) => splitter.push(chunk), stream);
  session.contentBytes = undefined;
  return endOfData(session, transaction, stream, content, splitter.sawBareLf, "DATA");
}
