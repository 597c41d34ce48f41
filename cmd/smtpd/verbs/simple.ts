/** RSET, NOOP, HELP and QUIT. RFC 5321 sections 4.1.1.5 to 4.1.1.10. */
import type { VerbHandler } from "../verb.ts";

export const rset: VerbHandler = (session, { tokens }) => {
  if (tokens.length !== 1) return session.refuse("501 5.5.4 Syntax: RSET", "protocol");
  session.resetTransaction();
  return session.accept("250 2.0.0 Ok");
};

export const noop: VerbHandler = (session) => session.accept("250 2.0.0 Ok");

const HELP = "AUTH BDAT DATA EHLO ETRN HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY XCLIENT XFORWARD";

export const help: VerbHandler = (session) => session.accept(`214 2.0.0 Commands: ${HELP}`);

export const quit: VerbHandler = (session) => session.accept("221 2.0.0 Bye");
