/** Tables with servers in a running mail system: in a jail, through proxymap, and when the servers are gone. */
import { existsSync, mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { sendMail } from "../../../packaging/smtp_hello.ts";
import { daemons, freePort, isRoot, logged, runningInstance, troubles } from "../support/harness.ts";
import { FakeMongodb } from "./servers/mongodb.ts";
import { listens, serverFolder, startServer } from "./servers/processes.ts";
import { askRecipients } from "./servers/recipients.ts";
import { ScriptedServer } from "./servers/scripted.ts";
import { slapd } from "./servers/slapd.ts";
import { hasMariadb, hasPostgres, mariadb, postgres } from "./servers/sql.ts";

t.setTimeout(240_000);

const TYPES = ["mysql", "pgsql", "ldap", "memcache", "mongodb", "socketmap", "tcp"] as const;
const WAYS = ["direct", "proxied"] as const;
const addressOf = (type: string): string => (type === "ldap" ? "bob@example.com" : `${type}@tables.test`);

/** For each table, asked in each way: the replies for an address that it has and for one that it has not. The sender selects the table. */
async function recipients(port: number): Promise<Map<string, string[]>> {
  const asked = WAYS.flatMap((way) => TYPES.map((type) => ({ way, type })));
  const replies = await askRecipients(
    port,
    asked.map(({ way, type }) => ({
      sender: `${way}_${type}@tables.test`,
      recipients: [addressOf(type), "nobody@tables.test"],
    })),
  );
  return new Map(asked.map(({ way, type }, index) => [`${way} ${type}`, replies[index] ?? []]));
}

const netstring = (text: string): string => `${text.length}:${text},`;

const missing = !isRoot
  ? "needs root"
  : !hasMariadb ||
      !hasPostgres ||
      !["/usr/sbin/slapd", "/usr/bin/memcached"].every((path) => existsSync(path))
    ? "needs MariaDB, PostgreSQL, slapd and memcached"
    : undefined;

t.test("all of them in one mail system", missing === undefined ? {} : { skip: missing }, async (t) => {
  const [maria, pg, ldap] = await Promise.all([mariadb(t), postgres(t), slapd(t)]);
  const memcachedPort = await freePort();
  const memcachedFolder = serverFolder(t, "memcached", "nobody");
  const startMemcached = () =>
    startServer(
      t,
      memcachedFolder,
      "/usr/bin/memcached",
      ["-l", "127.0.0.1", "-p", String(memcachedPort), "-U", "0", "-u", "nobody"],
      () => listens(memcachedPort),
    );
  let memcached = await startMemcached();
  const tcp = await ScriptedServer.start(t);
  const tcpWorks = (request: string): string =>
    request === "get tcp@tables.test\n" ? "200 REJECT%20from%20tcp\n" : "500 none\n";
  tcp.respond = tcpWorks;
  const socketmap = await ScriptedServer.start(t);
  const socketmapWorks = (request: string): string =>
    netstring(request.includes(" socketmap@tables.test,") ? "OK REJECT from socketmap" : "NOTFOUND ");
  socketmap.respond = socketmapWorks;

  const mongodb = await FakeMongodb.start(t, ({ k }) =>
    k === "mongodb@tables.test" ? [{ v: "REJECT from mongodb" }] : [],
  );

  const port = await freePort();
  const instance = await runningInstance(t, {
    stopped: true,
    mainCf: (directory) => {
      const cf = (name: string): string => join(directory, "tables", `${name}.cf`);
      const tables = {
        mysql: `mysql:${cf("mysql")}`,
        pgsql: `pgsql:${cf("pgsql")}`,
        ldap: `ldap:${cf("ldap")}`,
        memcache: `memcache:${cf("memcache")}`,
        mongodb: `mongodb:${cf("mongodb")}`,
        socketmap: `socketmap:inet:127.0.0.1:${socketmap.port}:map`,
        tcp: `tcp:127.0.0.1:${tcp.port}`,
      };
      mkdirSync(join(directory, "tables"));
      const sql = (name: string, port: number): string =>
        `hosts = 127.0.0.1:${port}\nuser = mail\npassword = secret\ndbname = mail\nretry_interval = 1\n` +
        `query = select 'REJECT from ${name}' from m where k = 'plain' and '%s' = '${name}@tables.test'\n`;
      const settings = {
        mysql: sql("mysql", maria.port),
        pgsql: sql("pgsql", pg.port),
        ldap: `server_host = ldap://127.0.0.1:${ldap.port}\nversion = 3\nsearch_base = dc=example,dc=com\nquery_filter = (mail=%s)\nresult_format = REJECT from ldap\nexpansion_limit = 1\n`,
        mongodb: `uri = mongodb://127.0.0.1:${mongodb.port}/?serverSelectionTimeoutMS=1000\ndbname = mail\ncollection = users\nquery_filter = {"k": "%s"}\nresult_attribute = v\n`,
        memcache: `memcache = inet:127.0.0.1:${memcachedPort}\nmax_try = 1\n`,
      };
      for (const [name, text] of Object.entries(settings)) {
        writeFileSync(cf(name), text);
        utimesSync(cf(name), 1e9, 1e9);
      }
      const classes = WAYS.flatMap((way) =>
        TYPES.map((type) => ({
          name: `${way}_${type}`,
          check: `check_recipient_access ${way === "proxied" ? "proxy:" : ""}${tables[type]}`,
        })),
      );
      return `
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
relay_domains = tables.test, example.com
smtpd_restriction_classes = ${classes.map(({ name }) => name).join(" ")}
${classes.map(({ name, check }) => `${name} = ${check}`).join("\n")}
smtpd_recipient_restrictions = check_sender_access inline:{ ${classes.map(({ name }) => `{ ${name}@tables.test = ${name} }`).join(" ")} }
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
proxy_read_maps = ${Object.values(tables)
        .map((table) => `proxy:${table}`)
        .join(" ")}
proxy_write_maps = proxy:${tables.memcache}
`;
    },
    masterCf: () => `127.0.0.1:${port} inet n - y - - smtpd\n`,
  });
  instance.start();
  const fill = (): void => {
    const filled = instance.run(
      "postmap",
      ["-i", `proxy:memcache:${instance.directory}/tables/memcache.cf`],
      "memcache@tables.test REJECT from memcache\n",
    );
    t.equal(filled.status, 0, `proxywrite: ${filled.stderr}`);
  };
  fill();

  const right = new Map(
    WAYS.flatMap((way) =>
      TYPES.map((type) => [
        `${way} ${type}`,
        [`554 5.7.1 <${addressOf(type)}>: Recipient address rejected: from ${type}`, "250 2.1.5 Ok"],
      ]),
    ),
  );
  t.same(await recipients(port), right, "in a jail, and through proxymap");
  t.equal(daemons(instance, "proxymap").length, 2, "one for reading, one for changes");

  await t.test("in the daemons that route and deliver", async (t) => {
    const other = await runningInstance(t, {
      mainCf: (directory) => {
        const table = (name: string, text: string): string => {
          const path = join(directory, `${name}.cf`);
          writeFileSync(path, text);
          utimesSync(path, 1e9, 1e9);
          return path;
        };
        const login = "user = mail\npassword = secret\ndbname = mail\n";
        const alias = `server_host = ldap://127.0.0.1:${ldap.port}\nversion = 3\nsearch_base = dc=example,dc=com\nquery_filter = (mail=%s)\nresult_format = nobody@localhost\nresult_attribute = uid\n`;
        return `
virtual_alias_domains = example.com
virtual_alias_maps = ldap:${table("alias", alias)}
transport_maps = pgsql:${table("transport", `hosts = 127.0.0.1:${pg.port}\n${login}query = select 'local:' where '%s' = 'localhost'\n`)}
alias_maps = mysql:${table("local", `hosts = 127.0.0.1:${maria.port}\n${login}query = select 'daemon' from m where k = 'plain' and '%s' = 'nobody'\n`)}
`;
      },
    });
    await sendMail(other.smtpPort, "a@example.org", "ann@example.com", "Subject: x\r\n\r\nx\r\n");
    await logged(other, /to=<daemon@\S+>, orig_to=<ann@example\.com>, relay=local, .*status=sent/);
    t.same(troubles(other), []);
  });

  await Promise.all([maria.stop(), pg.stop(), ldap.stop(), memcached.stop(), mongodb.stop()]);
  tcp.respond = () => "400 later\n";
  socketmap.respond = () => ({ close: true });
  for (const round of ["when the servers have just gone", "while they are left alone"])
    for (const [table, answers] of await recipients(port))
      for (const answer of answers) t.match(answer, /^451 4\.3\.[05] /, `TAB-05 ${table} ${round}`);

  await Promise.all([maria.start(), pg.start(), ldap.start(), mongodb.listen()]);
  memcached = await startMemcached();
  tcp.respond = tcpWorks;
  socketmap.respond = socketmapWorks;
  fill();
  // SQL servers are tried again after retry_interval
  let again = new Map<string, string[]>();
  const deadline = Date.now() + 30_000;
  do again = await recipients(port);
  while (Date.now() < deadline && [...again.values()].flat().some((answer) => answer.startsWith("451")));
  t.same(again, right, "when they are back");
});
