/** DATA. RFC 5321 section 4.1.1.4. */
import { DataSplitter } from "../../../lib/smtp/data_stream.ts";
import { Content } from "../content.ts";
import { endOfData } from "../end_of_data.ts";
import { startContent } from "../message.ts";
import { readChunks } from "../reading.ts";
import type { VerbHandler } from "../verb.ts";

export const data: VerbHandler = async (session, { tokens }) => {
  const { transaction, settings } = session;
  if (session.chunks !== undefined) return session.refuse("503 5.5.1 Error: DATA after BDAT", "protocol");
  const stream = transaction?.stream;
  if (transaction === undefined) return session.refuse("503 5.5.1 Error: need RCPT command", "protocol");
  if (transaction.recipientCount === 0 || stream === undefined)
    return session.refuse("554 5.5.1 Error: no valid recipients");
  if (tokens.length !== 1) return session.refuse("501 5.5.4 Syntax: DATA", "protocol");
  if (!session.standAlone) {
    const refusal = await session.access.data();
    if (refusal !== undefined) return session.refuse(refusal);
  }
  const refusal = await startContent(session, transaction, stream);
  if (refusal !== undefined) return session.refuse(refusal.reply, refusal.errorClass);
  await session.reply("354 End data with <CR><LF>.<CR><LF>");
  const content = new Content(stream, session.queueId, settings.messageSizeLimit, true);
  const splitter = new DataSplitter(content, {
    lineLimit: settings.lineLimit,
    detectBareLf: session.detectBareLf,
  });
  session.contentBytes = () => content.size;
  await readChunks(
    session,
    (chunk) => splitter.push(chunk),
    async () => {
      if (stream.full) await stream.flush();
    },
  );
  session.contentBytes = undefined;
  return endOfData(session, transaction, stream, content, splitter.sawBareLf, "DATA");
};
