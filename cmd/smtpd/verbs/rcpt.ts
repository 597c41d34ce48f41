/** RCPT TO. RFC 5321 section 4.1.1.3; the checks in the order of smtpd.md 6. */

import { plainVerifySender } from "../../../lib/address/probe_sender.ts";
import { parseParameter, type Token } from "../../../lib/smtp/command.ts";
import { parseNotify, parseOrcpt } from "../../../lib/smtp/dsn.ts";
import { stripBrackets } from "../../../lib/smtp/path.ts";
import { isAscii, upperAscii } from "../../../lib/sys/bytes.ts";
import { type Soon, when } from "../../../lib/sys/when.ts";
import { addRecipient, openMessage } from "../message.ts";
import { rateExceeded } from "../rates.ts";
import type { Session } from "../session.ts";
import type { Transaction } from "../transaction.ts";
import type { VerbHandler } from "../verb.ts";

export const rcpt: VerbHandler = (session, command) => {
  const { transaction } = session;
  const { tokens } = command;
  if (transaction === undefined) return session.refuse("503 5.5.1 Error: need MAIL command", "protocol");
  if (session.chunks !== undefined) return session.refuse("503 5.5.1 Error: RCPT after BDAT", "protocol");
  const path = tokens[2];
  if (path === undefined || upperAscii(tokens[1]?.text ?? "") !== "TO:")
    return session.refuse("501 5.5.4 Syntax: RCPT TO:<address>", "protocol");
  return when(rateExceeded(session, "recipient"), (exceeded) => {
    if (exceeded)
      return session.refuse(`450 4.7.1 Error: too many recipients from ${session.client.address}`, "policy");
    const address = path.unbalanced
      ? undefined
      : session.parseAddress("RCPT", path.text, {
          allowEmpty: false,
          utf8: transaction.parameters.smtputf8,
          sender: transaction.sender,
        });
    return when(address, (parsed) =>
      parsed === undefined
        ? session.refuse("501 5.1.3 Bad recipient address syntax", "protocol")
        : admit(session, transaction, { line: command.line, tokens, path: path.text, address: parsed }),
    );
  });
};

/** A RCPT command whose address is well-formed. */
interface Addressed {
  readonly line: string;
  readonly tokens: readonly Token[];
  /** The address as typed. */
  readonly path: string;
  readonly address: string;
}

/** Checks the recipient and what was said about it. */
function admit(session: Session, transaction: Transaction, command: Addressed): Soon<boolean> {
  const { settings } = session;
  const { address } = command;
  const dsn = readParameters(session, command.tokens);
  if (typeof dsn === "string") return session.refuse(dsn, "protocol");
  if (transaction.recipientCount >= settings.recipientLimit) {
    const tolerated = session.overshoot++ < settings.recipientOvershoot;
    if (!tolerated) session.noteError("policy");
    return when(session.reply("452 4.5.3 Error: too many recipients"), () => tolerated);
  }
  if (settings.strictUtf8 && !transaction.parameters.smtputf8 && !isAscii(address))
    return session.refuse("553 5.6.7 Must declare SMTPUTF8 to send unicode address", "policy");
  session.noteUtf8("recipient", address);
  const probe = plainVerifySender(address);
  const recipient = probe ?? address;
  const checked = probe !== undefined || session.standAlone ? undefined : session.access.rcpt(recipient);
  return when(checked, (refusal) =>
    refusal === undefined ? add(session, transaction, recipient, command, dsn) : session.refuse(refusal),
  );
}

/** Puts the recipient into the message. */
function add(
  session: Session,
  transaction: Transaction,
  recipient: string,
  { line, path }: Addressed,
  { notify, orcpt = `rfc822;${stripBrackets(path)}` }: RecipientParameters,
): Soon<boolean> {
  const unopened = transaction.stream === undefined ? openMessage(session, transaction) : undefined;
  return when(unopened, (failure) => {
    if (failure !== undefined) return session.refuse(failure.reply, failure.errorClass);
    const added = addRecipient(transaction, { recipient, command: line, notify, orcpt });
    return when(added, (refused) =>
      refused === undefined
        ? session.accept("250 2.1.5 Ok")
        : session.refuse(refused.reply, refused.errorClass),
    );
  });
}

interface RecipientParameters {
  notify: number | undefined;
  orcpt: string | undefined;
}

/** The parameters, which follow the address, or the reply that refuses them. */
function readParameters(session: Session, tokens: readonly Token[]): RecipientParameters | string {
  const into: RecipientParameters = { notify: undefined, orcpt: undefined };
  const noDsn = session.discarded.has("DSN");
  for (let index = 3; index < tokens.length; index++) {
    const { word, name, value } = parseParameter(tokens[index]?.text ?? "");
    if (name === "NOTIFY" && value !== undefined) {
      if (noDsn) return "501 5.7.1 DSN support is disabled";
      const notify = parseNotify(value);
      if (into.notify !== undefined || notify === undefined)
        return "501 5.5.4 Error: Bad NOTIFY parameter syntax";
      into.notify = notify;
    } else if (name === "ORCPT" && value !== undefined) {
      if (noDsn) return "501 5.7.1 DSN support is disabled";
      const orcpt = parseOrcpt(value);
      if (into.orcpt !== undefined || orcpt === undefined)
        return "501 5.5.4 Error: Bad ORCPT parameter syntax";
      into.orcpt = orcpt;
    } else return `555 5.5.4 Unsupported option: ${word}`;
  }
  return into;
}
