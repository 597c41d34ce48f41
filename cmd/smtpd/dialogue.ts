/** The life of a session: greeting, command loop, end (smtpd.md 1 and 2). */
import {
  clientConnected,
  clientDisconnected,
  improperPipelining,
  sessionAborted,
} from "../../lib/log/events/smtpd.ts";
import { ClientAbort, info, log, logClientAbort, warning } from "../../lib/log/log.ts";
import { isHeader } from "../../lib/message/header.ts";
import { tokenize } from "../../lib/smtp/command.ts";
import { isFinalReply } from "../../lib/smtp/reply.ts";
import { isValidUtf8, lowerAscii, printable, upperAscii } from "../../lib/sys/bytes.ts";
import { ChannelTimeout } from "../../lib/sys/channel.ts";
import { SysError } from "../../lib/sys/errno.ts";
import { VERBS } from "./commands.ts";
import { escaped } from "./escaped.ts";
import { limitsConfigured, Rates, tooManyConnections } from "./rates.ts";
import type { Session } from "./session.ts";
import { SessionEnd } from "./session_end.ts";
import { sendTranscript } from "./transcript.ts";

/** Serves one client from greeting to end. Failures of the client and of its connection end here. */
export async function converse(session: Session): Promise<void> {
  const { client, channel, settings } = session;
  channel.timeLimit = settings.timeout;
  log(clientConnected({ client: session.nameAddress, name: client.name, address: client.address }));
  let ending: SessionEnd | undefined;
  try {
    if (session.connection.failed)
      throw new SessionEnd("failed", `421 4.3.0 ${settings.myhostname} Server local error`);
    await session.identify(true);
    if (await greet(session)) ending = await commandLoop(session);
    await session.chat.flush();
  } catch (error) {
    ending = endingOf(error, session);
  }
  await finish(session, ending);
}

function endingOf(error: unknown, session: Session): SessionEnd {
  if (error instanceof SessionEnd) return error;
  if (error instanceof ChannelTimeout) return new SessionEnd("timeout");
  if (error instanceof SysError && error.subject === session.channel.name)
    return new SessionEnd("lost connection");
  if (session.channel.closed && error === session.channel.failure) return new SessionEnd("lost connection");
  if (error instanceof ClientAbort) {
    logClientAbort(error);
    return new SessionEnd("quiet");
  }
  throw error;
}

/** Everything up to the banner; false when the session is over already. After XCLIENT the dialogue begins here again. */
async function greet(session: Session): Promise<boolean> {
  const { settings, connection, services } = session;
  session.chat.debugLevel = await session.policy.debugPeers.level(
    session.client.name,
    session.client.address,
  );
  const watched = !connection.piped && !connection.screened;
  if (watched && session.channel.buffered === 0) await services.sleep(0);
  if (watched && (await pipelined(session))) return false;
  if (await limited(session)) {
    await session.reply(
      `421 4.7.0 ${settings.myhostname} Error: too many connections from ${session.client.address}`,
    );
    return false;
  }
  await session.chooseDiscards();
  if (!settings.delayReject && !connection.standAlone) {
    const refusal = await session.access.client();
    if (watched && (await pipelined(session))) return false;
    if (refusal !== undefined) {
      session.denied = refusal;
      session.errorCount++;
      await session.reply(refusal);
      return !session.chat.hangup;
    }
  }
  await session.reply(`220 ${settings.banner}`);
  return true;
}

/** Registers the client with anvil(8), where limits apply to it. */
async function limited(session: Session): Promise<boolean> {
  if (session.standAlone || session.mayXclient || !limitsConfigured(session)) return false;
  const { client, policy } = session;
  if (await policy.eventExceptions.matchesSurely(client.name, client.address)) return false;
  session.rates ??= new Rates(session.services.rates());
  return tooManyConnections(session);
}

type Line =
  | { readonly kind: "line"; readonly text: string; readonly bareLf: boolean }
  | { readonly kind: "long"; readonly text: string };

/** Pipelined commands of one client that are worked on without a pause. */
const TURN_COMMANDS = 50;
const LF = 0x0a;
const CR = 0x0d;

/** Reads a command line of less than line_length_limit bytes. */
async function readLine(session: Session): Promise<Line> {
  const { channel, settings } = session;
  const limit = settings.lineLimit;
  if (settings.perRequestDeadline) channel.setDeadline(settings.timeout);
  let searched = 0;
  let waited = false;
  for (;;) {
    if (session.inputDisabled) {
      await session.chat.flush();
      throw new SessionEnd("lost connection");
    }
    const view = channel.peek();
    const lf = view.indexOf(LF, searched);
    if (lf >= 0 && lf < limit) {
      let end = lf;
      const bareLf = lf === 0 || view[lf - 1] !== CR;
      if (session.detectBareLf) {
        if (!bareLf) end--;
      } else while (end > 0 && view[end - 1] === CR) end--;
      // A NUL ends the text, as in the C strings that everything behind us takes it for.
      const nul = view.indexOf(0);
      const text = view.toString("latin1", 0, nul >= 0 && nul < end ? nul : end);
      channel.consume(lf + 1);
      session.chat.noteRead();
      if (waited) session.unbroken = 0;
      else if (++session.unbroken >= TURN_COMMANDS) await takeTurn(session);
      return { kind: "line", text, bareLf };
    }
    if (view.length >= limit) return skipLine(session);
    searched = view.length;
    waited = true;
    await session.chat.flush();
    if (!(await channel.more())) throw new SessionEnd("lost connection");
  }
}

