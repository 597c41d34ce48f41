/** The settings of an LDAP table (ldap_table(5)). */
import { splitList } from "../../config/lists.ts";
import { fatal, warning } from "../../log/log.ts";
import { lowerAscii, upperAscii } from "../../sys/bytes.ts";
import type { TableSettings } from "../cf.ts";
import { authorityDirectory, pemFile } from "../servers/tls_files.ts";
import { TableOpenError } from "../table.ts";
import type { LdapBind, LdapServer } from "./connection.ts";
import type { ExpansionLimits, LdapAttributes } from "./expand.ts";
import { isLdapUrl, type LdapScope, type LdapUrl, parseLdapUrl } from "./url.ts";

export interface LdapSettings {
  readonly server: LdapServer;
  readonly searchBase: string;
  readonly scope: LdapScope;
  readonly queryFilter: string;
  readonly resultFormat: string;
  readonly attributes: LdapAttributes;
  readonly limits: ExpansionLimits;
}

const DEREFERENCE = ["never", "search", "find", "always"] as const;

/** Warns of what is odd. Throws TableOpenError. */
export function readLdapSettings(settings: TableSettings): LdapSettings {
  const { title } = settings;
  const urls = serverUrls(settings);
  const scopeName = settings.text("scope", "sub", 1);
  const scope = scopeName === "base" || scopeName === "one" || scopeName === "sub" ? scopeName : undefined;
  if (scope === undefined)
    warning(`dict_ldap_open: ${title}: Unrecognized value ${scopeName} specified for scope; using sub`);
  const queryFilter = settings.text("query_filter", "(mailacceptinggeneralid=%s)");
  if (!/%[^%]/.test(queryFilter.replaceAll("%%", "")))
    warning(`dict_ldap_open: ${title}: Fixed query_filter ${queryFilter} is probably useless`);
  const list = (name: string, fallback: string): string[] => splitList(settings.text(name, fallback));
  const attributes = {
    result: list("result_attribute", "maildrop"),
    terminal: list("terminal_result_attribute", ""),
    leaf: list("leaf_result_attribute", ""),
    special: list("special_result_attribute", ""),
  };
  for (const name of ["cache", "cache_expiry", "cache_size"])
    if (settings.text(name, "") !== "") warning(`dict_ldap_open: ${title} ignoring ${name}`);
  const values = settings.number("expansion_limit", 0, 0);
  const startTls = settings.boolean("start_tls", false);
  // every server of today speaks version 3; the setting is checked and has no effect
  settings.number("version", 2, 1);
  return {
    server: {
      urls,
      title: urls.map(urlText).join(" "),
      bind: bindSettings(settings),
      startTls,
      tls: tlsSettings(settings),
      timeout: Math.max(1, settings.number("timeout", 10, 0)),
      sizeLimit: settings.number("size_limit", values, 0),
      dereference: dereference(settings),
      chaseReferrals: settings.boolean("chase_referrals", false),
    },
    searchBase: settings.text("search_base", ""),
    scope: scope ?? "sub",
    queryFilter,
    resultFormat: settings.text("result_format", "") || settings.text("result_filter", "%s"),
    attributes,
    limits: { recursion: settings.number("recursion_limit", 1000, 1), values },
  };
}

const urlText = ({ scheme, host, port }: LdapUrl): string =>
  scheme === "ldapi"
    ? `ldapi://${encodeURIComponent(host)}`
    : `${scheme}://${host.includes(":") ? `[${host}]` : host}${port === undefined ? "" : `:${port}`}`;

/** URLs as they are; other names are hosts, perhaps with a port. */
function serverUrls(settings: TableSettings): LdapUrl[] {
  const port = settings.number("server_port", 389, 0);
  return splitList(settings.text("server_host", "") || "localhost").map((name) => {
    const hasPort = /^(?:\[[^\]]*\]|[^:[\]]*):[^:]+$/.test(name);
    const url = parseLdapUrl(isLdapUrl(name) ? name : `ldap://${name}${hasPort ? "" : `:${port}`}`);
    if (url === undefined) throw new TableOpenError(`${settings.title}: bad LDAP server: ${name}`);
    return url;
  });
}

function dereference(settings: TableSettings): LdapServer["dereference"] {
  const value = settings.number("dereference", 0, 0);
  if (DEREFERENCE[value] === undefined)
    warning(
      `dict_ldap_open: ${settings.title} Unrecognized value ${value} specified for dereference; using 0`,
    );
  return DEREFERENCE[value] ?? "never";
}

function bindSettings(settings: TableSettings): LdapBind {
  const method = settings.text("bind", "yes");
  const dn = settings.text("bind_dn", "");
  const password = settings.text("bind_pw", "");
  switch (lowerAscii(method)) {
    case "yes":
    case "simple":
      return { kind: "simple", dn, password };
    case "no":
    case "none":
      return { kind: "none" };
    case "sasl":
      return saslSettings(settings, dn, password);
    default:
      return fatal(`${settings.title}: unsupported parameter value: bind = ${method}`);
  }
}

function saslSettings(settings: TableSettings, user: string, password: string): LdapBind {
  const mechanisms = splitList(settings.text("sasl_mechs", "")).map(upperAscii);
  settings.number("sasl_minssf", 0, 0, 4096);
  for (const mechanism of mechanisms) {
    if (mechanism === "EXTERNAL") return { kind: "sasl", mechanism };
    if (mechanism === "PLAIN")
      return {
        kind: "sasl",
        mechanism,
        user,
        password,
        authorizationId: settings.text("sasl_authz_id", ""),
      };
  }
  throw new TableOpenError(
    `${settings.title}: no usable SASL mechanism in sasl_mechs = ${mechanisms.join(" ")} (EXTERNAL and PLAIN can be used)`,
  );
}

function tlsSettings(settings: TableSettings): LdapServer["tls"] {
  const cert = pemFile(settings.text("tls_cert", ""));
  const key = pemFile(settings.text("tls_key", ""));
  const ca = pemFile(settings.text("tls_ca_cert_file", ""));
  const authorities = [
    ...(ca === undefined ? [] : [ca]),
    ...authorityDirectory(settings.text("tls_ca_cert_dir", "")),
  ];
  const ciphers = settings.text("tls_cipher_suite", "");
  return {
    rejectUnauthorized: settings.boolean("tls_require_cert", false),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(authorities.length === 0 ? {} : { ca: authorities }),
    ...(ciphers === "" ? {} : { ciphers }),
  };
}
