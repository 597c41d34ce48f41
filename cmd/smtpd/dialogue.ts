/** The life of a session: greeting, command loop, end (smtpd.md 1 and 2). */
import {
  clientConnected,
  clientDisconnected,
  improperPipelining,
  sessionAborted,
} from "../../lib/log/events/smtpd.ts";
import { ClientAbort, info, log, logClientAbort, warning } from "../../lib/log/log.ts";
import { isHeader } from "../../lib/message/header.ts";
import { type Token, tokenize } from "../../lib/smtp/command.ts";
import { isFinalReply } from "../../lib/smtp/reply.ts";
import { isValidUtf8, printable, upperAscii } from "../../lib/sys/bytes.ts";
import { ChannelTimeout } from "../../lib/sys/channel.ts";
import { SysError } from "../../lib/sys/errno.ts";
import { type Soon, when } from "../../lib/sys/when.ts";
import { takeLine } from "./command_line.ts";
import { LABELS, NO_VERB, VERBS } from "./commands.ts";
import { escaped } from "./escaped.ts";
import { limitsConfigured, Rates, tooManyConnections } from "./rates.ts";
import type { Session } from "./session.ts";
import { SessionEnd } from "./session_end.ts";
import { sendTranscript } from "./transcript.ts";
import type { Verb } from "./verb.ts";

