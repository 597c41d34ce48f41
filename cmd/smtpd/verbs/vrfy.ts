/** VRFY: the checks of RCPT without a transaction. RFC 5321 section 4.1.1.6. */
import { isAscii, upperAscii } from "../../../lib/sys/bytes.ts";
import { rateExceeded } from "../rates.ts";
import type { VerbHandler } from "../verb.ts";

export const vrfy: VerbHandler = async (session, { tokens }) => {
  const { settings } = session;
  if (settings.disableVrfy) return session.refuse("502 5.5.1 VRFY command is disabled", "policy");
  let words = tokens.slice(1);
  let utf8 = false;
  if (
    settings.utf8 &&
    !session.discarded.has("SMTPUTF8") &&
    upperAscii(words.at(-1)?.text ?? "") === "SMTPUTF8"
  ) {
    utf8 = true;
    words = words.slice(0, -1);
  }
  if (words.length === 0)
    return session.refuse(`501 5.5.4 Syntax: VRFY address${settings.utf8 ? " [SMTPUTF8]" : ""}`, "protocol");
  if (await rateExceeded(session, "recipient"))
    return session.refuse(`450 4.7.1 Error: too many recipients from ${session.client.address}`, "policy");
  const text = words.map((token) => token.text).join(" ");
  const address = await session.parseAddress("VRFY", text, {
    allowEmpty: false,
    utf8,
    sender: session.transaction?.sender ?? "",
    strict: false,
  });
  if (address === undefined) return session.refuse("501 5.1.3 Bad recipient address syntax", "protocol");
  if (settings.strictUtf8 && !utf8 && !isAscii(address))
    return session.refuse("553 5.6.7 Must declare SMTPUTF8 to send unicode address", "policy");
  if (!session.standAlone) {
    const refusal = await session.access.verify(address);
    if (refusal !== undefined) return session.refuse(refusal);
  }
  await session.reply(`252 2.0.0 ${text}`);
  return true;
};
