/** `mysql:/path/file.cf` (mysql_table(5)): MySQL and MariaDB. */
import { splitList } from "../../config/lists.ts";
import { tcpPort } from "../../dns/services.ts";
import { fatal } from "../../log/log.ts";
import { decodeUtf8, isAscii, lowerAscii } from "../../sys/bytes.ts";
import { TableSettings } from "../cf.ts";
import { addressesOf } from "../servers/endpoint.ts";
import { POOL_LIMIT } from "../servers/pool.ts";
import { authorityDirectory, pemFile } from "../servers/tls_files.ts";
import {
  BunConnection,
  type BunSqlOptions,
  type Dialect,
  problemText,
  sqlConnection,
} from "../sql/connection.ts";
import { type SqlConnection, type SqlHostOptions, SqlHosts, SqlProblem } from "../sql/hosts.ts";
import { type MysqlOptions, readMysqlOptions } from "../sql/mysql_options.ts";
import { oldQuery, SqlTable } from "../sql/table.ts";
import { type OpenType, TableOpenError } from "../table.ts";

/** Character sets in which a byte of a character of several bytes can be a backslash. */
const UNSAFE_CHARACTER_SETS: ReadonlySet<string> = new Set(["big5", "cp932", "gb18030", "gbk", "sjis"]);
const DEFAULT_SOCKET = "/run/mysqld/mysqld.sock";
const DEFAULT_PORT = 3306;

type Tls = NonNullable<BunSqlOptions["tls"]> & object;

interface MysqlSettings {
  /** `mysql:NAME`, for messages. */
  readonly table: string;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly characterSet: string;
  readonly requireResultSet: boolean;
  readonly socket: string;
  /** Undefined = without TLS. */
  readonly tls: Tls | undefined;
}

