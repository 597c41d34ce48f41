/**
 * postmap and postalias beside the real ones: each line of tables/postmap.cases is a shell command that runs with both in a fresh directory, and
 * what it writes must be the same. So must the answers of tables with database servers.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { PROGRAMS } from "../system/support/harness.ts";
import { Postmap } from "../system/tables/servers/postmap.ts";
import { slapd } from "../system/tables/servers/slapd.ts";
import { hasMariadb, hasPostgres, mariadb, postgres } from "../system/tables/servers/sql.ts";
import { dynamicMaps, reference } from "./support/reference.ts";

t.setTimeout(300_000);
const real = reference();
const options = "missing" in real ? { skip: real.missing } : {};
const realPrograms = "missing" in real ? "" : real.sbin;
const oursPrograms = join(PROGRAMS.multicall, "sbin");

const SOURCES: Readonly<Record<string, string>> = {
  t: 'K1 v1\nk2  v two\ndup a\ndup b\n"q k" q\nbad\nMiX@Ex.com X\n  cont\n# c\nkey: x\n\xe9 latin\n',
  al: 'root: ann, "|cmd x"\nAnn: bob\nbad\nx@y: z\nfoo(c): a,b\ninc: :include:/x\nempty:\n',
  msg: "Subject: Hi\n there\nX-A: b\nContent-Type: multipart/mixed; boundary=q\n\npre\n--q\nContent-Type: text/plain\nX-P: v\n\nbody line\n--q--\n",
  re: "/^Subject: (.*)/ SUBJ $1\n/^X-P/ PART\n/body/ BODY\n/^pre/ PRE\n",
};
const MAIN_CF = `myhostname = host.example.com
mynetworks = 127.0.0.0/8
compatibility_level = 3.11
mail_owner = games
setgid_group = uucp
default_database_type = lmdb
inet_protocols = ipv4
`;

/** What a command writes, and its status; names that differ are made the same. */
function run(programs: string, root: string, command: string): Promise<string> {
  const directory = mkdtempSync(join(root, "case-"));
  for (const [name, text] of Object.entries(SOURCES)) {
    writeFileSync(join(directory, name), text, "latin1");
    utimesSync(join(directory, name), 1e9, 1e9);
  }
  const tool = (name: string): string => `${join(programs, name)} -c ${join(root, "conf")}`;
  return new Promise((resolve) => {
    execFile(
      "/bin/bash",
      ["-c", `exec 2>&1; ${command}\necho "status $?"`],
      {
        cwd: directory,
        encoding: "latin1",
        env: {
          P: tool("postmap"),
          A: tool("postalias"),
          PATH: "/usr/bin:/bin",
          LC_ALL: "C.UTF-8",
          HOME: "/root",
        },
      },
      (_, stdout) =>
        resolve(
          stdout
            .replaceAll(directory, "DIR")
            // libc's errno of some call before
            .replace(/((?:query|write|delete|sequence) error): .*/g, "$1")
            // the real one is built for systems with NIS
            .replace(/^YP_.*\n/gm, ""),
        ),
    );
  });
}

t.test("postmap and postalias", options, async (t) => {
  const root = mkdtempSync(join(tmpdir(), "table-twins-"));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(join(root, "conf"));
  writeFileSync(join(root, "conf/master.cf"), "");
  writeFileSync(join(root, "conf/postfix-files"), "");
  writeFileSync(
    join(root, "conf/main.cf"),
    `${MAIN_CF}queue_directory = ${root}\nshlib_directory = no\nmeta_directory = ${root}/conf\n`,
  );
  utimesSync(join(root, "conf/main.cf"), 1e9, 1e9);
  writeFileSync(join(root, "conf/dynamicmaps.cf"), dynamicMaps("missing" in real ? "" : real.libraries));
  const cases = readFileSync(join(import.meta.dirname, "tables/postmap.cases"), "utf8")
    .trimEnd()
    .split("\n");
  await Postmap.all(cases, async (command) => {
    const [theirs, ours] = await Promise.all([
      run(realPrograms, root, command),
      run(oursPrograms, root, command),
    ]);
    t.equal(ours, theirs, command);
  });
});

t.test("answers of servers", options, async (t) => {
  const servers = await Promise.all([
    ...(hasMariadb ? [mariadb(t)] : []),
    ...(hasPostgres ? [postgres(t)] : []),
  ]);
  const ldap = await slapd(t);
  const settings = "shlib_directory = no\n";
  const makers = [join(oursPrograms, "postmap"), join(realPrograms, "postmap")].map(
    (program) => new Postmap(t, program, settings),
  );
  for (const postmap of makers) {
    postmap.write("conf/dynamicmaps.cf", dynamicMaps("missing" in real ? "" : real.libraries));
    postmap.write("conf/postfix-files", "");
    postmap.write(
      "conf/main.cf",
      `${MAIN_CF}${settings}meta_directory = ${postmap.directory}/conf\nqueue_directory = ${postmap.directory}\n`,
    );
  }
  const sql = "query = select v from m where k='%s'\n";
  const cases: Array<readonly [type: string, settings: string, key: string]> = [];
  for (const { type, port, login } of servers)
    for (const [query, key] of [
      [sql, "u@example.com"],
      [sql, "U@Example.COM"],
      [sql, "o'k@example.com"],
      [sql, "empty@example.com"],
      [sql, "null@example.com"],
      [sql, "back\\"],
      ["query = select '%u|%d|%1|%S'\nresult_format = <%s|%U>\n", "it's@b.c"],
      ["query = select 1, 'x', null, 2.50\n", "x"],
      [`${sql}domain = example.org\n`, "u@example.com"],
      [`${sql}expansion_limit = 1\n`, "u@example.com"],
    ] as const)
      cases.push([type, `hosts = 127.0.0.1:${port}\n${login}${query}`, key]);
  const base = `server_host = ldap://127.0.0.1:${ldap.port}\nversion = 3\nsearch_base = dc=example,dc=com\n`;
  for (const [more, key] of [
    ["", "ann@example.com"],
    ["special_result_attribute = member\n", "team@example.com"],
    [
      "special_result_attribute = member\nleaf_result_attribute = mail\nresult_attribute =\n",
      "team@example.com",
    ],
    ["special_result_attribute = member\nterminal_result_attribute = maildrop\n", "team@example.com"],
    ["special_result_attribute = member\nrecursion_limit = 5\n", "ring@example.com"],
    ["special_result_attribute = memberURL\n", "dynnone@example.com"],
    ["query_filter = (cn=%s)\n", "Bob*(x)\\y"],
    ["query_filter = (bad%s\n", "x"],
    ["bind_dn = cn=admin,dc=example,dc=com\nbind_pw = wrong\n", "x"],
  ] as const)
    cases.push(["ldap", base + more, key]);
  let number = 0;
  await Postmap.all(cases, async ([type, text, key]) => {
    const name = `${number++}.cf`;
    const [ours, theirs] = await Promise.all(
      makers.map((postmap) => postmap.query(`${type}:${postmap.write(name, text)}`, key)),
    );
    t.same(ours, theirs, `${type} ${key} ${text}`);
  });
});
