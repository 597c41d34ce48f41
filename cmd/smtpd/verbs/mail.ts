/** MAIL FROM: the beginning of a transaction. RFC 5321 section 4.1.1.2; the checks in the order of smtpd.md 5. */

import { plainVerifySender } from "../../../lib/address/probe_sender.ts";
import { warning } from "../../../lib/log/log.ts";
import { parseParameter, parseSize, type Token } from "../../../lib/smtp/command.ts";
import { parseEnvid, parseRet } from "../../../lib/smtp/dsn.ts";
import { isAscii, upperAscii } from "../../../lib/sys/bytes.ts";
import { openMessage } from "../message.ts";
import { rateExceeded } from "../rates.ts";
import { rewriteContext } from "../rewrite_context.ts";
import type { Session } from "../session.ts";
import type { ErrorClass } from "../session_end.ts";
import { type MailParameters, noActions, type Transaction } from "../transaction.ts";
import type { VerbHandler } from "../verb.ts";

export const mail: VerbHandler = async (session, { tokens, line }) => {
  const { settings } = session;
  if (settings.heloRequired && session.heloName === undefined)
    return session.refuse("503 5.5.1 Error: send HELO/EHLO first", "policy");
  if (session.transaction !== undefined)
    return session.refuse("503 5.5.1 Error: nested MAIL command", "protocol");
  if (session.chunks !== undefined) return session.refuse("503 5.5.1 Error: MAIL after BDAT", "protocol");
  const path = tokens[2];
  if (path === undefined || upperAscii(tokens[1]?.text ?? "") !== "FROM:")
    return session.refuse("501 5.5.4 Syntax: MAIL FROM:<address>", "protocol");
  if (await rateExceeded(session, "message"))
    return session.refuse(`450 4.7.1 Error: too much mail from ${session.client.address}`, "policy");
  if (path.unbalanced) return session.refuse("501 5.1.7 Bad sender address syntax", "protocol");
  const parameters: MailParameters = {
    encoding: undefined,
    smtputf8: false,
    ret: undefined,
    envid: undefined,
    verp: undefined,
  };
  const mayUtf8 = settings.utf8 && !session.discarded.has("SMTPUTF8");
  if (mayUtf8) parameters.smtputf8 = tokens.slice(3).some((token) => upperAscii(token.text) === "SMTPUTF8");
  const address = await session.parseAddress("MAIL", path.text, {
    allowEmpty: true,
    utf8: parameters.smtputf8,
    sender: "",
  });
  if (address === undefined) return session.refuse("501 5.1.7 Bad sender address syntax", "protocol");
  const problem = await readParameters(session, tokens.slice(3), parameters);
  if (problem !== undefined) return session.refuse(problem.reply, problem.errorClass);
  const limit = settings.messageSizeLimit;
  if (limit > 0 && session.declaredSize > limit) {
    const reply = "552 5.3.4 Message size exceeds fixed limit";
    session.logDecision("reject", reply, undefined, address);
    return session.refuse(reply, "policy");
  }
  if (parameters.verp !== undefined && address === "")
    return session.refuse("503 5.5.4 Error: XVERP requires non-null sender");
  const sender = plainVerifySender(address) ?? address;

  const transaction = begin(session, sender, line, parameters);
  session.transaction = transaction;
  const give = (reply: string, errorClass?: ErrorClass): Promise<false> => {
    session.resetTransaction();
    return session.refuse(reply, errorClass);
  };
  if (!settings.delayReject) {
    const refusal = await session.access.mail(sender);
    if (refusal !== undefined) return give(refusal);
  }
  session.transaction = undefined;
  const context = await rewriteContext(session);
  if (context === undefined) {
    const reply = "451 4.3.0 Temporary lookup error";
    session.logDecision("reject", reply);
    return give(reply);
  }
  if (settings.strictUtf8 && !parameters.smtputf8 && !isAscii(sender))
    return session.refuse("553 5.6.7 Must declare SMTPUTF8 to send unicode address", "policy");
  session.noteUtf8("sender", sender);
  if ((!session.filtered || session.spooled) && !hasSpace(session))
    return give("452 4.3.1 Insufficient system storage", "resource");
  session.transaction = { ...transaction, rewriteContext: context };
  if (!session.filtered) session.services.expectMessage();
  if (!settings.delayOpen) {
    const refusal = await openMessage(session, session.transaction);
    if (refusal !== undefined) return give(refusal.reply, refusal.errorClass);
  }
  await session.reply("250 2.1.0 Ok");
  return true;
};

