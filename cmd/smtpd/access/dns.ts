/** Does a name exist, for mail: MX, A and AAAA records, as the sender and HELO restrictions ask. */
import { configuration } from "../../../lib/config/configuration.ts";
import {
  type Family,
  type HostAddresses,
  lookupNative,
  type NativeFailure,
} from "../../../lib/dns/host_lookup.ts";
import { isNegative, type QueryType } from "../../../lib/dns/types.ts";
import { fatal } from "../../../lib/log/log.ts";
import type { Soon } from "../../../lib/sys/when.ts";
import type { Evaluation, Refusal, Verdict } from "./evaluation.ts";

export type Existence = "found" | "not-found" | "malformed" | "temporary" | "null-mx";

/** Record types of addresses, by inet_protocols. */
export function addressTypes(): QueryType[] {
  const protocols = configuration().protocols();
  const types: QueryType[] = [];
  if (protocols.ipv4) types.push("A");
  if (protocols.ipv6) types.push("AAAA");
  return types;
}

/** Asks for one type after the other until something is there. */
export async function nameExists(
  evaluation: Evaluation,
  name: string,
  types: readonly QueryType[],
): Promise<Existence> {
  let outcome: Existence = "not-found";
  for (const type of types) {
    const { status } = await evaluation.session.services.lookup(name, type);
    if (status === "found") return "found";
    if (status === "null-mx") return "null-mx";
    if (isNegative(status)) continue;
    if (status === "malformed") {
      if (outcome === "not-found") outcome = "malformed";
    } else outcome = "temporary";
  }
  return outcome;
}

/** What to do when an answer is not to be had now: reject_tempfail_action and its kin. */
export function onTemporaryFailure(
  evaluation: Evaluation,
  parameterName: string,
  action: string,
  refusal: Refusal,
): Verdict {
  switch (action) {
    case "defer_if_permit":
      return evaluation.deferOnPermit(refusal);
    case "defer":
      return evaluation.reject(refusal.errorClass, refusal.code, refusal.dsn, refusal.text);
    default:
      return fatal(`bad configuration: ${parameterName} = ${action}`);
  }
}

/** The addresses of a host as getaddrinfo() finds them. */
export function hostAddresses(evaluation: Evaluation, host: string): Soon<HostAddresses | NativeFailure> {
  const { services } = evaluation.session;
  const families = addressTypes().map((type): Family => (type === "A" ? "ipv4" : "ipv6"));
  return lookupNative(host, families, services);
}

const HOST_ERRORS = new Map([
  ["not-found", "Host not found"],
  ["no-data", "Host found but no data record of requested type"],
  ["retry", "Host not found, try again"],
  ["fail", "Non-recoverable error"],
]);
/** What `h_errno` says. */
export const hostError = (status: string): string => HOST_ERRORS.get(status) ?? "Unknown error 0";
