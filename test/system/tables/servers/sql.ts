/** MariaDB and PostgreSQL with the rows that the vectors of test/vectors/tables/sql_templates.json are about. */
import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, copyFileSync, existsSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import { freePort } from "../../support/harness.ts";
import { type Certificates, makeCertificates } from "./certificates.ts";
import { listens, type RunningServer, type ServerFolder, serverFolder, startServer } from "./processes.ts";

export interface SqlServer {
  readonly type: "mysql" | "pgsql";
  readonly port: number;
  /** Host for a connection through a socket. */
  readonly local: string;
  readonly certificates: Certificates;
  /** Settings of a table but for hosts and query. */
  readonly login: string;
  /** Runs statements as the administrator. */
  administer(statements: string): string;
  stop(): Promise<void>;
  /** On the same port, after stop(). */
  start(): Promise<void>;
}

const ROWS = `insert into m values ('u@example.com','a@x.org'),('u@example.com','b@y.org'),('plain','p'),
 ('o''k@example.com','quote@z'),('empty@example.com',''),('nodomain@example.com','res'),('null@example.com',null);\n`;
const LOGIN = "user = mail\npassword = secret\ndbname = mail\n";

const postgresFolder = (): string | undefined => {
  const root = "/usr/lib/postgresql";
  if (!existsSync(root)) return undefined;
  const version = readdirSync(root).sort().at(-1);
  return version === undefined ? undefined : join(root, version, "bin");
};

export const hasMariadb = existsSync("/usr/sbin/mariadbd");
export const hasPostgres = postgresFolder() !== undefined;

/** Gives the folder certificates that its server may read. */
function certificatesFor({ path, ids }: ServerFolder): Certificates {
  const certificates = makeCertificates(path);
  if (ids.uid !== undefined) chownSync(certificates.key, ids.uid, ids.gid ?? 0);
  chmodSync(certificates.key, 0o600);
  return certificates;
}

export async function mariadb(t: Test): Promise<SqlServer> {
  const folder = serverFolder(t, "mariadb", "mysql");
  const { path, ids } = folder;
  const certificates = certificatesFor(folder);
  const port = await freePort();
  execFileSync(
    "mariadb-install-db",
    ["--no-defaults", `--datadir=${path}/data`, "--auth-root-authentication-method=normal", "--skip-test-db"],
    { ...ids, cwd: path, stdio: "ignore" },
  );
  const socket = join(path, "s");
  const start = (): Promise<RunningServer> =>
    startServer(
      t,
      folder,
      "/usr/sbin/mariadbd",
      [
        "--no-defaults",
        ...[`--datadir=${path}/data`, `--socket=${socket}`, `--port=${port}`, "--bind-address=127.0.0.1"],
        ...["--innodb-buffer-pool-size=8M", "--innodb-flush-log-at-trx-commit=0", "--performance-schema=off"],
        ...[`--ssl-cert=${certificates.certificate}`, `--ssl-key=${certificates.key}`, "--skip-name-resolve"],
        ...["--general-log", `--general-log-file=${path}/queries`],
      ],
      () => listens(port),
    );
  let running = await start();
  const administer = (statements: string): string =>
    execFileSync("mariadb", ["--no-defaults", "-N", "-S", socket, "-u", "root", "mysql"], {
      input: statements,
      encoding: "latin1",
    });
  administer(`create database mail; use mail;
create table m(k varchar(200), v varchar(200)) character set utf8mb4; ${ROWS}
create user mail@'%' identified by 'secret'; grant all on mail.* to mail@'%';
create user mail@localhost identified by 'secret'; grant all on mail.* to mail@localhost;
create user tls@'%' identified by 'secret' require ssl; grant all on mail.* to tls@'%';
delimiter //
create procedure one(in x varchar(100)) begin select v from m where k = x; end//
create procedure two(in x varchar(100)) begin select v from m where k = x; select 'more'; end//
create procedure nothing(in x varchar(100)) begin set @a = 1; end//
`);
  return {
    type: "mysql",
    port,
    local: `unix:${socket}`,
    certificates,
    login: LOGIN,
    administer,
    stop: () => running.stop(),
    start: async () => {
      running = await start();
    },
  };
}

export async function postgres(t: Test): Promise<SqlServer> {
  const folder = serverFolder(t, "postgres", "postgres");
  const { path, ids } = folder;
  const certificates = certificatesFor(folder);
  const port = await freePort();
  const bin = postgresFolder() ?? "";
  execFileSync(
    join(bin, "initdb"),
    ["-D", `${path}/data`, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C"],
    {
      ...ids,
      cwd: path,
      stdio: "ignore",
    },
  );
  copyFileSync(certificates.key, `${path}/data/server.key`);
  if (ids.uid !== undefined) chownSync(`${path}/data/server.key`, ids.uid, ids.gid ?? 0);
  // tables name a directory and no port
  symlinkSync(`.s.PGSQL.${port}`, join(path, ".s.PGSQL.5432"));
  const settings = {
    unix_socket_directories: path,
    listen_addresses: "127.0.0.1",
    port: String(port),
    fsync: "off",
    shared_buffers: "8MB",
    ssl: "on",
    ssl_cert_file: certificates.certificate,
    ssl_key_file: `${path}/data/server.key`,
  };
  const start = (): Promise<RunningServer> =>
    startServer(
      t,
      folder,
      join(bin, "postgres"),
      [
        "-D",
        `${path}/data`,
        ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
      ],
      async () => ready(),
    );
  const psql = (database: string, statements: string): string =>
    execFileSync(join(bin, "psql"), ["-qtA", "-h", path, "-p", String(port), "-U", "postgres", database], {
      input: statements,
      encoding: "latin1",
      stdio: ["pipe", "pipe", "ignore"],
    });
  const ready = (): boolean => {
    try {
      psql("postgres", "select 1");
      return true;
    } catch {
      // it is still starting
      return false;
    }
  };
  let running = await start();
  psql("postgres", "create role mail login password 'secret'; create database mail owner mail;");
  psql(
    "mail",
    `create table m(k text, v text); ${ROWS} grant all on m to mail;
create function f(x text) returns setof text as $$ select v from m where k = x $$ language sql;`,
  );
  return {
    type: "pgsql",
    port,
    local: `unix:${path}`,
    certificates,
    login: LOGIN,
    administer: (statements) => psql("mail", statements),
    stop: () => running.stop(),
    start: async () => {
      running = await start();
    },
  };
}
