/** What a configuration may ask for and this program does not do, or nobody: refused at start, not ignored. */
import { parameter } from "../../lib/config/configuration.ts";
import type { ParameterName } from "../../lib/config/parameters.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { bareLfMode } from "./settings.ts";

const EMPTY_ONLY = ["smtpd_milters", "smtpd_milter_maps"] as const;
const OFF_ONLY = ["smtpd_sasl_auth_enable", "smtpd_enforce_tls", "smtpd_tls_wrappermode"] as const;

const TEMPFAIL_ACTIONS = [
  "unknown_helo_hostname_tempfail_action",
  "unknown_address_tempfail_action",
  "unverified_sender_tempfail_action",
  "unverified_recipient_tempfail_action",
] as const;

const refuse = (name: ParameterName): never => fatal(`${name} = ${String(parameter(name))} is not supported`);

export function refuseUnsupported(): void {
  for (const name of EMPTY_ONLY) if (parameter(name) !== "") refuse(name);
  for (const name of OFF_ONLY) if (parameter(name)) fatal(`${name} = yes is not supported`);
  const level = parameter("smtpd_tls_security_level");
  if (level === "encrypt") refuse("smtpd_tls_security_level");
  if (level === "may" || (level === "" && parameter("smtpd_use_tls")))
    warning("TLS is not supported: STARTTLS is not offered, whatever smtpd_tls_security_level says");
  else if (level !== "" && level !== "none") fatal(`Invalid TLS level "${level}"`);
  if (bareLfMode(parameter("smtpd_forbid_bare_newline")) === undefined)
    fatal(`bad parameter value: 'smtpd_forbid_bare_newline = ${parameter("smtpd_forbid_bare_newline")}'`);
  const upstream = parameter("smtpd_upstream_proxy_protocol");
  if (upstream !== "" && upstream !== "haproxy")
    fatal(`unsupported smtpd_upstream_proxy_protocol value: ${upstream}`);
  for (const name of TEMPFAIL_ACTIONS)
    if (!["defer", "defer_if_permit"].includes(parameter(name)))
      fatal(`bad configuration: ${name} = ${parameter(name)}`);
}
