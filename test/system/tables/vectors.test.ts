import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { PROGRAMS } from "../support/harness.ts";
import { Postmap } from "./servers/postmap.ts";
import { cases, runCase } from "./vectors.ts";

const binaries = process.env.TABLE_PROGRAMS ?? join(PROGRAMS.multicall, "sbin");

t.setTimeout(240_000);
t.test("postmap and postalias do what the reference did", async (t) => {
  await Postmap.all(cases(), async (one) => {
    t.same(await runCase(binaries, one), [], `${one.name}: ${one.argv.join(" ")}`);
  });
});

interface SqlCase {
  name: string;
  config: string;
  key: string;
  stdout: string;
  stderr: string;
  rc: number;
}

const hasSqlite = existsSync("/usr/bin/sqlite3") ? {} : { skip: "needs the sqlite3 command" };
t.test("sqlite templates", hasSqlite, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "table-sql-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  mkdirSync(`${directory}/conf`);
  writeFileSync(
    `${directory}/conf/main.cf`,
    "myhostname=h.example\nmail_owner=games\nsetgid_group=uucp\ncompatibility_level=3.11\n",
  );
  writeFileSync(`${directory}/conf/master.cf`, "");
  const rows = [
    ["u@example.com", "a@x.org"],
    ["u@example.com", "b@y.org"],
    ["plain", "p"],
    ["o''k@example.com", "quote@z"],
    ["empty@example.com", ""],
    ["nodomain@example.com", "res"],
  ];
  const inserts = rows.map(([key, value]) => `insert into m values('${key}','${value}');`).join("\n");
  spawnSync("/usr/bin/sqlite3", [`${directory}/db`], { input: `create table m(k text,v text);\n${inserts}` });
  const query = (config: string, key: string) => {
    writeFileSync(`${directory}/s.cf`, `dbpath = ${directory}/db\n${config}`);
    utimesSync(`${directory}/s.cf`, 1e9, 1e9);
    const run = spawnSync(
      join(binaries, "postmap"),
      ["-c", `${directory}/conf`, "-q", key, `sqlite:${directory}/s.cf`],
      {
        encoding: "utf8",
      },
    );
    // the text after "query error:" is whatever errno the reference's last system call left behind
    const stderr = run.stderr.replaceAll(directory, "$CWD").replace(/(query error): .*/, "$1");
    return { stdout: run.stdout, stderr, rc: run.status };
  };
  for (const one of JSON.parse(readFileSync("test/vectors/tables/sql_templates.json", "utf8")) as SqlCase[]) {
    const { stdout, stderr, rc } = one;
    t.same(
      query(one.config, one.key),
      { stdout, stderr: stderr.replace(/(query error): .*/, "$1"), rc },
      `${one.name} ${one.config} ${one.key}`,
    );
  }
  // what the reference gives for them
  for (const [number, text] of [
    ["1.0", "1.0"],
    ["-0.0", "0.0"],
    ["0.1", "0.1"],
    ["0.1+0.2", "0.30000000000000004"],
    ["1e15", "1000000000000000.0"],
    ["1e17", "1.0e+17"],
    ["1e-5", "1.0e-05"],
    ["9e999", "Inf"],
    ["-9223372036854775808", "-9223372036854775808"],
    ["9007199254740993", "9007199254740993"],
  ] as const)
    t.equal(query(`query = select ${number}\n`, "k").stdout, `${text}\n`, `the number ${number}`);
  for (const [config, key] of [
    ["query = select 'x'\ndomain = example.com\n", "@example.com"],
    // a query that would fail is not asked
    ["query = select x from nosuch\nresult_format = %D\n", "plain"],
    ["query = select x from nosuch\nresult_format = %U\n", "@example.com"],
    ["query = select x from nosuch\nresult_format = %2\n", "u@com"],
  ] as const)
    t.same(query(config, key), { stdout: "", stderr: "", rc: 1 }, `${config} ${key}`);
  for (const key of [
    "' OR 1=1 --",
    "\\'",
    "x' UNION SELECT '/etc/passwd",
    '"',
    "%s",
    "%u%d",
    "%%",
    "back\\",
    "\xbf'",
    "x".repeat(10000),
  ])
    t.match(
      query("query = select v from m where k='%s'\n", key),
      { stdout: "", rc: 1, stderr: /^(?!.*fatal)/ },
      `TAB-03 ${key.slice(0, 40)}`,
    );
});
