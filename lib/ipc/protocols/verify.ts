/** verify(8), private/verify (ipc.md 5.5). The double r in the name is on the wire. */
import { constant, int, message, string } from "../attributes.ts";
import { greeting } from "./greeting.ts";

export const VerifyGreeting = greeting("address_verification_prrotocol");
export const VerifyCommand = message("verify command", [string("request")]);
export const VerifyQuery = message("verify query", [constant("request", "query"), string("address")]);
export const VerifyQueryReply = message("verify query reply", [
  int("status"),
  int("recipient_status", "recipientStatus"),
  string("reason"),
]);
export const VerifyUpdate = message("verify update", [
  constant("request", "update"),
  string("address"),
  int("recipient_status", "recipientStatus"),
  string("reason"),
]);
export const VerifyStatus = message("verify status", [int("status")]);
export const VERIFY_STATUS = { ok: 0, fail: -1, bad: -2 } as const;
export const RECIPIENT_STATUS = { ok: 0, defer: 1, bounce: 2, todo: 3 } as const;
