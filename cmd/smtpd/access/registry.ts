/** Every restriction by its name, in lower case (postconf(5)). */
import * as addresses from "./addresses.ts";
import * as client from "./client.ts";
import * as destination from "./destination.ts";
import type { Restriction } from "./evaluation.ts";
import * as generic from "./generic.ts";
import * as helo from "./helo.ts";
import { rejectUnlistedRecipient, rejectUnlistedSender } from "./listed.ts";
import { checkPolicyService } from "./policy_service.ts";
import * as rbl from "./rbl.ts";
import * as servers from "./servers.ts";
import { checkTable } from "./tables.ts";
import { rejectUnverifiedRecipient, rejectUnverifiedSender } from "./unverified.ts";

const table: Restriction = (evaluation, frame, argument, name) =>
  checkTable(evaluation, name, argument(), frame);

const TABLE_CHECKS = [
  "check_client_access",
  "check_reverse_client_hostname_access",
  "check_helo_access",
  "check_sender_access",
  "check_recipient_access",
  "check_etrn_access",
];

const SERVER_TARGETS: ReadonlyArray<readonly [string, servers.TargetOf]> = [
  ["client", servers.clientTarget],
  ["reverse_client_hostname", servers.reverseClientTarget],
  ["helo", servers.heloTarget],
  ["sender", servers.senderTarget],
  ["recipient", servers.recipientTarget],
];

const SERVER_KINDS: readonly servers.ServerKind[] = ["a", "mx", "ns"];

export const RESTRICTIONS: ReadonlyMap<string, Restriction> = new Map<string, Restriction>([
  ["permit", generic.permit],
  ["reject", generic.reject],
  ["defer", generic.defer],
  ["defer_if_permit", generic.deferIfPermit],
  ["defer_if_reject", generic.deferIfReject],
  ["sleep", generic.sleep],
  ["reject_plaintext_session", generic.rejectPlaintextSession],
  ["reject_unauth_pipelining", generic.rejectUnauthPipelining],
  ["check_policy_service", checkPolicyService],

  ["permit_inet_interfaces", client.permitInetInterfaces],
  ["permit_mynetworks", client.permitMynetworks],
  ["permit_sasl_authenticated", client.permitAuthenticated],
  ["check_sasl_access", generic.withoutSaslTable],
  ["permit_tls_clientcerts", generic.withoutTls],
  ["permit_tls_all_clientcerts", generic.withoutTls],
  ["check_ccert_access", generic.checkCertificate],
  ["reject_unknown_client_hostname", client.rejectUnknownClient],
  ["reject_unknown_client", client.rejectUnknownClient],
  ["reject_unknown_reverse_client_hostname", client.rejectUnknownReverse],

  ["reject_invalid_helo_hostname", helo.rejectInvalid],
  ["reject_invalid_hostname", helo.rejectInvalid],
  ["reject_non_fqdn_helo_hostname", helo.rejectNonFqdn],
  ["reject_non_fqdn_hostname", helo.rejectNonFqdn],
  ["reject_unknown_helo_hostname", helo.rejectUnknown],
  ["reject_unknown_hostname", helo.rejectUnknown],
  ["permit_naked_ip_address", generic.removed('"permit_mynetworks" or "permit_sasl_authenticated"')],

  ["reject_non_fqdn_sender", addresses.rejectNonFqdnSender],
  ["reject_unknown_sender_domain", addresses.rejectUnknownSenderDomain],
  ["reject_unlisted_sender", rejectUnlistedSender],
  ["reject_unverified_sender", rejectUnverifiedSender],
  ["reject_sender_login_mismatch", generic.withoutSaslBoth],
  ["reject_authenticated_sender_login_mismatch", generic.withoutSasl],
  ["reject_known_sender_login_mismatch", generic.withoutSasl],
  ["reject_unauthenticated_sender_login_mismatch", generic.withoutSasl],

  ["permit_auth_destination", destination.permitAuthDestination],
  ["reject_unauth_destination", destination.rejectUnauthDestination],
  ["defer_unauth_destination", destination.deferUnauthDestination],
  ["permit_mx_backup", destination.permitMxBackup],
  ["reject_non_fqdn_recipient", addresses.rejectNonFqdnRecipient],
  ["reject_unknown_recipient_domain", addresses.rejectUnknownRecipientDomain],
  ["reject_unlisted_recipient", rejectUnlistedRecipient],
  ["check_recipient_maps", rejectUnlistedRecipient],
  ["reject_unverified_recipient", rejectUnverifiedRecipient],
  ["reject_multi_recipient_bounce", addresses.rejectMultiRecipientBounce],
  ["check_relay_domains", generic.removed('"reject_unauth_destination"')],
  ["reject_maps_rbl", generic.removed('"reject_rbl_client domain-name"')],

  ["reject_rbl_client", rbl.rejectClient],
  ["reject_rhsbl_client", rbl.rejectClientName],
  ["reject_rhsbl_reverse_client", rbl.rejectReverseClientName],
  ["reject_rhsbl_helo", rbl.rejectHelo],
  ["reject_rhsbl_sender", rbl.rejectSender],
  ["reject_rhsbl_recipient", rbl.rejectRecipient],
  ["permit_dnswl_client", rbl.permitClient],
  ["permit_rhswl_client", rbl.permitClientName],

  ...TABLE_CHECKS.map((name): [string, Restriction] => [name, table]),
  ...SERVER_TARGETS.flatMap(([about, target]) =>
    SERVER_KINDS.map((kind): [string, Restriction] => [
      `check_${about}_${kind}_access`,
      servers.serverAccess(kind, target),
    ]),
  ),
]);
