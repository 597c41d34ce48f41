/** MAIL FROM: the beginning of a transaction. RFC 5321 section 4.1.1.2; the checks in the order of smtpd.md 5. */

import { plainVerifySender } from "../../../lib/address/probe_sender.ts";
import { warning } from "../../../lib/log/log.ts";
import { parseParameter, parseSize, type Token } from "../../../lib/smtp/command.ts";
import { parseEnvid, parseRet } from "../../../lib/smtp/dsn.ts";
import { isAscii, upperAscii } from "../../../lib/sys/bytes.ts";
import { type Soon, when } from "../../../lib/sys/when.ts";
import { openMessage } from "../message.ts";
import { rateExceeded } from "../rates.ts";
import { rewriteContext } from "../rewrite_context.ts";
import type { Session } from "../session.ts";
import type { ErrorClass } from "../session_end.ts";
import { type MailParameters, noActions, type Transaction } from "../transaction.ts";
import type { Command, VerbHandler } from "../verb.ts";

export const mail: VerbHandler = (session, command) => {
  const { settings } = session;
  const { tokens } = command;
  if (settings.heloRequired && session.heloName === undefined)
    return session.refuse("503 5.5.1 Error: send HELO/EHLO first", "policy");
  if (session.transaction !== undefined)
    return session.refuse("503 5.5.1 Error: nested MAIL command", "protocol");
  if (session.chunks !== undefined) return session.refuse("503 5.5.1 Error: MAIL after BDAT", "protocol");
  const path = tokens[2];
  if (path === undefined || upperAscii(tokens[1]?.text ?? "") !== "FROM:")
    return session.refuse("501 5.5.4 Syntax: MAIL FROM:<address>", "protocol");
  return when(rateExceeded(session, "message"), (exceeded) =>
    exceeded
      ? session.refuse(`450 4.7.1 Error: too much mail from ${session.client.address}`, "policy")
      : read(session, command, path),
  );
};

/** The sender and the parameters. */
function read(session: Session, { tokens, line }: Command, path: Token): Soon<boolean> {
  const { settings } = session;
  if (path.unbalanced) return session.refuse("501 5.1.7 Bad sender address syntax", "protocol");
  const parameters: MailParameters = {
    encoding: undefined,
    smtputf8: false,
    ret: undefined,
    envid: undefined,
    verp: undefined,
  };
  const words = tokens.length > 3 ? tokens.slice(3) : NO_WORDS;
  const mayUtf8 = settings.utf8 && !session.discarded.has("SMTPUTF8");
  if (mayUtf8) parameters.smtputf8 = words.some((token) => upperAscii(token.text) === "SMTPUTF8");
  const parsed = session.parseAddress("MAIL", path.text, {
    allowEmpty: true,
    utf8: parameters.smtputf8,
    sender: "",
  });
  return when(parsed, (address) => {
    if (address === undefined) return session.refuse("501 5.1.7 Bad sender address syntax", "protocol");
    if (words.length === 0) return enter(session, address, line, parameters);
    return readParameters(session, words, parameters).then((problem) =>
      problem === undefined
        ? enter(session, address, line, parameters)
        : session.refuse(problem.reply, problem.errorClass),
    );
  });
}

const NO_WORDS: readonly Token[] = [];

/** Begins the transaction, unless something stands against it. */
function enter(session: Session, address: string, line: string, parameters: MailParameters): Soon<boolean> {
  const { settings } = session;
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
  if (settings.delayReject) return accept(session, transaction);
  session.transaction = transaction;
  return when(session.access.mail(sender), (refusal) => {
    if (refusal !== undefined) return drop(session, refusal);
    session.transaction = undefined;
    return accept(session, transaction);
  });
}

function drop(session: Session, reply: string, errorClass?: ErrorClass): Promise<false> {
  session.resetTransaction();
  return session.refuse(reply, errorClass);
}

function accept(session: Session, transaction: Transaction): Soon<boolean> {
  const { settings } = session;
  const { sender, parameters } = transaction;
  return when(rewriteContext(session), (context) => {
    if (context === undefined) {
      const reply = "451 4.3.0 Temporary lookup error";
      session.logDecision("reject", reply);
      return drop(session, reply);
    }
    if (settings.strictUtf8 && !parameters.smtputf8 && !isAscii(sender))
      return session.refuse("553 5.6.7 Must declare SMTPUTF8 to send unicode address", "policy");
    session.noteUtf8("sender", sender);
    if ((!session.filtered || session.spooled) && !hasSpace(session))
      return drop(session, "452 4.3.1 Insufficient system storage", "resource");
    transaction.rewriteContext = context;
    session.transaction = transaction;
    if (!session.filtered) session.services.expectMessage();
    const accepted = (): Soon<boolean> => session.accept("250 2.1.0 Ok");
    if (settings.delayOpen) return accepted();
    return when(openMessage(session, transaction), (refusal) =>
      refusal === undefined ? accepted() : drop(session, refusal.reply, refusal.errorClass),
    );
  });
}

function begin(session: Session, sender: string, command: string, parameters: MailParameters): Transaction {
  return {
    sender,
    command,
    parameters,
    arrival: session.services.now(),
    number: session.nextMessageNumber(),
    rewriteContext: "remote",
    actions: noActions(),
    recipientCount: 0,
    firstRecipient: undefined,
    stream: undefined,
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
