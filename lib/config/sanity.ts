/** What every program but postconf checks at its start, in Postfix's order; the first fault is fatal. */
import { setLogUtf8, warning } from "../log/log.ts";
import { equalFold } from "../sys/bytes.ts";
import { type Accounts, checkAccounts, systemAccounts } from "./accounts.ts";
import { compatibilityLevel } from "./compatibility.ts";
import { hostnameFault } from "./hostname.ts";
import { splitList } from "./lists.ts";
import { parameterRow } from "./parameter_rows.ts";
import type { ParameterKind, ParameterName } from "./parameters.ts";
import { parseKnownPorts } from "./ports.ts";
import { type Configuration, ConfigurationError } from "./settings.ts";

/** Read in this order before the host name; the other names that all programs read come after it, by kind. */
const FIRST: ReadonlyArray<ParameterName> = [
  "mail_version",
  "syslog_facility",
  "inet_protocols",
  "multi_instance_directories",
  "multi_instance_group",
  "multi_instance_name",
  "maillog_file",
  "maillog_file_prefixes",
  "maillog_file_compressor",
  "maillog_file_rotate_suffix",
  "maillog_file_permissions",
  "postlog_service_name",
  "dnssec_probe",
  "known_tcp_ports",
  "daemon_table_open_error_is_fatal",
  "dns_ncache_ttl_fix_enable",
  "smtputf8_enable",
  "enable_idna2003_compatibility",
  "respectful_logging",
  "requiretls_enable",
  "tls_required_enable",
  "non_bdb_migration_log_redirect",
];

/** The first texts after the host name. */
const TEXTS: ReadonlyArray<string> =
  "mail_name syslog_name mail_owner setgid_group mydestination myorigin relayhost daemon_directory data_directory command_directory meta_directory queue_directory shlib_directory process_id_directory inet_interfaces proxy_interfaces double_bounce_sender default_privs".split(
    " ",
  );

const KIND_ORDER: ReadonlyArray<ParameterKind> = [
  "str",
  "int",
  "long",
  "bool",
  "time",
  "raw",
  "nint",
  "nbool",
];

const SYSLOG_FACILITIES: ReadonlySet<string> = new Set(
  "auth authpriv cron daemon ftp kern lpr mail news security syslog user uucp local0 local1 local2 local3 local4 local5 local6 local7".split(
    " ",
  ),
);

export function checkConfiguration(configuration: Configuration, accounts: Accounts = systemAccounts): void {
  try {
    checkInOrder(configuration, accounts);
  } catch (error) {
    if (error instanceof ConfigurationError) configuration.refuse(error.message);
    throw error;
  }
}

function checkInOrder(configuration: Configuration, accounts: Accounts): void {
  const file = `file ${configuration.directory}/main.cf`;
  compatibilityLevel(configuration);
  // Only a setting can be bad: our own defaults are not, and are evaluated when somebody asks for them.
  const set = configuration.settings().filter((name) => parameterRow(name)[5] === "all");
  configuration.select(FIRST.filter((name) => set.includes(name)));
  // what is said of the rest may show its UTF-8
  setLogUtf8(configuration.get("smtputf8_enable"));
  const facility = configuration.get("syslog_facility");
  if (!SYSLOG_FACILITIES.has(facility))
    throw new ConfigurationError(`${file}: parameter syslog_facility: unrecognized value: ${facility}`);
  if (set.includes("known_tcp_ports"))
    for (const text of parseKnownPorts(configuration.get("known_tcp_ports")).warnings) warning(text);
  const permissions = configuration.get("maillog_file_permissions");
  if (!PERMISSIONS.test(permissions))
    warning(`ignoring bad permissions: maillog_file_permissions = ${permissions}`);
  configuration.protocols();
  checkHostname(configuration, "myhostname", file);
  checkHostname(configuration, "mydomain", file);
  configuration.select(set.filter((name) => name !== "mynetworks").sort(compareOrder));
  checkAccounts(configuration, file, accounts);
  checkInterfaces(configuration);
  checkCombinations(configuration, file);
}

function checkHostname(configuration: Configuration, name: "myhostname" | "mydomain", file: string): void {
  const value = configuration.get(name);
  const fault = hostnameFault(value);
  if (fault === undefined) return;
  warning(`valid_hostname: ${fault}`);
  throw new ConfigurationError(`${file}: parameter ${name}: bad parameter value: ${value}`);
}

const rank = (list: ReadonlyArray<string>, item: string): number => {
  const index = list.indexOf(item);
  return index < 0 ? list.length : index;
};

const compareOrder = (a: ParameterName, b: ParameterName): number =>
  rank(TEXTS, a) - rank(TEXTS, b) ||
  rank(KIND_ORDER, parameterRow(a)[0]) - rank(KIND_ORDER, parameterRow(b)[0]);

/** Names of interfaces are resolved at the start; the list of all interfaces, which cannot be bad, when somebody asks for it. */
function checkInterfaces(configuration: Configuration): void {
  if (configuration.isSet("mynetworks") || configuration.isSet("mynetworks_style"))
    configuration.get("mynetworks");
  const value = configuration.get("inet_interfaces");
  if (value !== "all" && value !== "loopback-only") configuration.ownAddresses();
}

const MIGRATION_LEVELS: ReadonlySet<string> = new Set(["disable", "enable-redirect", "enable-reindex"]);
const PERMISSIONS = /^0*6(?:00|40|44)$/;

function checkCombinations(configuration: Configuration, file: string): void {
  const relayhost = configuration.get("relayhost");
  const hostname = configuration.get("myhostname");
  if (equalFold(hostname, relayhost))
    throw new ConfigurationError(
      `myhostname and relayhost parameter settings must not be identical: ${hostname}`,
    );
  const origin = configuration.get("myorigin");
  if (splitList(origin).length > 1 || splitList(origin)[0] !== origin)
    throw new ConfigurationError(`myorigin parameter setting must not contain multiple values: ${origin}`);
  const allowed = configuration.get("verp_delimiter_filter");
  for (const [index, which] of ["first", "second"].entries())
    if (!allowed.includes(configuration.get("default_verp_delimiters").charAt(index)))
      throw new ConfigurationError(
        `${file}: parameters default_verp_delimiters and verp_delimiter_filter: bad ${which} VERP delimiter character`,
      );
  const level = configuration.get("non_bdb_migration_level");
  if (!MIGRATION_LEVELS.has(level))
    throw new ConfigurationError(`invalid non-Berkeley-DB migration level: '${level}'`);
}
