/** The records of a message on their way to cleanup(8): smtpd.md 15, queue.md 12. */
import { CLEANUP_FLAG } from "../../lib/ipc/protocols/cleanup.ts";
import { messageOpened } from "../../lib/log/events/smtpd.ts";
import { ClientAbort, log } from "../../lib/log/log.ts";
import { mailDate } from "../../lib/message/date.ts";
import { Rec, timeData } from "../../lib/queue/records.ts";
import { commentText } from "../../lib/smtp/helo.ts";
import { rfcAddress } from "./client.ts";
import type { MessageStream } from "./message_stream.ts";
import { receivedLines } from "./received.ts";
import type { Session } from "./session.ts";
import type { Transaction } from "./transaction.ts";

/** Opens the queue file, unless it is open, and writes the envelope up to the recipients. */
export async function openMessage(
  session: Session,
  transaction: Transaction,
  firstRecipient?: string,
): Promise<void> {
  if (transaction.firstRecipient === undefined && firstRecipient !== undefined)
    transaction.firstRecipient = firstRecipient;
  if (transaction.stream !== undefined) return;
  const stream = await session.services.openMessage();
  if (stream === undefined) throw new ClientAbort("unable to open a message in the mail queue");
  transaction.stream = stream;
  if (session.standAlone) writeSubmission(stream, transaction);
  else writeEnvelope(session, stream, transaction);
  const forwarded = session.forwarded;
  log(
    messageOpened({
      queueId: stream.id,
      client: session.nameAddress,
      saslMethod: session.login === undefined ? undefined : "XCLIENT",
      saslUsername: session.login,
      originalId: forwarded?.ident,
      originalClient:
        forwarded?.name === undefined && forwarded?.address === undefined
          ? undefined
          : session.original.origin,
    }),
  );
}

/** The flags of the request, by what receive_override_options leaves. */
function requestFlags(session: Session, transaction: Transaction): number {
  const { overrides, autodetectUtf8 } = session.settings;
  let flags = CLEANUP_FLAG.smtpReply;
  if (!overrides.has("no_header_body_checks")) flags |= CLEANUP_FLAG.filter;
  if (!overrides.has("no_address_mappings")) flags |= CLEANUP_FLAG.bcc | CLEANUP_FLAG.map;
  if (transaction.parameters.smtputf8) flags |= CLEANUP_FLAG.smtputf8Requested;
  else if (autodetectUtf8) flags |= CLEANUP_FLAG.smtputf8Autodetect;
  return flags;
}

function writeEnvelope(session: Session, stream: MessageStream, transaction: Transaction): void {
  const { client, settings, original } = session;
  const { parameters } = transaction;
  stream.sendFlags(requestFlags(session, transaction));
  stream.put(Rec.TIME, timeData(transaction.arrival));
  if (settings.contentFilter !== "") stream.put(Rec.FILTER, settings.contentFilter);
  stream.putAttribute("log_ident", session.forwarded?.ident ?? stream.id);
  stream.putAttribute("rewrite_context", transaction.rewriteContext);
  if (session.login !== undefined) {
    stream.putAttribute("sasl_method", "XCLIENT");
    stream.putAttribute("sasl_username", session.login);
  }
  if (parameters.envid !== undefined) stream.putAttribute("envelope_id", parameters.envid);
  if (parameters.ret !== undefined) stream.putAttribute("ret_flags", parameters.ret);
  stream.put(Rec.FROM, transaction.sender);
  if (parameters.encoding !== undefined) stream.putAttribute("encoding", parameters.encoding);
  stream.putAttribute("log_client_name", original.name);
  stream.putAttribute("log_client_address", original.address);
  stream.putAttribute("log_client_port", original.port);
  stream.putAttribute("log_message_origin", original.origin);
  if (original.helo !== undefined) stream.putAttribute("log_helo_name", original.helo);
  stream.putAttribute("log_protocol_name", original.protocol);
  stream.putAttribute("client_name", client.name);
  stream.putAttribute("reverse_client_name", client.reverseName);
  stream.putAttribute("client_address", client.address);
  stream.putAttribute("client_port", client.port);
  stream.putAttribute("server_address", client.serverAddress);
  stream.putAttribute("server_port", client.serverPort);
  if (session.heloName !== undefined) stream.putAttribute("helo_name", session.heloName);
  stream.putAttribute("protocol_name", session.protocol);
  stream.putAttribute("client_address_type", client.family);
  if (parameters.verp !== undefined) stream.put(Rec.VERP, parameters.verp);
}

/** What postdrop(1) takes. */
function writeSubmission(stream: MessageStream, transaction: Transaction): void {
  const { parameters } = transaction;
  if (parameters.envid !== undefined) stream.putAttribute("envelope_id", parameters.envid);
  if (parameters.ret !== undefined) stream.putAttribute("ret_flags", parameters.ret);
  stream.put(Rec.FROM, transaction.sender);
  if (parameters.encoding !== undefined) stream.putAttribute("encoding", parameters.encoding);
}

export function addRecipient(
  transaction: Transaction,
  recipient: string,
  notify: number | undefined,
  orcpt: string,
): void {
  const { stream } = transaction;
  if (stream === undefined) throw new ClientAbort("no message for a recipient");
  if (notify !== undefined) stream.putAttribute("notify_flags", notify);
  stream.putAttribute("dsn_orig_rcpt", orcpt);
  stream.put(Rec.RECIPIENT, recipient);
  transaction.recipientCount++;
}

const accessFlags = (transaction: Transaction): number =>
  (transaction.actions.hold ? CLEANUP_FLAG.hold : 0) |
  (transaction.actions.discard ? CLEANUP_FLAG.discard : 0);

/** Ends the envelope and writes the headers that are ours. */
export function beginContent(session: Session, transaction: Transaction, stream: MessageStream): void {
  const flags = accessFlags(transaction);
  if (flags !== 0 && !session.standAlone) stream.put(Rec.FLAGS, String(flags));
  stream.put(Rec.CONTENT);
  for (const header of transaction.actions.prepend) stream.put(Rec.NORMAL, header);
  const { client, settings } = session;
  const lines = receivedLines({
    helo: session.heloName ?? client.name,
    clientName: client.name,
    clientAddress: rfcAddress(client.address),
    hostname: settings.myhostname,
    mailName: settings.mailName,
    protocol: transaction.parameters.smtputf8 ? "UTF8SMTP" : session.protocol,
    queueId: stream.id,
    recipient: transaction.recipientCount === 1 ? transaction.firstRecipient : undefined,
    date: mailDate(transaction.arrival.seconds),
    authenticatedAs:
      settings.authenticatedHeader && session.login !== undefined ? commentText(session.login) : undefined,
    hideClient: settings.hideClientSession,
  });
  for (const line of lines) stream.put(Rec.NORMAL, line);
}

/** Writes what follows the content. */
export function endContent(session: Session, transaction: Transaction, stream: MessageStream): void {
  const { actions } = transaction;
  stream.put(Rec.EXTRACTED);
  if (!session.standAlone) {
    if (actions.filter !== undefined) stream.put(Rec.FILTER, actions.filter);
    if (actions.redirect !== undefined) stream.put(Rec.REDIRECT, actions.redirect);
    for (const address of actions.bcc) {
      stream.put(Rec.RECIPIENT, address);
      stream.putAttribute("notify_flags", 1);
    }
    const flags = accessFlags(transaction);
    if (flags !== 0) stream.put(Rec.FLAGS, String(flags));
  }
  stream.put(Rec.END);
}
