/** ETRN: send what waits for a site. RFC 1985. */
import { isValidAddressLiteral, isValidHostname } from "../../../lib/address/hostname.ts";
import { FLUSH_STATUS } from "../../../lib/ipc/protocols/flush.ts";
import { warning } from "../../../lib/log/log.ts";
import type { VerbHandler } from "../verb.ts";

export const etrn: VerbHandler = async (session, { tokens }) => {
  if (session.settings.heloRequired && session.heloName === undefined)
    return session.refuse("503 Error: send HELO/EHLO first", "policy");
  if (session.transaction !== undefined)
    return session.refuse("503 Error: MAIL transaction in progress", "protocol");
  const argument = tokens[1];
  if (argument === undefined || tokens.length !== 2)
    return session.refuse("500 Syntax: ETRN domain", "protocol");
  const domain =
    argument.text.startsWith("@") || argument.text.startsWith("#") ? argument.text.slice(1) : argument.text;
  if (!isValidHostname(domain) && !isValidAddressLiteral(domain))
    return session.refuse("501 Error: invalid parameter syntax", "protocol");
  if (session.standAlone) {
    warning('do not use ETRN in "sendmail -bs" mode');
    return session.refuse("458 Unable to queue messages", "policy");
  }
  const refusal = await session.access.etrn(domain);
  if (refusal !== undefined) return session.refuse(refusal);
  const status = await session.services.flushSite(domain);
  switch (status) {
    case FLUSH_STATUS.ok:
      await session.reply("250 Queuing started");
      return true;
    case FLUSH_STATUS.denied:
      warning(`reject: ETRN ${domain.slice(0, 100)}... from ${session.nameAddress}`);
      return session.refuse(`459 <${domain}>: service unavailable`, "policy");
    case FLUSH_STATUS.bad:
      warning(`bad ETRN ${domain.slice(0, 100)}... from ${session.nameAddress}`);
      return session.refuse("458 Unable to queue messages", "protocol");
    default:
      warning("unable to talk to fast flush service");
      return session.refuse("458 Unable to queue messages");
  }
};
