/** RSET, NOOP, HELP and QUIT. RFC 5321 sections 4.1.1.5 to 4.1.1.10. */
import type { VerbHandler } from "../verb.ts";

export const rset: VerbHandler = async (session, { tokens }) => {
  if (tokens.length !== 1) return session.refuse("501 5.5.4 Syntax: RSET", "protocol");
  session.resetTransaction();
  await session.reply("250 2.0.0 Ok");
  return true;
};

export const noop: VerbHandler = async (session) => {
  await session.reply("250 2.0.0 Ok");
  return true;
};

const HELP = "AUTH BDAT DATA EHLO ETRN HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY XCLIENT XFORWARD";

export const help: VerbHandler = async (session) => {
  await session.reply(`214 2.0.0 Commands: ${HELP}`);
  return true;
};

export const quit: VerbHandler = async (session) => {
  await session.reply("221 2.0.0 Bye");
  return true;
};
