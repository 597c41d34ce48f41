/** The parameters of smtpd(8) as one record, read once: postconf(5). */
import { parameter } from "../../lib/config/configuration.ts";
import { namesOf } from "../../lib/config/names.ts";
import type { ParameterName } from "../../lib/config/parameters.ts";
import { receiveOverrides } from "../../lib/config/receive_overrides.ts";
import { lowerAscii, splitAny, upperAscii } from "../../lib/sys/bytes.ts";

const SEPARATORS = ", \t\r\n";

/** The words of a list parameter. */
export const words = (value: string): string[] => splitAny(value, SEPARATORS);
const names = (parameterName: ParameterName, known: readonly string[]): ReadonlySet<string> =>
  namesOf(parameterName, String(parameter(parameterName)), known);
const wordSet = (value: string): ReadonlySet<string> => new Set(words(value).map(lowerAscii));
/** Keywords of a discard list, in upper case. */
export const keywordSet = (value: string): ReadonlySet<string> => new Set(words(value).map(upperAscii));

const NOTIFY_CLASSES = ["bounce", "policy", "protocol", "resource", "software", "2bounce", "delay", "data"];

export type BareLfMode = "no" | "normalize" | "note" | "reject";
const BARE_LF_MODES = new Map<string, BareLfMode>([
  ["no", "no"],
  ["yes", "normalize"],
  ["normalize", "normalize"],
  ["note", "note"],
  ["reject", "reject"],
]);

/** undefined for a value that is none of the manual's. */
export const bareLfMode = (value: string): BareLfMode | undefined => BARE_LF_MODES.get(lowerAscii(value));

/** smtputf8_autodetect_classes names this program. */
const detectsUtf8 = (value: string): boolean => {
  const classes = wordSet(value);
  return classes.has("smtpd") || classes.has("all");
};

export function readSettings() {
  return {
    myhostname: parameter("myhostname"),
    mailName: parameter("mail_name"),
    banner: parameter("smtpd_banner"),
    timeout: parameter("smtpd_timeout"),
    perRequestDeadline: parameter("smtpd_per_request_deadline"),
    minDataRate: parameter("smtpd_min_data_rate"),
    lineLimit: parameter("line_length_limit"),
    hardErrorLimit: parameter("smtpd_hard_error_limit"),
    softErrorLimit: parameter("smtpd_soft_error_limit"),
    errorSleepTime: parameter("smtpd_error_sleep_time"),
    junkLimit: parameter("smtpd_junk_command_limit"),
    historyThreshold: parameter("smtpd_history_flush_threshold"),
    notifyClasses: names("notify_classes", NOTIFY_CLASSES),
    utf8: parameter("smtputf8_enable"),
    strictUtf8: parameter("strict_smtputf8"),
    strictEnvelopes: parameter("strict_rfc821_envelopes"),
    softBounce: parameter("soft_bounce"),
    heloRequired: parameter("smtpd_helo_required"),
    delayReject: parameter("smtpd_delay_reject"),
    delayOpen: parameter("smtpd_delay_open_until_valid_rcpt"),
    disableVrfy: parameter("disable_vrfy_command"),
    messageSizeLimit: parameter("message_size_limit"),
    queueMinFree: parameter("queue_minfree"),
    recipientLimit: parameter("smtpd_recipient_limit"),
    recipientOvershoot: parameter("smtpd_recipient_overshoot_limit"),
    discardEhlo: keywordSet(parameter("smtpd_discard_ehlo_keywords")),
    bareLf: bareLfMode(parameter("smtpd_forbid_bare_newline")) ?? "normalize",
    bareLfCode: parameter("smtpd_forbid_bare_newline_reject_code"),
    forbidPipelining: parameter("smtpd_forbid_unauth_pipelining"),
    clientPortLogging: parameter("smtpd_client_port_logging"),
    peernameLookup: parameter("smtpd_peername_lookup"),
    hideClientSession: parameter("smtpd_hide_client_session"),
    contentFilter: parameter("content_filter"),
    verpDelimiters: parameter("default_verp_delimiters"),
    verpFilter: parameter("verp_delimiter_filter"),
    overrides: receiveOverrides(),
    autodetectUtf8: detectsUtf8(parameter("smtputf8_autodetect_classes")),
    authenticatedHeader: parameter("smtpd_sasl_authenticated_header"),
    logInternal: parameter("info_log_address_format") === "internal",
    rejectFooter: parameter("smtpd_reject_footer"),
    expansionFilter: parameter("smtpd_expansion_filter"),
    relayBeforeRecipient: parameter("smtpd_relay_before_recipient_restrictions"),
    rejectUnlistedRecipient: parameter("smtpd_reject_unlisted_recipient"),
    rejectUnlistedSender: parameter("smtpd_reject_unlisted_sender"),
    nullAccessKey: parameter("smtpd_null_access_lookup_key"),
    untrustedRouting: parameter("allow_untrusted_routing"),
    showUnknownTable: parameter("show_user_unknown_table_name"),
    connectionCountLimit: parameter("smtpd_client_connection_count_limit"),
    connectionRateLimit: parameter("smtpd_client_connection_rate_limit"),
    messageRateLimit: parameter("smtpd_client_message_rate_limit"),
    recipientRateLimit: parameter("smtpd_client_recipient_rate_limit"),
    ipv4PrefixLength: parameter("smtpd_client_ipv4_prefix_length"),
    ipv6PrefixLength: parameter("smtpd_client_ipv6_prefix_length"),
    addressVerifySender: parameter("address_verify_sender"),
    doubleBounceSender: parameter("double_bounce_sender"),
    codes: {
      accessReject: parameter("access_map_reject_code"),
      accessDefer: parameter("access_map_defer_code"),
      reject: parameter("reject_code"),
      defer: parameter("defer_code"),
      plaintext: parameter("plaintext_reject_code"),
      unknownClient: parameter("unknown_client_reject_code"),
      invalidHostname: parameter("invalid_hostname_reject_code"),
      nonFqdn: parameter("non_fqdn_reject_code"),
      unknownHostname: parameter("unknown_hostname_reject_code"),
      unknownAddress: parameter("unknown_address_reject_code"),
      relay: parameter("relay_domains_reject_code"),
      multiRecipientBounce: parameter("multi_recipient_bounce_reject_code"),
      rbl: parameter("maps_rbl_reject_code"),
      localRecipient: parameter("unknown_local_recipient_reject_code"),
      relayRecipient: parameter("unknown_relay_recipient_reject_code"),
      virtualAlias: parameter("unknown_virtual_alias_reject_code"),
      virtualMailbox: parameter("unknown_virtual_mailbox_reject_code"),
    },
    unknownHeloTempfail: parameter("unknown_helo_hostname_tempfail_action"),
    unknownAddressTempfail: parameter("unknown_address_tempfail_action"),
    upstreamProtocol: parameter("smtpd_upstream_proxy_protocol"),
    upstreamTimeout: parameter("smtpd_upstream_proxy_timeout"),
    proxyFilter: parameter("smtpd_proxy_filter"),
    proxyEhlo: parameter("smtpd_proxy_ehlo"),
    proxyTimeout: parameter("smtpd_proxy_timeout"),
    proxyOptions: names("smtpd_proxy_options", ["speed_adjust"]),
    defaultRblReply: parameter("default_rbl_reply"),
  } as const;
}

export type Settings = ReturnType<typeof readSettings>;
