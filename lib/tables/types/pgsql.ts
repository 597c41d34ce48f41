/** `pgsql:/path/file.cf` (pgsql_table(5)): PostgreSQL. */
import { splitList } from "../../config/lists.ts";
import { tcpPort } from "../../dns/services.ts";
import { fatal } from "../../log/log.ts";
import { decodeUtf8, isAscii, upperAscii } from "../../sys/bytes.ts";
import { readDecimal } from "../../sys/numbers.ts";
import { TableSettings } from "../cf.ts";
import { addressesOf } from "../servers/endpoint.ts";
import { POOL_LIMIT } from "../servers/pool.ts";
import { pemFile } from "../servers/tls_files.ts";
import {
  BunConnection,
  type BunSqlOptions,
  type Dialect,
  problemText,
  sqlConnection,
} from "../sql/connection.ts";
import { type SqlConnection, type SqlHostOptions, SqlHosts, SqlProblem } from "../sql/hosts.ts";
import { isPgsqlUri, type PgsqlTarget, parsePgsqlUri } from "../sql/pgsql_uri.ts";
import { oldQuery, SqlTable } from "../sql/table.ts";
import { type OpenType, TableOpenError } from "../table.ts";

/** Encodings, for clients only, in which a byte of a character of several bytes can be a backslash. */
const UNSAFE_ENCODINGS: ReadonlySet<string> = new Set([
  ...["BIG5", "GB18030", "GBK", "JOHAB", "SJIS", "SHIFT_JIS_2004", "UHC"],
]);
const DEFAULT_PORT = 5432;

interface PgsqlSettings {
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly encoding: string;
  readonly applicationName: string;
  /** Bun's `tls` option; the name of the server is added for each target. */
  readonly tls: SslMode;
}

interface SslMode {
  readonly mode: "disable" | "prefer" | "require" | "verify-ca" | "verify-full";
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

class PgsqlDialect implements Dialect {
  constructor(
    private readonly host: string,
    private readonly encoding: string,
    private readonly standardStrings: boolean,
  ) {}
  /** PQescapeStringConn(). */
  quote(text: string): string | undefined {
    if (UNSAFE_ENCODINGS.has(upperAscii(this.encoding)) && !isAscii(text)) return undefined;
    const quoted = text.replaceAll("'", "''");
    return this.standardStrings ? quoted : quoted.replaceAll("\\", "\\\\");
  }
  /** Of several statements the last one counts. */
  rows(sets: Parameters<Dialect["rows"]>[0]): ReturnType<Dialect["rows"]> {
    return sets.at(-1)?.rows ?? [];
  }
  failed(reason: string): string {
    return `pgsql query failed: fatal error from host ${this.host}: ${reason}`;
  }
}

type Place = Pick<BunSqlOptions, "hostname" | "port" | "path" | "tls">;

async function connect(settings: PgsqlSettings, name: string, place: Place): Promise<SqlConnection> {
  const { user, password, database, encoding, applicationName } = settings;
  const unicode = (text: string): string => decodeUtf8(text) ?? text;
  let connection: BunConnection;
  try {
    connection = await BunConnection.open({
      adapter: "postgres",
      username: unicode(user),
      password: unicode(password),
      database: unicode(database || user),
      connection: { application_name: unicode(applicationName) },
      ...place,
    } as BunSqlOptions);
  } catch (failure) {
    const text = problemText(failure);
    const where =
      place.path === undefined
        ? `connection to server at "${place.hostname}", port ${place.port} failed`
        : `connection to server on socket "${place.path}" failed`;
    throw new SqlProblem(
      `connect to pgsql server ${name}: ${text.startsWith("Failed to connect") ? where : `${where}: ${text}`}`,
    );
  }
  try {
    const answers = await connection.send(
      `SET client_encoding TO '${encoding}'; SHOW standard_conforming_strings`,
    );
    const standard = answers.at(-1)?.rows[0]?.[0] === "on";
    return sqlConnection(connection, new PgsqlDialect(name, encoding, standard));
  } catch (failure) {
    connection.close();
    if (failure instanceof SqlProblem)
      throw new SqlProblem(`connect to pgsql server ${name}: ${failure.message}`);
    throw new SqlProblem(`dict_pgsql: cannot set the encoding to ${encoding}, skipping ${name}`);
  }
}

/** Tries the addresses of each target in turn. */
async function connectAny(
  settings: PgsqlSettings,
  name: string,
  targets: ReadonlyArray<PgsqlTarget>,
): Promise<SqlConnection> {
  let problem = new SqlProblem(`connect to pgsql server ${name}: no address`);
  const attempt = async (place: Place): Promise<SqlConnection | undefined> => {
    try {
      return await connect(settings, name, place);
    } catch (failure) {
      if (!(failure instanceof SqlProblem)) throw failure;
      problem = failure;
      return undefined;
    }
  };
  for (const { host, port: portText } of targets) {
    const port = readDecimal(portText, 65535) ?? DEFAULT_PORT;
    if (host.startsWith("/")) {
      const connection = await attempt({ path: `${host}/.s.PGSQL.${port}` });
      if (connection !== undefined) return connection;
      continue;
    }
    const found = await addressesOf(host);
    if ("problem" in found) {
      problem = new SqlProblem(
        `connect to pgsql server ${name}: could not translate host name "${host}" to address: ${found.problem}`,
      );
      continue;
    }
    for (const hostname of found.addresses) {
      const connection = await attempt({ hostname, port, ...tlsFor(settings.tls, host) });
      if (connection !== undefined) return connection;
    }
  }
  throw problem;
}

function tlsFor({ mode, ca, cert, key }: SslMode, serverName: string): Pick<BunSqlOptions, "tls"> {
  if (mode === "disable") return {};
  if (mode === "prefer") return { tls: "prefer" };
  const own = { ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }), serverName };
  if (mode === "require" && ca === undefined) return { tls: { ...own, rejectUnauthorized: false } };
  const authority = ca === undefined ? {} : { ca };
  return {
    tls:
      mode === "verify-full"
        ? { ...own, ...authority, rejectUnauthorized: true }
        : { ...own, ...authority, rejectUnauthorized: true, checkServerIdentity: () => undefined },
  };
}