/** Lets other sessions work before the next of many pipelined commands, and the client read its replies. */
async function takeTurn(session: Session): Promise<void> {
  session.unbroken = 0;
  await session.chat.flush();
  await session.services.sleep(0);
}

/** Drops an over-long line up to its end; no more than another line_length_limit bytes are read for that. */
async function skipLine(session: Session): Promise<Line> {
  const { channel, settings } = session;
  const text = channel.peek().toString("latin1", 0, 30);
  channel.consume(settings.lineLimit);
  let allowance = settings.lineLimit;
  for (;;) {
    const view = channel.peek();
    const lf = view.indexOf(LF);
    const count = lf < 0 ? view.length : lf + 1;
    if (count > allowance) {
      session.disableInput();
      break;
    }
    channel.consume(count);
    if (lf >= 0) break;
    allowance -= count;
    await session.chat.flush();
    if (!(await channel.more())) throw new SessionEnd("lost connection");
  }
  session.chat.noteRead();
  return { kind: "long", text };
}

/** Reads and answers commands until QUIT, a limit or a final reply. */
async function commandLoop(session: Session): Promise<SessionEnd | undefined> {
  const { settings, chat } = session;
  for (;;) {
    if (chat.history.length > settings.historyThreshold) await sendTranscript(session);
    if (chat.hangup) return undefined;
    if (session.errorCount >= settings.hardErrorLimit) {
      session.noteError("protocol");
      await session.reply(`421 4.7.0 ${settings.myhostname} Error: too many errors`);
      logAbort(session, "too many errors");
      return undefined;
    }
    const line = await readLine(session);
    if (line.kind === "long") {
      warning(
        `${session.nameAddress}: request longer than ${settings.lineLimit}: ${printable(line.text)}...`,
      );
      session.noteError("protocol");
      await session.reply(`500 5.5.2 ${settings.myhostname} Error: command too long`);
      continue;
    }
    if (line.bareLf && session.detectBareLf) {
      if (settings.bareLf === "note") session.sawBareLf = true;
      if (settings.bareLf === "reject") {
        session.logDecision("reject", "bare <LF> received");
        await session.reply(`${settings.bareLfCode} 5.5.2 ${settings.myhostname} Error: bare <LF> received`);
        return undefined;
      }
    }
    if (!(await execute(session, line.text))) return undefined;
  }
}

function count(session: Session, name: string, success: boolean): void {
  let entry = session.counts.get(name);
  if (entry === undefined) {
    entry = { total: 0, success: 0 };
    session.counts.set(name, entry);
  }
  entry.total++;
  if (success) entry.success++;
}

/** A line that is no command at all. */
async function malformed(session: Session, reply: string): Promise<true> {
  session.where = "UNKNOWN";
  session.noteError("protocol");
  count(session, "unknown", false);
  await session.reply(reply);
  session.errorCount++;
  return true;
}

/** Answers one command line; false ends the session. */
async function execute(session: Session, typed: string): Promise<boolean> {
  const { settings, policy, chat } = session;
  chat.noteQuery(typed);
  if (settings.utf8 && !isValidUtf8(typed)) return malformed(session, "500 5.5.2 Error: bad UTF-8 syntax");
  const line = policy.commandFilter.empty ? typed : await filtered(session, typed);
  const tokens = tokenize(line);
  const [first] = tokens;
  if (first === undefined) return malformed(session, "500 5.5.2 Error: bad syntax");
  const name = upperAscii(first.text);
  if (!policy.noopCommands.empty && (await policy.noopCommands.matchesSurely(first.text))) {
    await session.reply("250 2.0.0 Ok");
    countJunk(session);
    return true;
  }
  const verb = VERBS.get(name);
  if (verb === undefined) {
    if (isHeader(first.text) || (await policy.forbiddenCommands.matchesSurely(first.text))) {
      session.where = "UNKNOWN";
      count(session, "unknown", false);
      warning(`non-SMTP command from ${session.nameAddress}: ${escaped(line.slice(0, 100))}`);
      await session.reply("221 2.7.0 Error: I can break rules, too. Goodbye.");
      return false;
    }
    session.where = "UNKNOWN";
  }
  const label = verb === undefined ? "unknown" : lowerAscii(verb.name);
  if (session.denied !== undefined && name !== "QUIT") {
    count(session, label, false);
    if (isFinalReply(session.denied)) {
      await session.reply(session.denied);
      return false;
    }
    await session.reply(`503 5.7.0 Error: access denied for ${session.nameAddress}`);
    session.errorCount++;
    return true;
  }
  if (verb === undefined) {
    count(session, label, false);
    session.noteError("protocol");
    await session.reply("500 5.5.2 Error: command not recognized");
    session.errorCount++;
    return true;
  }
  session.where = verb.name;
  if (
    session.channel.buffered > 0 &&
    (session.protocol !== "ESMTP" || verb.last) &&
    (await pipelined(session))
  ) {
    count(session, label, false);
    return false;
  }
  let success = false;
  try {
    success = await verb.run(session, { verb: verb.name, tokens, line });
  } finally {
    // An XCLIENT that succeeded began the session anew: that is no success of the old one.
    count(session, label, success && verb.name !== "XCLIENT");
  }
  if (!success) session.errorCount++;
  if (verb.junk) countJunk(session);
  if (session.restart) {
    session.restart = false;
    return greet(session);
  }
  return !(verb.name === "QUIT" || chat.hangup);
}

