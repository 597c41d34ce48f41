/** SMTP access policy delegation, in the plain encoding: SMTPD_POLICY_README. The order of the attributes is Postfix's. */
import { constant, int, long, message, string, type ValueOf } from "../attributes.ts";

export const PolicyRequest = message("policy request", [
  constant("request", "smtpd_access_policy"),
  string("protocol_state"),
  string("protocol_name"),
  string("client_address"),
  string("client_name"),
  string("client_port"),
  string("reverse_client_name"),
  string("server_address"),
  string("server_port"),
  string("helo_name"),
  string("sender"),
  string("recipient"),
  int("recipient_count"),
  string("queue_id"),
  string("instance"),
  long("size"),
  string("etrn_domain"),
  string("stress"),
  string("sasl_method"),
  string("sasl_username"),
  string("sasl_sender"),
  string("ccert_subject"),
  string("ccert_issuer"),
  string("ccert_fingerprint"),
  string("ccert_pubkey_fingerprint"),
  string("encryption_protocol"),
  string("encryption_cipher"),
  int("encryption_keysize"),
  string("tls_sni"),
  string("policy_context"),
  string("compatibility_level"),
  string("mail_version"),
]);
export type PolicyAttributes = ValueOf<typeof PolicyRequest>;

export const PolicyReply = message("policy reply", [string("action")]);
