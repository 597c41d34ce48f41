/** receive_override_options: what is not done with the mail that smtpd(8) or pickup(8) takes. */
import { parameter } from "./configuration.ts";
import { namesOf } from "./names.ts";

const OPTIONS = [
  "no_unknown_recipient_checks",
  "no_address_mappings",
  "no_header_body_checks",
  "no_milters",
] as const;
export type ReceiveOverride = (typeof OPTIONS)[number];

export const receiveOverrides = (): ReadonlySet<ReceiveOverride> =>
  namesOf("receive_override_options", parameter("receive_override_options"), OPTIONS);