class MysqlDialect implements Dialect {
  constructor(
    private readonly settings: MysqlSettings,
    private readonly backslashes: boolean,
  ) {}
  /** mysql_real_escape_string(). */
  quote(text: string): string | undefined {
    if (UNSAFE_CHARACTER_SETS.has(this.settings.characterSet) && !isAscii(text)) return undefined;
    if (!this.backslashes) return text.replaceAll("'", "''");
    return text.replace(/[\\'"\n\r\x1a]/g, (char) => `\\${ESCAPES.get(char) ?? char}`);
  }
  rows(sets: Parameters<Dialect["rows"]>[0]): ReturnType<Dialect["rows"]> {
    const withData = sets.filter((set) => set.columns > 0);
    if (withData.length > 1) throw new SqlProblem("multiple result sets returning data are not supported");
    if (withData.length === 0 && this.settings.requireResultSet)
      throw new SqlProblem("query returned no result set(require_result_set = yes)");
    return withData[0]?.rows ?? [];
  }
  failed(reason: string): string {
    return `${this.settings.table}: query failed: ${reason}`;
  }
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ["\n", "n"],
  ["\r", "r"],
  ["\x1a", "Z"],
]);

async function connect(
  settings: MysqlSettings,
  name: string,
  place: Pick<BunSqlOptions, "hostname" | "port" | "path" | "tls">,
  unreachable: string,
): Promise<SqlConnection> {
  const { user: username, password, database, characterSet } = settings;
  const unicode = (text: string): string => decodeUtf8(text) ?? text;
  let connection: BunConnection;
  try {
    connection = await BunConnection.open({
      adapter: "mysql",
      username: unicode(username),
      password: unicode(password),
      database: unicode(database),
      ...place,
    } as BunSqlOptions);
  } catch (failure) {
    const text = problemText(failure);
    throw new SqlProblem(
      `connect to mysql server ${name}: ${text.startsWith("Failed to connect") ? unreachable : text}`,
    );
  }
  try {
    if (characterSet !== "utf8mb4") await connection.send(`SET NAMES ${characterSet}`);
  } catch (failure) {
    connection.close();
    throw new SqlProblem(
      `dict_mysql: mysql_set_character_set '${characterSet}' failed: ${problemText(failure)}`,
    );
  }
  try {
    const [modes] = await connection.send("SELECT @@SESSION.sql_mode");
    const backslashes = !(modes?.rows[0]?.[0] ?? "").split(",").includes("NO_BACKSLASH_ESCAPES");
    return sqlConnection(connection, new MysqlDialect(settings, backslashes));
  } catch (failure) {
    connection.close();
    throw new SqlProblem(`connect to mysql server ${name}: ${problemText(failure)}`);
  }
}

function hostOptions(settings: MysqlSettings, options: MysqlOptions, name: string): SqlHostOptions {
  const path = name.startsWith("unix:") ? name.slice(5) : undefined;
  const target = name.startsWith("inet:") ? name.slice(5) : name;
  const colon = target.lastIndexOf(":");
  const host = (colon < 0 ? target : target.slice(0, colon)).replace(/^\[(.*)\]$/, "$1");
  const port = path !== undefined || colon < 0 ? options.port : servicePort(target.slice(colon + 1));
  // the client library takes this name for the socket of this machine
  const socket = path ?? (host === "localhost" ? settings.socket : undefined);
  if (socket !== undefined)
    return {
      name,
      local: true,
      open: () =>
        connect(settings, name, { path: socket }, `Can't connect to local server through socket '${socket}'`),
    };
  return {
    name,
    local: false,
    open: async () => {
      const found = await addressesOf(host);
      if ("problem" in found)
        throw new SqlProblem(
          `connect to mysql server ${name}: Unknown server host '${host}' (${found.problem})`,
        );
      let problem: unknown;
      for (const hostname of found.addresses) {
        const tls = settings.tls === undefined ? {} : { tls: { ...settings.tls, serverName: host } };
        try {
          return await connect(
            settings,
            name,
            { hostname, port: port ?? DEFAULT_PORT, ...tls },
            `Can't connect to server on '${host}'`,
          );
        } catch (failure) {
          if (!(failure instanceof SqlProblem)) throw failure;
          problem = failure;
        }
      }
      throw problem ?? new SqlProblem(`connect to mysql server ${name}: Unknown server host '${host}'`);
    },
  };
}

function servicePort(service: string): number {
  const port = tcpPort(service);
  return port.kind === "port" ? port.port : fatal(`unknown service: ${service}/tcp`);
}

export const openMysql: OpenType = async (name, options) => {
  const settings = TableSettings.open(name);
  const database = settings.text("dbname", "", 1);
  const defaults = readMysqlOptions(
    settings.text("option_file", ""),
    settings.text("option_group", "client"),
  );
  const characterSet = settings.text("charset", defaults.characterSet ?? "utf8mb4", 1);
  if (!/^[A-Za-z0-9_]+$/.test(characterSet))
    throw new TableOpenError(`${settings.title}: bad character set name: ${characterSet}`);
  const parts: MysqlSettings = {
    table: `mysql:${name}`,
    user: settings.text("user", "") || (defaults.user ?? ""),
    password: settings.text("password", "") || (defaults.password ?? ""),
    database,
    characterSet: lowerAscii(characterSet),
    requireResultSet: settings.boolean("require_result_set", true),
    socket: defaults.socket ?? DEFAULT_SOCKET,
    tls: tlsOptions(settings, defaults),
  };
  const hosts = splitList(settings.text("hosts", "") || "localhost");
  const table = {
    type: "mysql",
    name,
    settings,
    defaultQuery: () => oldQuery(settings),
    nullIsEmpty: false,
    hosts: new SqlHosts({
      hosts: hosts.map((host) => hostOptions(parts, defaults, host)),
      retryInterval: settings.number("retry_interval", 60, 1),
      idleInterval: settings.number("idle_interval", 60, 1),
      connectionLimit: POOL_LIMIT,
    }),
  };
  return await SqlTable.open(table, options);
};

/** TLS is used when any of its settings is there, and then the server must have a certificate of its name unless tls_verify_cert = no. */
function tlsOptions(settings: TableSettings, defaults: MysqlOptions): Tls | undefined {
  const setting = (name: string, fallback: string | undefined): string | undefined =>
    settings.text(name, "") || fallback || undefined;
  const cert = pemFile(setting("tls_cert_file", defaults.tlsCert));
  const key = pemFile(setting("tls_key_file", defaults.tlsKey));
  const ca = pemFile(setting("tls_CAfile", defaults.tlsCa));
  const directory = setting("tls_CApath", defaults.tlsCaPath);
  const ciphers = setting("tls_ciphers", defaults.tlsCiphers);
  const verify =
    settings.text("tls_verify_cert", "") === "" ? undefined : settings.boolean("tls_verify_cert", false);
  const authorities = [...(ca === undefined ? [] : [ca]), ...authorityDirectory(directory)];
  if (verify !== true && [cert, key, ca, directory, ciphers].every((value) => value === undefined))
    return undefined;
  return {
    rejectUnauthorized: verify ?? true,
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(authorities.length === 0 ? {} : { ca: authorities }),
    ...(ciphers === undefined ? {} : { ciphers }),
  };
}
