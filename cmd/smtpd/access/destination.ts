/** Relay control: which destinations mail may be sent to through us. */
import { splitAddress } from "../../../lib/address/split.ts";
import { usesLegacyDefault } from "../../../lib/config/compatibility.ts";
import { configuration } from "../../../lib/config/configuration.ts";
import { RESOLVE_FLAG } from "../../../lib/ipc/protocols/rewrite.ts";
import { info, warning } from "../../../lib/log/log.ts";
import { lowerAscii } from "../../../lib/sys/bytes.ts";
import { type Soon, when } from "../../../lib/sys/when.ts";
import { hostAddresses, hostError } from "./dns.ts";
import { type Evaluation, type Restriction, rejected } from "./evaluation.ts";

const AUTHORIZED =
  RESOLVE_FLAG.local | RESOLVE_FLAG.virtualAlias | RESOLVE_FLAG.virtualMailbox | RESOLVE_FLAG.relay;

/** We are the final destination or a relay for it, and the address brings no route of its own. */
export function authorizedDestination(evaluation: Evaluation, recipient: string): Soon<boolean> {
  return when(evaluation.resolveRecipient(recipient), (resolved) => {
    const { domain } = splitAddress(resolved.recipient);
    if (domain === undefined) return true;
    if ((resolved.flags & RESOLVE_FLAG.routed) !== 0 && !evaluation.settings.untrustedRouting) return false;
    if ((resolved.flags & RESOLVE_FLAG.relay) !== 0) noteRelay(`domain "${lowerAscii(domain)}"`);
    return (resolved.flags & AUTHORIZED) !== 0;
  });
}

/** Before compatibility level 2 what is below mydestination is relayed to by default; says for whom. */
export function noteRelay(what: string): void {
  if (!usesLegacyDefault(configuration(), "relay_domains")) return;
  info(`using backwards-compatible default setting relay_domains=$mydestination to accept mail for ${what}`);
}

export const permitAuthDestination: Restriction = (evaluation) => {
  const { recipient } = evaluation.subject;
  if (recipient === undefined) return "dunno";
  return when(authorizedDestination(evaluation, recipient), (authorized) =>
    authorized
      ? evaluation.permit("permit_auth_destination", { name: recipient, class: "Recipient address" })
      : "dunno",
  );
};

const refuseOthers =
  (code: (evaluation: Evaluation) => number, dsn: string): Restriction =>
  (evaluation) => {
    const { recipient } = evaluation.subject;
    if (recipient === undefined) return "dunno";
    return when(authorizedDestination(evaluation, recipient), (authorized) =>
      authorized
        ? "dunno"
        : evaluation.reject("policy", code(evaluation), dsn, `<${recipient}>: Relay access denied`),
    );
  };

export const rejectUnauthDestination = refuseOthers((evaluation) => evaluation.settings.codes.relay, "5.7.1");
export const deferUnauthDestination = refuseOthers(() => 454, "4.7.1");

let warnedOfMxBackup = false;

/** We are in the MX list of the domain, and somebody better too. */
export const permitMxBackup: Restriction = async (evaluation) => {
  const { recipient } = evaluation.subject;
  if (!warnedOfMxBackup) {
    warnedOfMxBackup = true;
    warning(
      'support for restriction "permit_mx_backup" will be removed from Postfix; instead, specify "relay_domains"',
    );
  }
  if (recipient === undefined) return "dunno";
  const resolved = await evaluation.resolveRecipient(recipient);
  if ((resolved.flags & RESOLVE_FLAG.routed) !== 0 && !evaluation.settings.untrustedRouting) return "dunno";
  const { domain } = splitAddress(resolved.recipient);
  if (domain === undefined || (resolved.flags & AUTHORIZED) !== 0) return "permit";
  if (domain.startsWith("[")) return "dunno";
  const later = (what: string, reason: string) =>
    evaluation.deferOnReject({
      errorClass: "policy",
      code: 450,
      dsn: "4.4.4",
      text: `${rejected({ name: recipient, class: "Recipient address" })} Unable to look up ${what}: ${reason}`,
    });
  const { lookup } = evaluation.session.services;
  const answer = await lookup(domain, "MX");
  if (answer.status === "retry" || answer.status === "fail")
    return later("mail exchanger information", hostError(answer.status));
  if (answer.status !== "found") return "dunno";
  const exchangers = answer.records.flatMap((record) => (record.type === "MX" ? [record] : []));
  const best = Math.min(...exchangers.map((record) => record.preference));
  let listed = false;
  for (const { host, preference } of exchangers) {
    const found = await hostAddresses(evaluation, host);
    if (found.status === "error") {
      if (found.error === "EAI_AGAIN") return later(`mail exchanger host ${host}`, found.text);
      continue;
    }
    for (const { address } of found.addresses) {
      const own = evaluation.policy.ownAddresses.has(address);
      if (own && preference === best) return "dunno";
      if (own) listed = true;
      const networks = evaluation.policy.mxBackupNetworks;
      if (preference === best && !networks.empty) {
        const match = await networks.matches(host, address);
        if (match.kind === "error") return evaluation.lookupFailure(recipient);
        if (match.kind === "none") return "dunno";
      }
    }
  }
  return listed
    ? evaluation.permit("permit_mx_backup", { name: recipient, class: "Recipient address" })
    : "dunno";
};
