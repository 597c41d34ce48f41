/** The parameters of the agent: `smtp_` names, or their `lmtp_` twins. */
import { configuration, parameter } from "../../lib/config/configuration.ts";
import { namesOf } from "../../lib/config/names.ts";
import { isParameterName } from "../../lib/config/parameter_rows.ts";
import type { ParameterName, ParameterValue } from "../../lib/config/parameters.ts";
import type { Family } from "../../lib/dns/host_lookup.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { lowerAscii, splitAny } from "../../lib/sys/bytes.ts";

export type Mode = "smtp" | "lmtp";

type Suffix<N extends string> = N extends `smtp_${infer S}` ? S : never;
export type AgentSuffix = Suffix<ParameterName>;
export type AgentValue<S extends AgentSuffix> = ParameterValue<Extract<ParameterName, `smtp_${S}`>>;

/** Where the twin's name is not the obvious one. */
const LMTP_NAMES: Readonly<Partial<Record<AgentSuffix, string>>> = {
  helo_name: "lmtp_lhlo_name",
  helo_timeout: "lmtp_lhlo_timeout",
  discard_ehlo_keywords: "lmtp_discard_lhlo_keywords",
  discard_ehlo_keyword_address_maps: "lmtp_discard_lhlo_keyword_address_maps",
};

/** The full name of a parameter in this mode; those that lmtp lacks are read from smtp. */
export function parameterName(mode: Mode, suffix: AgentSuffix): ParameterName {
  const own = mode === "smtp" ? `smtp_${suffix}` : (LMTP_NAMES[suffix] ?? `lmtp_${suffix}`);
  if (isParameterName(own)) return own;
  const twin = `smtp_${suffix}`;
  if (isParameterName(twin)) return twin;
  throw new Error(`no parameter ${own}`);
}

/** `none` and `may` are all that this client can do without TLS. */
export type TlsLevel = "none" | "may";
const TLS_LEVELS = ["none", "may", "encrypt", "fingerprint", "dane", "dane-only", "verify", "secure"];

function tlsLevel(
  get: <S extends AgentSuffix>(suffix: S) => AgentValue<S>,
  name: (suffix: AgentSuffix) => string,
): TlsLevel {
  const configured = get("tls_security_level");
  if (configured === "") {
    if (get("enforce_tls")) return fatal(`${name("enforce_tls")} = yes is not supported`);
    return get("use_tls") ? "may" : "none";
  }
  const level = lowerAscii(configured);
  if (level === "none" || level === "may") return level;
  if (!TLS_LEVELS.includes(level)) return fatal(`Invalid TLS level "${configured}"`);
  return fatal(`${name("tls_security_level")} = ${level} is not supported`);
}

function addressPreference(value: string, name: string): Family | undefined {
  switch (lowerAscii(value)) {
    case "any":
      return undefined;
    case "ipv4":
    case "ipv6":
      return lowerAscii(value) as Family;
    default:
      return fatal(`bad ${name} value: ${value}`);
  }
}

function lookupMethods(value: string, name: string): { readonly dns: boolean; readonly native: boolean } {
  const words = splitAny(value, ", \t\r\n");
  for (const word of words)
    if (word !== "dns" && word !== "native") fatal(`unknown ${name} value "${word}" in "${value}"`);
  return { dns: words.includes("dns"), native: words.includes("native") };
}

/** Support for DNS: an empty smtp_dns_support_level follows disable_dns_lookups. */
function dnsSupport(value: string, name: string): "disabled" | "enabled" | "dnssec" {
  switch (lowerAscii(value)) {
    case "":
      return parameter("disable_dns_lookups") ? "disabled" : "enabled";
    case "disabled":
    case "enabled":
    case "dnssec":
      return lowerAscii(value) as "disabled" | "enabled" | "dnssec";
    default:
      return fatal(`invalid ${name}: "${value}"`);
  }
}

/** The classes of notify_classes, of which this program knows `protocol` and `data` itself. */
const NOTIFY_CLASSES = [
  "bounce",
  "2bounce",
  "data",
  "delay",
  "policy",
  "protocol",
  "resource",
  "software",
] as const;

/** The stage at which a probe knows enough. */
function verifyTarget(value: string): "rcpt" | "data" {
  const target = lowerAscii(value);
  if (target === "rcpt" || target === "data") return target;
  // for lmtp too
  return fatal(`bad protocol stage: "smtp_address_verify_target = ${value}"`);
}