const PLAIN_TLS: SslMode = { mode: "prefer", ca: undefined, cert: undefined, key: undefined };

function sslMode(settings: ReadonlyMap<string, string>): SslMode {
  const mode = settings.get("sslmode") ?? "prefer";
  const root = settings.get("sslrootcert");
  const files = {
    ca: root === "system" ? undefined : pemFile(root),
    cert: pemFile(settings.get("sslcert")),
    key: pemFile(settings.get("sslkey")),
  };
  switch (mode) {
    case "disable":
    case "prefer":
    case "require":
    case "verify-ca":
    case "verify-full":
      return { mode, ...files };
    case "allow":
      return { mode: "prefer", ...files };
    default:
      throw new TableOpenError(`invalid sslmode value: "${mode}"`);
  }
}

/** A URI says all by itself; other forms take user, password and dbname from the settings. */
function hostOptions(common: PgsqlSettings, table: string, name: string): SqlHostOptions {
  if (isPgsqlUri(name)) {
    const parsed = parsePgsqlUri(name);
    if (!parsed.ok) throw new TableOpenError(`${table} has a bad host target: ${parsed.problem}`);
    const { targets, settings } = parsed.uri;
    const own = {
      ...common,
      user: settings.get("user") ?? common.user,
      password: settings.get("password") ?? common.password,
      database: settings.get("dbname") ?? common.database,
      applicationName: settings.get("application_name") ?? common.applicationName,
      tls: sslMode(settings),
    };
    // a password is no matter for the log
    const shown = name.replace(/^([a-z]+:\/\/[^/@?]*?:)[^@/]*@/, "$1***@");
    return { name: shown, local: false, open: () => connectAny(own, shown, targets) };
  }
  if (common.database === "")
    throw new TableOpenError(`${table} host target '${name}' requires dbname setting`);
  const path = name.startsWith("unix:") ? name.slice(5) : name.startsWith("/") ? name : undefined;
  if (path !== undefined)
    return { name, local: true, open: () => connectAny(common, name, [{ host: path, port: "" }]) };
  const target = name.startsWith("inet:") ? name.slice(5) : name;
  const colon = target.lastIndexOf(":");
  const host = (colon < 0 ? target : target.slice(0, colon)).replace(/^\[(.*)\]$/, "$1") || "localhost";
  const port = colon < 0 ? "" : servicePort(target.slice(colon + 1));
  return { name, local: false, open: () => connectAny(common, name, [{ host, port }]) };
}

function servicePort(service: string): string {
  const port = tcpPort(service);
  return port.kind === "port" ? String(port.port) : fatal(`unknown service: ${service}/tcp`);
}

export const openPgsql: OpenType = async (name, options) => {
  const settings = TableSettings.open(name);
  const encoding = settings.text("encoding", "UTF8", 1);
  if (!/^[A-Za-z0-9_-]+$/.test(encoding))
    throw new TableOpenError(`${settings.title}: bad encoding name: ${encoding}`);
  const common: PgsqlSettings = {
    user: settings.text("user", ""),
    password: settings.text("password", ""),
    database: settings.text("dbname", ""),
    encoding,
    applicationName: "postfix",
    tls: PLAIN_TLS,
  };
  const hosts = splitList(settings.text("hosts", "") || "localhost");
  const table = {
    type: "pgsql",
    name,
    settings,
    defaultQuery: () => {
      const procedure = settings.text("select_function", "");
      return procedure === "" ? oldQuery(settings) : `SELECT ${procedure}('%s')`;
    },
    nullIsEmpty: true,
    hosts: new SqlHosts({
      hosts: hosts.map((host) => hostOptions(common, `pgsql:${name}`, host)),
      retryInterval: settings.number("retry_interval", 60, 1),
      idleInterval: settings.number("idle_interval", 60, 1),
      connectionLimit: POOL_LIMIT,
    }),
  };
  return await SqlTable.open(table, options);
};
