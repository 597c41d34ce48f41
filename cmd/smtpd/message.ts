/** The records of a message on their way to cleanup(8): smtpd.md 15, queue.md 12. */
import { CLEANUP_FLAG } from "../../lib/ipc/protocols/cleanup.ts";
import { messageOpened } from "../../lib/log/events/smtpd.ts";
import { ClientAbort, log } from "../../lib/log/log.ts";
import { mailDate } from "../../lib/message/date.ts";
import { Rec, timeData } from "../../lib/queue/records.ts";
import { commentText } from "../../lib/smtp/helo.ts";
import { upperAscii } from "../../lib/sys/bytes.ts";
import type { Soon } from "../../lib/sys/when.ts";
import { rfcAddress, UNKNOWN } from "./client.ts";
import type { MessageStream } from "./message_stream.ts";
import { ProxyFilter } from "./proxy_filter.ts";
import type { ProxyRefusal } from "./proxy_target.ts";
import { receivedLines } from "./received.ts";
import type { Session } from "./session.ts";
import type { MessageTarget, Transaction } from "./transaction.ts";

/**
 * Opens the queue file, or the connection to the filter before the queue, unless that was done, and writes the envelope up to the recipients. What
 * the filter has against it, if anything.
 */
export function openMessage(session: Session, transaction: Transaction): Soon<ProxyRefusal | undefined> {
  if (transaction.stream !== undefined) return undefined;
  if (session.filtered)
    return openFilter(session, transaction).then((filter) => {
      if (!(filter instanceof ProxyFilter)) return filter;
      transaction.stream = filter;
      return logOpened(session);
    });
  return session.services.openMessage().then((stream) => {
    if (stream === undefined) throw new ClientAbort("unable to open a message in the mail queue");
    transaction.stream = stream;
    if (session.standAlone) writeSubmission(stream, transaction);
    else writeEnvelope(session, stream, transaction);
    return logOpened(session);
  });
}

function logOpened(session: Session): undefined {
  const { forwarded } = session;
  log(
    messageOpened({
      queueId: session.queueId,
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

function openFilter(session: Session, transaction: Transaction): Promise<ProxyFilter | ProxyRefusal> {
  const { settings, policy, original, forwarded } = session;
  const endpoint = policy.proxyFilter;
  if (endpoint === undefined) throw new ClientAbort("no filter is configured");
  return ProxyFilter.open(
    session.services,
    {
      service: settings.proxyFilter,
      endpoint,
      ehlo: settings.proxyEhlo,
      timeout: settings.proxyTimeout,
      lineLimit: settings.lineLimit,
      utf8: settings.utf8,
    },
    [
      ["NAME", available(original.name)],
      ["ADDR", available(original.address)],
      ["PORT", available(original.port)],
      ["HELO", original.helo ?? ""],
      ["IDENT", forwarded?.ident ?? ""],
      ["PROTO", available(original.protocol)],
      ["SOURCE", upperAscii(transaction.rewriteContext)],
    ],
    transaction.command,
    session.spooled,
  );
}

const available = (value: string): string => (value === UNKNOWN ? "" : value);

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

/** Adds a recipient; what the filter before the queue has against it. */
export function addRecipient(
  transaction: Transaction,
  added: {
    readonly recipient: string;
    /** The RCPT command as it came. */
    readonly command: string;
    readonly notify: number | undefined;
    readonly orcpt: string;
  },
): Soon<ProxyRefusal | undefined> {
  const { stream } = transaction;
  if (stream === undefined) throw new ClientAbort("no message for a recipient");
  if (stream.kind === "proxy")
    return stream
      .recipient(added.command)
      .then((refusal) => refusal ?? countRecipient(transaction, added.recipient));
  if (added.notify !== undefined) stream.putAttribute("notify_flags", added.notify);
  stream.putAttribute("dsn_orig_rcpt", added.orcpt);
  stream.put(Rec.RECIPIENT, added.recipient);
  return countRecipient(transaction, added.recipient);
}

function countRecipient(transaction: Transaction, recipient: string): undefined {
  transaction.firstRecipient ??= recipient;
  transaction.recipientCount++;
}

const accessFlags = (transaction: Transaction): number =>
  (transaction.actions.hold ? CLEANUP_FLAG.hold : 0) |
  (transaction.actions.discard ? CLEANUP_FLAG.discard : 0);

/** Ends the envelope and writes the headers that are ours. What the filter before the queue has against it. */
export function startContent(
  session: Session,
  transaction: Transaction,
  stream: MessageTarget,
): Soon<ProxyRefusal | undefined> {
  if (stream.kind === "proxy")
    return stream.data().then((refusal) => refusal ?? writeHeaders(session, transaction, stream));
  const flags = accessFlags(transaction);
  if (flags !== 0 && !session.standAlone) stream.put(Rec.FLAGS, String(flags));
  stream.put(Rec.CONTENT);
  return writeHeaders(session, transaction, stream);
}

function writeHeaders(session: Session, transaction: Transaction, stream: MessageTarget): undefined {
  for (const header of transaction.actions.prepend) stream.put(Rec.NORMAL, header);
  // a message that came through a filter has the header of the server before that
  if (stream.kind === "proxy" && session.forwarded?.identified === true) return;
  const { client, settings } = session;
  const lines = receivedLines({
    helo: session.heloName ?? client.name,
    clientName: client.name,
    clientAddress: rfcAddress(client.address),
    hostname: settings.myhostname,
    mailName: settings.mailName,
    protocol: protocolOf(session, transaction),
    queueId: stream.kind === "queue" ? stream.id : undefined,
    recipient: transaction.recipientCount === 1 ? transaction.firstRecipient : undefined,
    date: mailDate(transaction.arrival.seconds),
    authenticatedAs:
      settings.authenticatedHeader && session.login !== undefined ? commentText(session.login) : undefined,
    hideClient: settings.hideClientSession,
  });
  for (const line of lines) stream.put(Rec.NORMAL, line);
}

/** RFC 3848, RFC 6531 section 3.7.3. */
function protocolOf({ protocol, login }: Session, { parameters }: Transaction): string {
  const name = parameters.smtputf8 ? "UTF8SMTP" : protocol;
  return protocol === "ESMTP" && login !== undefined ? `${name}A` : name;
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
