/** mysql and pgsql tables with real servers: templates, quoting, answers, the choice of a server, TLS. */
import { readFileSync } from "node:fs";
import t, { type Test } from "tap";
import { freePort } from "../support/harness.ts";
import { Postmap } from "./servers/postmap.ts";
import { hasMariadb, hasPostgres, mariadb, postgres, type SqlServer } from "./servers/sql.ts";

interface SqlCase {
  readonly name: string;
  readonly config: string;
  readonly key: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly rc: number;
}

t.setTimeout(180_000);

const QUERY = "query = select v from m where k='%s'\n";

/** A table of its own settings file. */
function tableOf(t: Test, server: SqlServer, settings: string, hosts = `127.0.0.1:${server.port}`) {
  const postmap = new Postmap(t);
  const setting = `hosts = ${hosts}\n${server.login}${settings}`;
  return { postmap, table: `${server.type}:${postmap.write("s.cf", setting)}` };
}

/** What the vectors say of sqlite, in the words of the others. */
function expected(one: SqlCase, type: string) {
  return {
    stdout: one.stdout,
    stderr: one.stderr
      .replaceAll("sqlite:", `${type}:`)
      .replace("dict_sqlite_lookup", `dict_${type}_lookup`)
      .replace("exceeded for key 'u", "exceeded for key: 'u")
      .replace(/(query error): .*/, "$1"),
    status: one.rc,
  };
}

async function templates(t: Test, server: SqlServer): Promise<void> {
  const cases = (
    JSON.parse(readFileSync("test/vectors/tables/sql_templates.json", "utf8")) as SqlCase[]
  ).filter(({ name }) => name !== "sql error");
  await Postmap.all(cases, async (one) => {
    const { postmap, table } = tableOf(t, server, one.config);
    t.same(await postmap.query(table, one.key), expected(one, server.type), `${one.config} ${one.key}`);
  });
}

/** Each of these must reach the server as one literal. */
const HOSTILE = [
  "' OR 1=1 -- ",
  "\\'",
  "\\' OR 1=1 -- ",
  "x' UNION SELECT 'passwd",
  '"',
  "%s",
  "%u%d",
  "%%",
  "back\\",
  "line\nbreak",
  "\xc2\xbf'",
  "\xe4\xb8\xad' OR 1=1 -- ",
  "x".repeat(10_000),
];

async function injection(t: Test, server: SqlServer): Promise<void> {
  // the server says what it took for the text
  const { postmap, table } = tableOf(t, server, "query = select '<%s>'\n");
  for (const key of HOSTILE)
    if (key.includes("\n"))
      t.same(await postmap.query(table, key), { stdout: `<${key}>\n`, stderr: "", status: 0 }, "TAB-03");
  const keys = HOSTILE.filter((key) => !key.includes("\n"));
  const run = await postmap.run(["-f", "-q", "-", table], `${keys.join("\n")}\n`);
  t.same(
    run.stdout.split("\n").slice(0, -1),
    keys.map((key) => `${key}\t<${key}>`),
    "TAB-03",
  );
  t.equal(run.stderr, "");
  const parts = tableOf(t, server, "query = select '<%u|%d|%1>'\n");
  const key = "o'x\\@do'm\\ain.te'st";
  t.same(await parts.postmap.run(["-f", "-q", key, parts.table]), {
    stdout: "<o'x\\|do'm\\ain.te'st|te'st>\n",
    stderr: "",
    status: 0,
  });
  // without the flag for UTF-8 a key that is none is not looked up, and nothing is said
  t.same(
    await postmap.run(["-u", "-q", "-", table], "\xbf' OR 1=1\n"),
    { stdout: "", stderr: "", status: 1 },
    "TAB-03",
  );
}

async function answers(
  t: Test,
  server: SqlServer,
  cases: ReadonlyArray<readonly [settings: string, stdout: string, stderr?: RegExp]>,
): Promise<void> {
  await Postmap.all(cases, async ([settings, stdout, stderr]) => {
    const { postmap, table } = tableOf(t, server, settings);
    const status = stdout === "" ? 1 : 0;
    t.match(
      await postmap.query(table, "u@example.com"),
      { stdout, stderr: stderr ?? /^$/, status },
      settings,
    );
  });
}