function begin(session: Session, sender: string, command: string, parameters: MailParameters): Transaction {
  const arrival = session.services.now();
  const hex = (value: number): string => value.toString(16);
  return {
    sender,
    command,
    parameters,
    arrival,
    instance: `${hex(process.pid)}.${hex(arrival.seconds)}.${hex(arrival.microseconds)}.${hex(session.nextMessageNumber())}`,
    rewriteContext: "remote",
    actions: noActions(),
    recipientCount: 0,
    firstRecipient: undefined,
    stream: undefined,
    deferIfPermit: undefined,
    senderChecked: false,
  };
}

interface Problem {
  readonly reply: string;
  readonly errorClass?: ErrorClass;
}

const DSN_DISABLED: Problem = { reply: "501 5.7.1 DSN support is disabled", errorClass: "policy" };

async function readParameters(
  session: Session,
  tokens: readonly Token[],
  into: MailParameters,
): Promise<Problem | undefined> {
  let hasAuth = false;
  for (const token of tokens) {
    const { word, name, value } = parseParameter(token.text);
    const unsupported: Problem = { reply: `555 5.5.4 Unsupported option: ${word}`, errorClass: "protocol" };
    const noDsn = session.discarded.has("DSN");
    switch (name) {
      case "BODY": {
        const body = upperAscii(value ?? "");
        if (body !== "8BITMIME" && body !== "7BIT") return unsupported;
        into.encoding = body === "7BIT" ? "7bit" : "8bit";
        break;
      }
      case "SIZE": {
        if (value === undefined) return unsupported;
        const size = parseSize(value);
        if (size.kind === "syntax")
          return { reply: "501 5.5.4 Bad message size syntax", errorClass: "protocol" };
        if (size.kind === "overflow")
          return { reply: "552 5.3.4 Message size exceeds file system imposed limit", errorClass: "policy" };
        session.declaredSize = size.size;
        break;
      }
      case "SMTPUTF8":
        if (value !== undefined || !into.smtputf8) return unsupported;
        break;
      case "AUTH":
        if (value === undefined) return unsupported;
        if (hasAuth) return { reply: "503 5.5.4 Error: multiple AUTH= options", errorClass: "protocol" };
        hasAuth = value !== "<>";
        break;
      case "XVERP": {
        const { settings } = session;
        const allowed = await session.mayVerp();
        session.requireCertain("XVERP");
        if (!allowed) return unsupported;
        if (value === undefined) into.verp = settings.verpDelimiters;
        else if (value.length === 2 && [...value].every((char) => settings.verpFilter.includes(char)))
          into.verp = value;
        else
          return {
            reply: `501 5.5.4 Error: XVERP needs two characters from ${settings.verpFilter}`,
            errorClass: "protocol",
          };
        break;
      }
      case "RET":
        if (value === undefined) return unsupported;
        if (noDsn) return DSN_DISABLED;
        if (into.ret !== undefined || parseRet(value) === undefined)
          return { reply: "501 5.5.4 Bad RET parameter syntax", errorClass: "protocol" };
        into.ret = parseRet(value);
        break;
      case "ENVID":
        if (value === undefined) return unsupported;
        if (noDsn) return DSN_DISABLED;
        if (into.envid !== undefined || parseEnvid(value) === undefined)
          return { reply: "501 5.5.4 Bad ENVID parameter syntax", errorClass: "protocol" };
        into.envid = parseEnvid(value);
        break;
      default:
        return unsupported;
    }
  }
  return undefined;
}

/** Whether the queue's file system has room for queue_minfree and for 1.5 messages of the largest size. */
function hasSpace(session: Session): boolean {
  const { queueMinFree, messageSizeLimit } = session.settings;
  const { blockSize, blocks } = session.services.freeSpace();
  if (queueMinFree / blockSize < blocks && messageSizeLimit / blockSize < blocks / 1.5) return true;
  session.logDecision("reject", "452 4.3.1 Insufficient system storage");
  warning(`not enough free space in mail queue: ${blocks * blockSize} bytes < 1.5*message size limit`);
  return false;
}