function countJunk(session: Session): void {
  if (session.junkCount++ > session.settings.junkLimit) session.errorCount++;
}

/** smtpd_command_filter */
async function filtered(session: Session, typed: string): Promise<string> {
  const key = typed.replace(/^[ \t\n\v\f\r]+/, "");
  if (key === "") return typed;
  const result = await session.policy.commandFilter.lookup(key);
  if (result.kind === "error")
    throw new SessionEnd("data", `421 4.3.0 ${session.settings.myhostname} Server local data error`);
  if (result.kind === "absent") return typed;
  const cut = (text: string): string => printable(text.slice(0, 100), session.settings.utf8);
  info(`${session.nameAddress}: replacing command "${cut(typed)}" with "${cut(result.value)}"`);
  return result.value;
}

/** Input behind a command that must be the last of its group, or before the greeting: RFC 2920 section 3.1. True ends the session. */
async function pipelined(session: Session): Promise<boolean> {
  const { channel, settings } = session;
  if (channel.buffered === 0 || session.sawPipelining || session.connection.piped) return false;
  session.sawPipelining = true;
  const data = channel.peek().toString("latin1", 0, 100);
  log(improperPipelining({ where: session.where, client: session.nameAddress, data: escaped(data) }));
  if (!settings.forbidPipelining) return false;
  session.noteError("protocol");
  await session.reply("554 5.5.0 Error: SMTP protocol synchronization");
  return true;
}

function logAbort(session: Session, reason: string): void {
  let where = session.where;
  if (session.contentBytes !== undefined && (where === "DATA" || where === "BDAT"))
    where += ` (${session.contentBytes()} bytes)`;
  log(sessionAborted({ queueId: session.queueId, reason, where, client: session.nameAddress }));
}

/** Tells the client and the log why it is over, and lets go of everything. */
async function finish(session: Session, ending: SessionEnd | undefined): Promise<void> {
  const { settings, channel } = session;
  let reason: string | undefined;
  try {
    switch (ending?.reason) {
      case "timeout":
        reason = "timeout";
        channel.setDeadline(0);
        await lastReply(session, `421 4.4.2 ${settings.myhostname} Error: timeout exceeded`);
        logAbort(session, reason);
        break;
      case "lost connection":
        reason = "lost connection";
        if (session.where !== "END-OF-MESSAGE" && session.where !== "QUIT") logAbort(session, reason);
        break;
      case "failed":
        await lastReply(session, ending.reply);
        break;
      case "data":
        reason = "local data error";
        info(`${session.queueId}: reject: ${session.where} from ${session.nameAddress}: ${ending.reply}`);
        await lastReply(session, ending.reply);
        break;
      default:
        if (session.errorCount >= settings.hardErrorLimit) reason = "too many errors";
    }
    session.resetTransaction();
    await session.rates?.disconnect();
    await sendTranscript(session, reason);
  } finally {
    session.resetTransaction();
    log(
      clientDisconnected({
        client: session.nameAddress,
        commands: statistics(session),
        notes: session.sawBareLf ? " notes=bare_lf" : "",
      }),
    );
  }
}

/** A reply to a client that may not read any more. */
async function lastReply(session: Session, text: string): Promise<void> {
  try {
    session.channel.timeLimit = Math.min(session.settings.timeout, 10);
    await session.chat.reply(text);
    await session.chat.flush();
  } catch (error) {
    if (!(error instanceof ChannelTimeout || error instanceof SysError || error === session.channel.failure))
      throw error;
  }
}

/** Labels of the verbs in the order of the line about the end of a session. */
let statisticsOrder: ReadonlyArray<string> | undefined;

/** ` ehlo=1 mail=1/2 ... commands=2/3` */
function statistics(session: Session): string {
  let text = "";
  let total = 0;
  let success = 0;
  statisticsOrder ??= [...VERBS.keys()].map(lowerAscii).concat("unknown");
  for (const name of statisticsOrder) {
    const entry = session.counts.get(name);
    if (entry === undefined) continue;
    total += entry.total;
    success += entry.success;
    text +=
      name !== "unknown" && entry.success === entry.total
        ? ` ${name}=${entry.total}`
        : ` ${name}=${entry.success}/${entry.total}`;
  }
  return `${text} commands=${total > 0 && success === total ? total : `${success}/${total}`}`;
}
