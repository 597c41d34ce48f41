/** RCPT TO. RFC 5321 section 4.1.1.3; the checks in the order of smtpd.md 6. */

import { plainVerifySender } from "../../../lib/address/probe_sender.ts";
import { parseParameter, type Token } from "../../../lib/smtp/command.ts";
import { parseNotify, parseOrcpt } from "../../../lib/smtp/dsn.ts";
import { stripBrackets } from "../../../lib/smtp/path.ts";
import { isAscii, upperAscii } from "../../../lib/sys/bytes.ts";
import { addRecipient, openMessage } from "../message.ts";
import { rateExceeded } from "../rates.ts";
import type { Session } from "../session.ts";
import type { VerbHandler } from "../verb.ts";

export const rcpt: VerbHandler = async (session, { tokens, line }) => {
  const { settings, transaction } = session;
  if (transaction === undefined) return session.refuse("503 5.5.1 Error: need MAIL command", "protocol");
  if (session.chunks !== undefined) return session.refuse("503 5.5.1 Error: RCPT after BDAT", "protocol");
  const path = tokens[2];
  if (path === undefined || upperAscii(tokens[1]?.text ?? "") !== "TO:")
    return session.refuse("501 5.5.4 Syntax: RCPT TO:<address>", "protocol");
  if (await rateExceeded(session, "recipient"))
    return session.refuse(`450 4.7.1 Error: too many recipients from ${session.client.address}`, "policy");
  const address = path.unbalanced
    ? undefined
    : await session.parseAddress("RCPT", path.text, {
        allowEmpty: false,
        utf8: transaction.parameters.smtputf8,
        sender: transaction.sender,
      });
  if (address === undefined) return session.refuse("501 5.1.3 Bad recipient address syntax", "protocol");
  const dsn = readParameters(session, tokens.slice(3));
  if (typeof dsn === "string") return session.refuse(dsn, "protocol");
  if (transaction.recipientCount >= settings.recipientLimit) {
    const tolerated = session.overshoot++ < settings.recipientOvershoot;
    if (!tolerated) session.noteError("policy");
    await session.reply("452 4.5.3 Error: too many recipients");
    return tolerated;
  }
  if (settings.strictUtf8 && !transaction.parameters.smtputf8 && !isAscii(address))
    return session.refuse("553 5.6.7 Must declare SMTPUTF8 to send unicode address", "policy");
  session.noteUtf8("recipient", address);
  const probe = plainVerifySender(address);
  const recipient = probe ?? address;
  if (probe === undefined && !session.standAlone) {
    const refusal = await session.access.rcpt(recipient);
    if (refusal !== undefined) return session.refuse(refusal);
  }
  const unopened = transaction.stream === undefined ? await openMessage(session, transaction) : undefined;
  if (unopened !== undefined) return session.refuse(unopened.reply, unopened.errorClass);
  const orcpt = dsn.orcpt ?? `rfc822;${stripBrackets(path.text)}`;
  const refused = await addRecipient(transaction, { recipient, command: line, notify: dsn.notify, orcpt });
  if (refused !== undefined) return session.refuse(refused.reply, refused.errorClass);
  await session.reply("250 2.1.5 Ok");
  return true;
};

interface RecipientParameters {
  notify: number | undefined;
  orcpt: string | undefined;
}

/** The parameters, or the reply that refuses them. */
function readParameters(session: Session, tokens: readonly Token[]): RecipientParameters | string {
  const into: RecipientParameters = { notify: undefined, orcpt: undefined };
  const noDsn = session.discarded.has("DSN");
  for (const token of tokens) {
    const { word, name, value } = parseParameter(token.text);
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