/** Serves one client from greeting to end. Failures of the client and of its connection end here. */
export async function converse(session: Session): Promise<void> {
  const { client, channel, settings } = session;
  channel.timeLimit = settings.timeout;
  log(clientConnected({ client: session.nameAddress, name: client.name, address: client.address }));
  let ending: SessionEnd | undefined;
  try {
    if (session.connection.failed)
      throw new SessionEnd("failed", `421 4.3.0 ${settings.myhostname} Server local error`);
    const identified = session.identify(true);
    if (identified instanceof Promise) await identified;
    if (await greet(session)) ending = await commandLoop(session);
    const flushed = session.chat.flush();
    if (flushed instanceof Promise) await flushed;
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
  const { name, address } = session.client;
  const level = session.policy.debugPeers.level(name, address);
  session.chat.debugLevel = level instanceof Promise ? await level : level;
  const watched = !connection.piped && !connection.screened;
  if (watched && session.channel.buffered === 0) await services.sleep(0);
  if (watched && session.channel.buffered > 0 && (await pipelined(session))) return false;
  if (limitable(session) && (await limited(session))) {
    await session.reply(
      `421 4.7.0 ${settings.myhostname} Error: too many connections from ${session.client.address}`,
    );
    return false;
  }
  const chosen = session.chooseDiscards();
  if (chosen instanceof Promise) await chosen;
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
  const replied = session.reply(`220 ${settings.banner}`);
  if (replied instanceof Promise) await replied;
  return true;
}

/** A client to which limits may apply. */
const limitable = (session: Session): boolean =>
  !session.standAlone && !session.mayXclient && limitsConfigured(session);

/** Registers the client with anvil(8), where limits apply to it. */
async function limited(session: Session): Promise<boolean> {
  const { client, policy } = session;
  if (await policy.eventExceptions.matchesSurely(client.name, client.address)) return false;
  session.rates ??= new Rates(session.services.rates());
  return tooManyConnections(session);
}

/** Pipelined commands of one client that are worked on without a pause. */
const TURN_COMMANDS = 50;

/** Lets other sessions work before the next of many pipelined commands, and the client read its replies. */
async function takeTurn(session: Session): Promise<void> {
  session.unbroken = 0;
  await session.chat.flush();
  await session.services.sleep(0);
}

/** Reads and answers commands until QUIT, a limit or a final reply. */
async function commandLoop(session: Session): Promise<SessionEnd | undefined> {
  const { settings, chat, channel } = session;
  for (;;) {
    if (chat.history.length > settings.historyThreshold) await sendTranscript(session);
    if (chat.hangup) return undefined;
    if (session.errorCount >= settings.hardErrorLimit) {
      session.noteError("protocol");
      await session.reply(`421 4.7.0 ${settings.myhostname} Error: too many errors`);
      logAbort(session, "too many errors");
      return undefined;
    }
    if (settings.perRequestDeadline) channel.setDeadline(settings.timeout);
    let taken = takeLine(session);
    // nobody would hear of what goes wrong with a line that is still read
    if (taken !== undefined && !(taken instanceof Promise) && ++session.unbroken >= TURN_COMMANDS)
      await takeTurn(session);
    while (taken === undefined) {
      session.unbroken = 0;
      const flushed = chat.flush();
      if (flushed !== undefined) await flushed;
      if (session.inputDisabled || !(await channel.more())) throw new SessionEnd("lost connection");
      taken = takeLine(session);
    }
    const line = taken instanceof Promise ? await taken : taken;
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
    const goesOn = execute(session, line.text);
    if (goesOn === false || (goesOn !== true && !(await goesOn))) return undefined;
  }
}

function count({ counts }: Session, place: number, success: boolean): void {
  const entry = counts[place] ?? { total: 0, success: 0 };
  counts[place] = entry;
  entry.total++;
  if (success) entry.success++;
}

/** A line that is no command at all. */
async function malformed(session: Session, reply: string): Promise<true> {
  session.where = "UNKNOWN";
  session.noteError("protocol");
  count(session, NO_VERB, false);
  await session.reply(reply);
  session.errorCount++;
  return true;
}

/** Answers one command line; false ends the session. */
function execute(session: Session, typed: string): Soon<boolean> {
  const { settings, policy, chat } = session;
  chat.noteQuery(typed);
  if (settings.utf8 && !isValidUtf8(typed)) return malformed(session, "500 5.5.2 Error: bad UTF-8 syntax");
  return policy.commandFilter.empty
    ? command(session, typed)
    : filtered(session, typed).then((line) => command(session, line));
}

function command(session: Session, line: string): Soon<boolean> {
  const tokens = tokenize(line);
  const [first] = tokens;
  if (first === undefined) return malformed(session, "500 5.5.2 Error: bad syntax");
  const { noopCommands } = session.policy;
  if (noopCommands.empty) return run(session, line, tokens, first.text);
  return when(noopCommands.matchesSurely(first.text), (isNoop) =>
    isNoop ? doNothing(session) : run(session, line, tokens, first.text),
  );
}

/** smtpd_noop_commands */
async function doNothing(session: Session): Promise<true> {
  await session.reply("250 2.0.0 Ok");
  countJunk(session);
  return true;
}

function run(session: Session, line: string, tokens: readonly Token[], typed: string): Soon<boolean> {
  const name = upperAscii(typed);
  const verb = VERBS.get(name);
  if (verb === undefined) return unknown(session, line, typed);
  if (session.denied !== undefined && name !== "QUIT") return denied(session, session.denied, verb.place);
  session.where = verb.name;
  return session.channel.buffered > 0 && (session.protocol !== "ESMTP" || verb.last)
    ? pipelined(session).then((refused) => {
        if (!refused) return answer(session, verb, line, tokens);
        count(session, verb.place, false);
        return false;
      })
    : answer(session, verb, line, tokens);
}

async function unknown(session: Session, line: string, typed: string): Promise<boolean> {
  session.where = "UNKNOWN";
  if (isHeader(typed) || (await session.policy.forbiddenCommands.matchesSurely(typed))) {
    count(session, NO_VERB, false);
    warning(`non-SMTP command from ${session.nameAddress}: ${escaped(line.slice(0, 100))}`);
    await session.reply("221 2.7.0 Error: I can break rules, too. Goodbye.");
    return false;
  }
  if (session.denied !== undefined) return denied(session, session.denied, NO_VERB);
  count(session, NO_VERB, false);
  session.noteError("protocol");
  await session.reply("500 5.5.2 Error: command not recognized");
  session.errorCount++;
  return true;
}

/** The client was refused before: `reply` is what it was told. */
async function denied(session: Session, reply: string, place: number): Promise<boolean> {
  count(session, place, false);
  if (isFinalReply(reply)) {
    await session.reply(reply);
    return false;
  }
  await session.reply(`503 5.7.0 Error: access denied for ${session.nameAddress}`);
  session.errorCount++;
  return true;
}

function answer(session: Session, verb: Verb, line: string, tokens: readonly Token[]): Soon<boolean> {
  let success: Soon<boolean>;
  try {
    success = verb.run(session, { verb: verb.name, tokens, line });
  } catch (error) {
    count(session, verb.place, false);
    throw error;
  }
  if (!(success instanceof Promise)) return answered(session, verb, success);
  return success.then(
    (done) => answered(session, verb, done),
    (error) => {
      count(session, verb.place, false);
      throw error;
    },
  );
}

/** After a command: false ends the session. */
function answered(session: Session, verb: Verb, success: boolean): Soon<boolean> {
  // An XCLIENT that succeeded began the session anew: that is no success of the old one.
  count(session, verb.place, success && verb.name !== "XCLIENT");
  if (!success) session.errorCount++;
  if (verb.junk) countJunk(session);
  if (session.restart) {
    session.restart = false;
    return greet(session);
  }
  return !(verb.name === "QUIT" || session.chat.hangup);
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
    if (session.rates !== undefined) await session.rates.disconnect();
    const reported = sendTranscript(session, reason);
    if (reported instanceof Promise) await reported;
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

/** ` ehlo=1 mail=1/2 ... commands=2/3` */
function statistics({ counts }: Session): string {
  let text = "";
  let total = 0;
  let success = 0;
  for (let place = 0; place < counts.length; place++) {
    const entry = counts[place];
    if (entry === undefined) continue;
    total += entry.total;
    success += entry.success;
    text +=
      place !== NO_VERB && entry.success === entry.total
        ? ` ${LABELS[place]}=${entry.total}`
        : ` ${LABELS[place]}=${entry.success}/${entry.total}`;
  }
  return `${text} commands=${total > 0 && success === total ? total : `${success}/${total}`}`;
}
