/** HELO and EHLO. RFC 5321 section 4.1.1.1. */
import { info } from "../../../lib/log/log.ts";
import { EHLO_KEYWORDS } from "../../../lib/smtp/ehlo_keywords.ts";
import { neuter } from "../../../lib/smtp/helo.ts";
import type { Session } from "../session.ts";
import type { Command, VerbHandler } from "../verb.ts";

/** Everything HELO and EHLO have in common; false when the command was refused. */
async function greet(session: Session, { verb, tokens }: Command): Promise<boolean> {
  if (tokens.length < 2) return session.refuse(`501 Syntax: ${verb} hostname`, "protocol");
  const name = tokens
    .slice(1)
    .map((token) => token.text)
    .join(" ");
  if (!session.settings.delayReject) {
    const refusal = await session.access.helo(name);
    if (refusal !== undefined) return session.refuse(refusal);
  }
  session.resetTransaction();
  session.heloName = neuter(name, session.settings.utf8);
  return true;
}

export const helo: VerbHandler = async (session, command) => {
  if (!(await greet(session, command))) return false;
  await session.reply(`250 ${session.settings.myhostname}`);
  return true;
};

export const ehlo: VerbHandler = async (session, command) => {
  if (!(await greet(session, command))) return false;
  session.protocol = "ESMTP";
  if (session.logDiscarded) {
    const hidden = EHLO_KEYWORDS.filter((word) => session.discarded.has(word));
    if (hidden.length > 0) info(`discarding EHLO keywords: ${hidden.join(" ")}`);
  }
  const lines = [session.settings.myhostname, ...(await keywords(session))];
  await session.reply(lines.map((line, i) => `250${i < lines.length - 1 ? "-" : " "}${line}`).join("\r\n"));
  return true;
};

const XCLIENT_ATTRIBUTES = "NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT";
const XFORWARD_ATTRIBUTES = "NAME ADDR PROTO HELO SOURCE PORT IDENT";

async function keywords(session: Session): Promise<string[]> {
  const { settings, discarded } = session;
  const lines: string[] = [];
  const announce = (word: string, line = word): void => {
    if (!discarded.has(word)) lines.push(line);
  };
  announce("PIPELINING");
  announce("SIZE", settings.messageSizeLimit > 0 ? `SIZE ${settings.messageSizeLimit}` : "SIZE");
  if (!settings.disableVrfy) announce("VRFY");
  announce("ETRN");
  const verp = await session.mayVerp();
  for (const feature of ["XVERP", "XCLIENT", "XFORWARD"] as const) session.requireCertain(feature);
  if (verp) announce("VERP", "XVERP");
  if (session.mayXclient) announce("XCLIENT", `XCLIENT ${XCLIENT_ATTRIBUTES}`);
  if (session.mayXforward) announce("XFORWARD", `XFORWARD ${XFORWARD_ATTRIBUTES}`);
  announce("ENHANCEDSTATUSCODES");
  announce("8BITMIME");
  announce("DSN");
  if (settings.utf8) announce("SMTPUTF8");
  announce("CHUNKING");
  return lines;
}