/** Everything of the configuration that a delivery needs, read once. */
export function readSettings(mode: Mode) {
  const values = new Map<AgentSuffix, unknown>();
  const get = <S extends AgentSuffix>(suffix: S): AgentValue<S> => {
    const known = values.get(suffix);
    if (known !== undefined) return known as AgentValue<S>;
    const value = parameter(parameterName(mode, suffix)) as AgentValue<S>;
    values.set(suffix, value);
    return value;
  };
  const name = (suffix: AgentSuffix): string => parameterName(mode, suffix);
  if (get("sasl_auth_enable")) fatal(`${name("sasl_auth_enable")} = yes is not supported`);
  if (get("tls_wrappermode")) fatal(`${name("tls_wrappermode")} = yes is not supported`);
  if (get("tls_policy_maps") !== "") fatal(`${name("tls_policy_maps")} is not supported`);
  if (get("tls_per_site") !== "") fatal(`${name("tls_per_site")} is not supported`);
  if (mode === "lmtp" && parameter("lmtp_assume_final"))
    warning('lmtp_assume_final is obsolete; instead, specify "flags=X" in master.cf');
  const protocols = configuration().protocols();
  const support = dnsSupport(get("dns_support_level"), name("dns_support_level"));
  const methods =
    support === "disabled"
      ? { dns: false, native: true }
      : lookupMethods(get("host_lookup"), name("host_lookup"));
  const resolverOptions = splitAny(get("dns_resolver_options"), ", \t\r\n");
  for (const option of resolverOptions)
    if (option !== "res_defnames" && option !== "res_dnsrch")
      fatal(`unknown ${name("dns_resolver_options")} value "${option}" in "${get("dns_resolver_options")}"`);
  const families: Family[] = [
    ...(protocols.ipv4 ? (["ipv4"] as const) : []),
    ...(protocols.ipv6 ? (["ipv6"] as const) : []),
  ];
  return {
    mode,
    get,
    name,
    myhostname: parameter("myhostname"),
    heloName: get("helo_name"),
    tcpPort: get("tcp_port"),
    families,
    dnsSupport: support,
    /** Host addresses come from DNS, from the system's files, or both in turn. */
    lookupDns: methods.dns,
    lookupNative: methods.native,
    resolver: {
      defaultNames: resolverOptions.includes("res_defnames"),
      searchList: resolverOptions.includes("res_dnsrch"),
    },
    addressPreference: addressPreference(get("address_preference"), name("address_preference")),
    tlsLevel: tlsLevel(get, name),
    lineLimit: parameter("line_length_limit"),
    utf8: parameter("smtputf8_enable"),
    softBounce: parameter("soft_bounce"),
    notifyClasses: namesOf("notify_classes", parameter("notify_classes"), NOTIFY_CLASSES),
    verifyTarget: verifyTarget(get("address_verify_target")),
    useSrvLookup: splitAny(parameter("use_srv_lookup"), ", \t\r\n"),
    discardKeywords: get("discard_ehlo_keywords"),
    alwaysEhlo: mode === "lmtp" || get("always_send_ehlo"),
    neverEhlo: mode === "smtp" && get("never_send_ehlo"),
    skipQuitResponse: get("skip_quit_response"),
    skip5xxGreeting: get("skip_5xx_greeting"),
    /** LMTP: the server is the last one, whatever it does not say. */
    assumeFinal: parameter("lmtp_assume_final"),
    quoteEnvelope: get("quote_rfc821_envelope"),
    sendXforward: get("send_xforward_command"),
    lineLengthLimit: get("line_length_limit"),
    logTls: get("log_tls_feature_status"),
    addressLimit: get("mx_address_limit"),
    sessionLimit: get("mx_session_limit"),
    windowSize: parameter("tcp_windowsize"),
    perRequestDeadline: get("per_request_deadline"),
    minDataRate: get("min_data_rate"),
    limits: {
      connect: get("connect_timeout"),
      helo: get("helo_timeout"),
      xforward: get("xforward_timeout"),
      mail: get("mail_timeout"),
      rcpt: get("rcpt_timeout"),
      dataInit: get("data_init_timeout"),
      dataTransfer: get("data_xfer_timeout"),
      dataDone: get("data_done_timeout"),
      rset: get("rset_timeout"),
      quit: get("quit_timeout"),
    },
  };
}
export type Settings = ReturnType<typeof readSettings>;

/** The letters of `flags=` in master.cf. */
export interface DeliveryFlags {
  /** D */
  readonly deliveredTo: boolean;
  /** O */
  readonly originalTo: boolean;
  /** R */
  readonly returnPath: boolean;
  /** X */
  readonly finalDelivery: boolean;
}

/** Reads the arguments of the service in master.cf. */
export function parseArguments(words: ReadonlyArray<string>): DeliveryFlags {
  let letters = "";
  for (const word of words) {
    if (!lowerAscii(word.slice(0, 6)).startsWith("flags=")) fatal(`unknown attribute name: ${word}`);
    const value = word.slice(6);
    for (const letter of value)
      if (!"DORX".includes(letter)) fatal(`unknown ${word} value "${letter}" in "${value}"`);
    letters += value;
  }
  return {
    deliveredTo: letters.includes("D"),
    originalTo: letters.includes("O"),
    returnPath: letters.includes("R"),
    finalDelivery: letters.includes("X"),
  };
}