async function places(t: Test, server: SqlServer): Promise<void> {
  const [dead, other] = [await freePort(), await freePort()];
  const alive = `127.0.0.1:${server.port}`;
  const cases: ReadonlyArray<readonly [hosts: string, stdout: string, stderr: RegExp]> = [
    [`inet:${alive}`, "p\n", /^$/],
    [`[127.0.0.1]:${server.port}`, "p\n", /^$/],
    [server.local, "p\n", /^$/],
    // the local server comes first
    [`127.0.0.1:${dead}, ${server.local}`, "p\n", /^$/],
    [
      `127.0.0.1:${dead}`,
      "",
      /^(?:postmap: warning: connect to \w+ server 127\.0\.0\.1:\d+: .*\n){2}postmap: fatal: .* query error\n$/,
    ],
    [
      `127.0.0.1:${dead} 127.0.0.1:${other}`,
      "",
      /^(?:postmap: warning: connect to .*\n){2}postmap: fatal: .* query error\n$/,
    ],
    [`127.0.0.1:${dead} ${alive} 127.0.0.1:${other}`, "p\n", /^(?:postmap: warning: connect to .*\n){0,2}$/],
    ["nosuch.invalid:1", "", /Name or service not known/],
    ["127.0.0.1:nosuchservice", "", /^postmap: fatal: unknown service: nosuchservice\/tcp\n$/],
  ];
  await Postmap.all(cases, async ([hosts, stdout, stderr]) => {
    const { postmap, table } = tableOf(t, server, QUERY, hosts);
    t.match(await postmap.query(table, "plain"), { stdout, stderr, status: stdout === "" ? 1 : 0 }, hosts);
  });
}

t.test("mysql with MariaDB", hasMariadb ? {} : { skip: "no MariaDB" }, async (t) => {
  const server = await mariadb(t);
  await t.test("templates", (t) => templates(t, server));
  await t.test("quoting", (t) => injection(t, server));
  await t.test("answers", async (t) =>
    answers(t, server, [
      ["query = call one('%s')\n", "a@x.org,b@y.org\n"],
      [
        "query = call two('%s')\n",
        "",
        /query failed: multiple result sets returning data are not supported\n/,
      ],
      [
        "query = call nothing('%s')\n",
        "",
        /query failed: query returned no result set\(require_result_set = yes\)\n/,
      ],
      ["query = call nothing('%s')\nrequire_result_set = no\n", ""],
      ["query = select 1; select 2\n", "", /multiple result sets/],
      ["query = select 1, 'x', null, 1.50, cast('2020-01-02' as date)\n", "1,x,1.50,2020-01-02\n"],
      ["query = select v from m where k = 'null@example.com'\n", ""],
      ["query = selec\n", "", /mysql:\S+: query failed: You have an error in your SQL syntax/],
      ["query = select '\xc3\xa9'\ncharset = latin1\n", "\xc3\xa9\n"],
      [
        "query = select 1\ncharset = nosuch\n",
        "",
        /mysql_set_character_set 'nosuch' failed: Unknown character set/,
      ],
      ["query = select 1\npassword = wrong\n", "", /Access denied for user 'mail'@/],
      ["query = select 1\nexpansion_limit = -1\n", "", /bad numerical configuration: expansion_limit = -1/],
    ]),
  );
  await t.test("places", (t) => places(t, server));
  await t.test("quoting under other character sets and modes (TAB-03)", async (t) => {
    const gbk = tableOf(t, server, "query = select '<%s>'\ncharset = gbk\n");
    t.match(await gbk.postmap.query(gbk.table, "\xe4\xb8\xad' OR 1=1 -- "), {
      stdout: "",
      stderr: /dict_mysql: host \(127\.0\.0\.1:\d+\) cannot escape input string: >/,
      status: 1,
    });
    t.match(await gbk.postmap.query(gbk.table, "it's"), { stdout: "<it's>\n", stderr: "" });
    server.administer("set global sql_mode = 'NO_BACKSLASH_ESCAPES'");
    const { postmap, table } = tableOf(t, server, "query = select '<%s>'\n");
    const keys = HOSTILE.filter((key) => !key.includes("\n"));
    const run = await postmap.run(["-f", "-q", "-", table], `${keys.join("\n")}\n`);
    t.same(
      run.stdout.split("\n").slice(0, -1),
      keys.map((key) => `${key}\t<${key}>`),
    );
    server.administer("set global sql_mode = default");
  });
  await t.test("option files", async (t) => {
    const postmap = new Postmap(t);
    postmap.write("more.cnf", `[mail]\npassword = "secret" # quoted\n`);
    const file = postmap.write(
      "my.cnf",
      `# comment\n[other]\nuser=nobody\n[client]\nuser=mail\nport=${server.port}\n!include ${postmap.directory}/more.cnf\n`,
    );
    const table = `mysql:${postmap.write("s.cf", `hosts = 127.0.0.1\ndbname = mail\noption_file = ${file}\noption_group = mail\n${QUERY}`)}`;
    t.same(await postmap.query(table, "plain"), { stdout: "p\n", stderr: "", status: 0 });
  });
  await t.test("TLS (TAB-04)", async (t) => {
    const { authority, otherAuthority } = server.certificates;
    const cases: ReadonlyArray<readonly [settings: string, stdout: string]> = [
      ["", ""],
      ["tls_verify_cert = no\ntls_ciphers = HIGH\n", "p\n"],
      [`tls_CAfile = ${authority}\ntls_verify_cert = no\n`, "p\n"],
      // the certificate is for another name than 127.0.0.1
      [`tls_CAfile = ${authority}\n`, ""],
      [`tls_CAfile = ${authority}\ntls_verify_cert = yes\n`, ""],
      [`tls_CAfile = ${otherAuthority}\n`, ""],
      [`tls_CAfile = ${otherAuthority}\ntls_verify_cert = yes\n`, ""],
      ["tls_verify_cert = yes\n", ""],
      ["tls_CAfile = /nonexistent\n", ""],
    ];
    await Postmap.all(cases, async ([settings, stdout]) => {
      const { postmap, table } = tableOf(t, server, `${QUERY}${settings}user = tls\n`);
      const run = await postmap.query(table, "plain");
      t.match(run, { stdout, status: stdout === "" ? 1 : 0 }, settings);
    });
  });
});

