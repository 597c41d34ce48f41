/** anvil(8), private/anvil, in the plain encoding (ipc.md 5.8). */
import { int, message, string } from "../attributes.ts";
import { greeting } from "./greeting.ts";

export const AnvilGreeting = greeting("anvil_protocol");
export const AnvilRequest = message("anvil request", [string("request"), string("ident")]);
export const AnvilConnectReply = message("anvil connect reply", [int("status"), int("count"), int("rate")]);
export const AnvilRateReply = message("anvil rate reply", [int("status"), int("rate")]);
export const AnvilStatusReply = message("anvil status reply", [int("status")]);
const lookupFields = [
  int("status"),
  int("count"),
  int("rate"),
  int("mail"),
  int("rcpt"),
  int("newtls"),
  int("auth"),
] as const;
export const AnvilLookupReply = message("anvil lookup reply", lookupFields);
/** For a known client the count of TLS session trace requests follows under the name `auth` again. */
export const AnvilKnownLookupReply = message("anvil lookup reply", [
  ...lookupFields,
  int("auth", "tlsTrace"),
]);
