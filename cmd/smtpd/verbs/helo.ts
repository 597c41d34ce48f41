/** HELO and EHLO. RFC 5321 section 4.1.1.1. */
import { info } from "../../../lib/log/log.ts";
import { EHLO_KEYWORDS } from "../../../lib/smtp/ehlo_keywords.ts";
import { neuter } from "../../../lib/smtp/helo.ts";
import { type Soon, when } from "../../../lib/sys/when.ts";
import type { Session } from "../session.ts";
import type { Command, VerbHandler } from "../verb.ts";

/** Everything HELO and EHLO have in common; `accepted` answers. */
function greet(session: Session, { verb, tokens }: Command, accepted: () => Soon<boolean>): Soon<boolean> {
  const [, first, second] = tokens;
  if (first === undefined) return session.refuse(`501 Syntax: ${verb} hostname`, "protocol");
  const name =
    second === undefined
      ? first.text
      : tokens
          .slice(1)
          .map((token) => token.text)
          .join(" ");
  const enter = (): Soon<boolean> => {
    session.resetTransaction();
    session.heloName = neuter(name, session.settings.utf8);
    return accepted();
  };
  if (session.settings.delayReject) return enter();
  return session.access
    .helo(name)
    .then((refusal) => (refusal === undefined ? enter() : session.refuse(refusal)));
}

export const helo: VerbHandler = (session, command) =>
  greet(session, command, () => session.accept(`250 ${session.settings.myhostname}`));

export const ehlo: VerbHandler = (session, command) =>
  greet(session, command, () => {
    session.protocol = "ESMTP";
    if (session.logDiscarded) {
      const hidden = EHLO_KEYWORDS.filter((word) => session.discarded.has(word));
      if (hidden.length > 0) info(`discarding EHLO keywords: ${hidden.join(" ")}`);
    }
    return when(session.mayVerp(), (mayVerp) => {
      const lines = [session.settings.myhostname, ...keywords(session, mayVerp)];
      return session.accept(
        lines.map((line, i) => `250${i < lines.length - 1 ? "-" : " "}${line}`).join("\r\n"),
      );
    });
  });

const XCLIENT_ATTRIBUTES = "NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT";
const XFORWARD_ATTRIBUTES = "NAME ADDR PROTO HELO SOURCE PORT IDENT";

function keywords(session: Session, mayVerp: boolean): string[] {
  const { settings, discarded } = session;
  const lines: string[] = [];
  const announce = (word: string, line = word): void => {
    if (!discarded.has(word)) lines.push(line);
  };
  announce("PIPELINING");
  announce("SIZE", settings.messageSizeLimit > 0 ? `SIZE ${settings.messageSizeLimit}` : "SIZE");
  if (!settings.disableVrfy) announce("VRFY");
  announce("ETRN");
  for (const feature of ["XVERP", "XCLIENT", "XFORWARD"] as const) session.requireCertain(feature);
  if (mayVerp) announce("VERP", "XVERP");
  if (session.mayXclient) announce("XCLIENT", `XCLIENT ${XCLIENT_ATTRIBUTES}`);
  if (session.mayXforward) announce("XFORWARD", `XFORWARD ${XFORWARD_ATTRIBUTES}`);
  announce("ENHANCEDSTATUSCODES");
  announce("8BITMIME");
  announce("DSN");
  if (settings.utf8) announce("SMTPUTF8");
  announce("CHUNKING");
  return lines;
}
