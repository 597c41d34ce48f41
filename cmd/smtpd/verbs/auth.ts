/** AUTH, as long as smtpd_sasl_auth_enable is off. RFC 4954. */
import type { VerbHandler } from "../verb.ts";

export const auth: VerbHandler = async (session) => {
  if (session.settings.heloRequired && session.heloName === undefined)
    return session.refuse("503 5.5.1 Error: send HELO/EHLO first", "policy");
  return session.refuse("503 5.5.1 Error: authentication not enabled", "protocol");
};
