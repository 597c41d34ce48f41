/** STARTTLS, as long as TLS is not offered. RFC 3207. */
import type { VerbHandler } from "../verb.ts";

export const startTls: VerbHandler = (session, { tokens }) =>
  tokens.length === 1
    ? session.refuse("502 5.5.1 Error: command not implemented", "protocol")
    : session.refuse("501 5.5.4 Syntax: STARTTLS", "protocol");
