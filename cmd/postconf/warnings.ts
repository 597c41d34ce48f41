/** What postconf says about settings after it has shown them: unused and deprecated ones. */

import { isParameterName } from "../../lib/config/parameter_rows.ts";
import { warning } from "../../lib/log/log.ts";
import { settingsOf } from "./master_file.ts";
import { byName, isUsed, type References } from "./references.ts";
import type { Sources } from "./sources.ts";

const LEAVE_ALONE = "do not specify (leave at default)";

/** Instead of a deprecated or removed parameter. */
const ADVICE: ReadonlyMap<string, string> = new Map([
  ["lmtp_cname_overrides_servername", "do not specify"],
  ["smtp_cname_overrides_servername", "do not specify"],
  ["tlsproxy_client_loglevel_parameter", "do not specify"],
  ["smtpd_tls_dh1024_param_file", LEAVE_ALONE],
  ["smtpd_tls_eecdh_grade", LEAVE_ALONE],
  ["lmtp_enforce_tls", "lmtp_tls_security_level"],
  ...Object.entries({
    disable_dns_lookups: "smtp_dns_support_level",
    smtp_use_tls: "smtp_tls_security_level",
    lmtp_use_tls: "lmtp_tls_security_level",
    smtpd_use_tls: "smtpd_tls_security_level",
    postscreen_use_tls: "postscreen_tls_security_level",
    smtp_enforce_tls: "smtp_tls_security_level",
    smtpd_enforce_tls: "smtpd_tls_security_level",
    postscreen_enforce_tls: "postscreen_tls_security_level",
    tlsproxy_use_tls: "tlsproxy_tls_security_level",
    tlsproxy_enforce_tls: "tlsproxy_tls_security_level",
    tlsproxy_client_use_tls: "tlsproxy_client_security_level",
    tlsproxy_client_enforce_tls: "tlsproxy_client_security_level",
    smtp_tls_enforce_peername: "smtp_tls_security_level",
    lmtp_tls_enforce_peername: "lmtp_tls_security_level",
    smtp_tls_per_site: "smtp_tls_policy_maps",
    lmtp_tls_per_site: "lmtp_tls_policy_maps",
    tlsproxy_client_per_site: "tlsproxy_client_policy_maps",
    authorized_verp_clients: "smtpd_authorized_verp_clients",
    fallback_relay: "smtp_fallback_relay",
    lmtp_per_record_deadline: "lmtp_per_request_deadline",
    postscreen_blacklist_action: "postscreen_denylist_action",
    postscreen_dnsbl_ttl: "postscreen_dnsbl_max_ttl",
    postscreen_dnsbl_whitelist_threshold: "postscreen_dnsbl_allowlist_threshold",
    postscreen_whitelist_interfaces: "postscreen_allowlist_interfaces",
    smtp_per_record_deadline: "smtp_per_request_deadline",
    smtpd_client_connection_limit_exceptions: "smtpd_client_event_limit_exceptions",
    smtpd_per_record_deadline: "smtpd_per_request_deadline",
    tlsproxy_client_level: "tlsproxy_client_security_level",
    tlsproxy_client_policy: "tlsproxy_client_policy_maps",
    virtual_maps: "virtual_alias_maps",
  }).map(([name, instead]) => [name, `specify "${instead}"`] as const),
]);

/** Warns about the settings of main.cf (unless a mode shows master.cf alone) and of the entries of master.cf. */
export function warnAboutSettings(sources: Sources, references: References, masterOnly: boolean): void {
  let deprecated = !masterOnly && warnAbout(sources.settings, sources.mainPath, sources, references);
  for (const entry of sources.master)
    if (warnAbout(settingsOf(entry), sources.masterPath, sources, references)) deprecated = true;
  if (deprecated) warning("See https://www.postfix.org/DEPRECATION_README.html for details");
}

/** Whether one of them is deprecated. */
function warnAbout(
  settings: ReadonlyMap<string, string>,
  path: string,
  sources: Sources,
  references: References,
): boolean {
  let deprecated = false;
  for (const [name, value] of [...settings].sort(byName)) {
    const advice = ADVICE.get(name);
    if (advice !== undefined) {
      deprecated = true;
      const text = isParameterName(name) ? `"${name}" will be removed` : `${name} has been removed`;
      warning(`${path}: support for parameter ${text}; instead, ${advice}`);
    } else if (sources.classOf(name) === undefined && !isUsed(name, references))
      warning(`${path}: unused parameter: ${name}=${value}`);
  }
  return deprecated;
}