t.test("pgsql with PostgreSQL", hasPostgres ? {} : { skip: "no PostgreSQL" }, async (t) => {
  const server = await postgres(t);
  await t.test("templates", (t) => templates(t, server));
  await t.test("quoting", (t) => injection(t, server));
  await t.test("answers", async (t) =>
    answers(t, server, [
      ["select_function = f\n", "a@x.org,b@y.org\n"],
      ["query = select 1; select 2\n", "2\n"],
      [
        "query = select 1, 'x', null, 1.50, true, '2020-01-02'::date, '{1,2}'::int[]\n",
        "1,x,1.50,t,2020-01-02,{1,2}\n",
        /empty lookup result for: "u@example.com" -- ignored\n$/,
      ],
      ["query = set work_mem = '1MB'\n", ""],
      [
        "query = selec\n",
        "",
        /pgsql query failed: fatal error from host 127\.0\.0\.1:\d+: ERROR: {2}syntax error at or near "selec"/,
      ],
      [
        "query = select 1\nencoding = nosuch\n",
        "",
        /dict_pgsql: cannot set the encoding to nosuch, skipping 127/,
      ],
      [
        "query = select 1\nuser = nobody\n",
        "",
        /connect to pgsql server \S+: .*role "nobody" does not exist/,
      ],
      ["query = select 1\ndbname =\n", "", /fatal: pgsql:\S+ host target '\S+' requires dbname setting/],
    ]),
  );
  await t.test("places", (t) => places(t, server));
  await t.test("quoting where a backslash is special (TAB-03)", async (t) => {
    server.administer(
      "alter role mail set standard_conforming_strings = off; alter role mail set escape_string_warning = off",
    );
    const { postmap, table } = tableOf(t, server, "query = select '<%s>'\n");
    const keys = HOSTILE.filter((key) => !key.includes("\n"));
    const run = await postmap.run(["-f", "-q", "-", table], `${keys.join("\n")}\n`);
    t.same(
      run.stdout.split("\n").slice(0, -1),
      keys.map((key) => `${key}\t<${key}>`),
    );
    server.administer("alter role mail reset all");
  });
  await t.test("URIs and TLS (TAB-04)", async (t) => {
    const { authority, otherAuthority } = server.certificates;
    const at = (host: string, rest = ""): string =>
      `postgresql://mail:secret@${host}:${server.port}/mail${rest}`;
    const dead = await freePort();
    const socket = encodeURIComponent(server.local.slice(5));
    const cases: ReadonlyArray<readonly [uri: string, stdout: string, stderr?: RegExp]> = [
      [at("127.0.0.1"), "p\n"],
      [at("127.0.0.1", "?sslmode=disable&application_name=x"), "p\n"],
      [`postgresql://mail@${socket}:${server.port}/mail`, "p\n"],
      [at("127.0.0.1", "?sslmode=require"), "p\n"],
      [at("127.0.0.1", `?sslmode=verify-ca&sslrootcert=${authority}`), "p\n"],
      [at("127.0.0.1", `?sslmode=verify-full&sslrootcert=${authority}`), "", /does not match certificate/],
      [at("127.0.0.1", `?sslmode=verify-ca&sslrootcert=${otherAuthority}`), "", /unable to verify/],
      [at("127.0.0.1", `?sslmode=require&sslrootcert=${otherAuthority}`), "", /unable to verify/],
      [at("127.0.0.1", "?sslmode=nosuch"), "", /invalid sslmode value: "nosuch"/],
      [at("127.0.0.1", "?foo=1"), "", /invalid URI query parameter: "foo"/],
      [
        `postgresql://mail:hidden@127.0.0.1:${dead}/mail`,
        "",
        /^(?!.*hidden).*connect to pgsql server postgresql:\/\/mail:\*\*\*@127/s,
      ],
    ];
    await Postmap.all(cases, async ([uri, stdout, stderr]) => {
      const postmap = new Postmap(t);
      const table = `pgsql:${postmap.write("s.cf", `hosts = ${uri}\n${QUERY}`)}`;
      t.match(
        await postmap.query(table, "plain"),
        { stdout, stderr: stderr ?? /^$/, status: stdout === "" ? 1 : 0 },
        uri,
      );
    });
  });
});
