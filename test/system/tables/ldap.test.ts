/** ldap tables with OpenLDAP's slapd; the texts are those of a real Postfix with the same server. */
import { existsSync } from "node:fs";
import t, { type Test } from "tap";
import { freePort } from "../support/harness.ts";
import { Postmap } from "./servers/postmap.ts";
import { slapd } from "./servers/slapd.ts";

t.setTimeout(120_000);

t.test("ldap with slapd", existsSync("/usr/sbin/slapd") ? {} : { skip: "no slapd" }, async (t) => {
  const server = await slapd(t);
  const base = `server_host = ldap://127.0.0.1:${server.port}\nversion = 3\nsearch_base = dc=example,dc=com\ntimeout = 5\n`;

  /** Settings that replace the base's, key, and what must come out; `stderr` without the fatal line for "error". */
  type Case = readonly [settings: string, key: string, stdout: string | "error", warnings?: string];
  const ann = "ann@store.example.com,ann@copy.example.com";
  const warn = (text: string): string => `postmap: warning: ${text}\n`;
  const unbound = (title: string, dn: string, why: string): string =>
    warn(`dict_ldap_connect: Unable to bind to server ${title} with dn ${dn}: ${why}`);

  const run = async (t: Test, cases: ReadonlyArray<Case>): Promise<void> =>
    Postmap.all(cases, async ([settings, key, stdout, warnings]) => {
      const postmap = new Postmap(t);
      const replaced = new Set(settings.split("\n").map((line) => line.split(" =", 1)[0]));
      const kept = base.split("\n").filter((line) => !replaced.has(line.split(" =", 1)[0] ?? ""));
      const table = `ldap:${postmap.write("l.cf", `${kept.join("\n")}\n${settings}`)}`;
      const error = stdout === "error";
      t.same(
        await postmap.query(table, key),
        {
          stdout: error || stdout === "" ? "" : `${stdout}\n`,
          stderr: `${warnings ?? ""}${error ? "postmap: fatal: table ldap:$CWD/l.cf: query error\n" : ""}`,
          status: error || stdout === "" ? 1 : 0,
        },
        `${settings}${key}`,
      );
    });

  const dead = await freePort();
  const url = `ldap://127.0.0.1:${server.port}`;
  await t.test("places and binds", (t) =>
    run(t, [
      ["", "ann@example.com", ann],
      ["", "ANN@example.com", ann],
      ["", "nobody", ""],
      [`server_host = 127.0.0.1\nserver_port = ${server.port}\n`, "ann@example.com", ann],
      [`server_host = 127.0.0.1:${dead}, 127.0.0.1:${server.port}\n`, "ann@example.com", ann],
      [`server_host = ldapi://${encodeURIComponent(server.socket)}\n`, "ann@example.com", ann],
      [
        `server_host = 127.0.0.1:${dead}\n`,
        "x",
        "error",
        unbound(`ldap://127.0.0.1:${dead}`, "empty or implicit", "-1 (Can't contact LDAP server)"),
      ],
      ["bind_dn = cn=admin,dc=example,dc=com\nbind_pw = secret\n", "ann@example.com", ann],
      [
        "bind_dn = cn=admin,dc=example,dc=com\nbind_pw = wrong\n",
        "x",
        "error",
        unbound(url, "cn=admin,dc=example,dc=com", "49 (Invalid credentials)"),
      ],
      ["bind = no\n", "ann@example.com", ann],
      ["bind = none\n", "ann@example.com", ann],
      [
        `server_host = ldapi://${encodeURIComponent(server.socket)}\nbind = sasl\nsasl_mechs = EXTERNAL\n`,
        "ann@example.com",
        ann,
      ],
    ]),
  );
  await t.test("filters and bases", (t) =>
    run(t, [
      ["query_filter = (cn=%s)\n", "Bob*(x)\\y", "bob@store.example.com"],
      ["query_filter = (cn=%s)\n", "*", ""],
      ["query_filter = (cn=%s)\n", "x)(objectClass=*", ""],
      ["query_filter = (|(mail=%s)(&(cn=An*)(!(mail=x))))\n", "nobody", ann],
      ["query_filter = (mail=%u@%d)\n", "plain", ""],
      [
        "query_filter = (bad%s\n",
        "x",
        "error",
        warn("dict_ldap_lookup: Search error -7: Bad search filter "),
      ],
      [
        "search_base = dc=nosuch\n",
        "x",
        "error",
        warn("dict_ldap_lookup: $CWD/l.cf: Search base 'dc=nosuch' not found: 32: No such object"),
      ],
      ["search_base = ou=%u,dc=example,dc=com\n", "nosuch@x", ""],
      ["search_base = ou=%u,dc=example,dc=com\nquery_filter = (uid=%d)\n", "people@ann", ann],
      ["search_base = ou=people,dc=example,dc=com\nscope = one\n", "ann@example.com", ann],
      ["scope = base\n", "ann@example.com", ""],
      [
        "scope = foo\n",
        "ann@example.com",
        ann,
        warn("dict_ldap_open: $CWD/l.cf: Unrecognized value foo specified for scope; using sub"),
      ],
      [
        "query_filter = (uid=ann)\n",
        "x",
        ann,
        warn("dict_ldap_open: $CWD/l.cf: Fixed query_filter (uid=ann) is probably useless"),
      ],
      ["domain = example.com\n", "ann@example.com", ann],
      ["domain = example.org\n", "ann@example.com", ""],
      [
        "dereference = 9\n",
        "ann@example.com",
        ann,
        warn("dict_ldap_open: $CWD/l.cf Unrecognized value 9 specified for dereference; using 0"),
      ],
      [
        "cache = yes\ncache_expiry = 1\n",
        "ann@example.com",
        ann,
        warn("dict_ldap_open: $CWD/l.cf ignoring cache") +
          warn("dict_ldap_open: $CWD/l.cf ignoring cache_expiry"),
      ],
    ]),
  );
  const gone =
    warn("dict_ldap_get_values[1]: DN uid=gone,ou=people,dc=example,dc=com not found, skipping ") +
    warn("dict_ldap_lookup: Had some trouble with entries returned by search: No such object");
  await t.test("results", (t) =>
    run(t, [
      ["result_attribute = mail, maildrop\n", "ann@example.com", `ann@example.com,ann2@example.com,${ann}`],
      [
        "result_format = <%s|%u|%d|%S|%1>\n",
        "bob@example.com",
        "<bob@store.example.com|bob|store.example.com|bob@example.com|com>",
      ],
      ["result_filter = %u\n", "ann@example.com", "ann,ann"],
      ["result_attribute = description\n", "ann@example.com", "gr\xc3\xbc\xc3\x9fe"],
      [
        "special_result_attribute = member\n",
        "team@example.com",
        `archive@example.com,${ann},bob@store.example.com`,
        gone,
      ],
      [
        "special_result_attribute = member\nleaf_result_attribute = mail\nresult_attribute =\n",
        "team@example.com",
        "ann@example.com,ann2@example.com,bob@example.com",
        gone,
      ],
      [
        "special_result_attribute = member\nterminal_result_attribute = maildrop\n",
        "team@example.com",
        "archive@example.com",
      ],
      ["special_result_attribute = memberURL\n", "dyn@example.com", `${ann},bob@store.example.com`],
      ["special_result_attribute = memberURL\n", "dynnone@example.com", `${ann},bob@store.example.com`],
      ["special_result_attribute = memberURL\n", "dynother@example.com", ""],
      ["special_result_attribute = memberURL\n", "dynlang@example.com", "eve@en.example.com"],
      [
        "special_result_attribute = memberURL\n",
        "dynbad@example.com",
        "error",
        warn(
          "dict_ldap_get_values[1]: malformed URL ldap:///ou=people,dc=example,dc=com?maildrop?foo?(objectClass=inetOrgPerson)",
        ),
      ],
    ]),
  );
  await t.test("limits (TAB-06)", (t) =>
    run(t, [
      [
        "special_result_attribute = member\nrecursion_limit = 3\n",
        "ring@example.com",
        "error",
        warn(
          "dict_ldap_get_values[3]: $CWD/l.cf: Recursion limit exceeded for special attribute member=cn=ring2,ou=people,dc=example,dc=com",
        ),
      ],
      [
        "special_result_attribute = member\nexpansion_limit = 50\n",
        "ring@example.com",
        "error",
        warn("dict_ldap_get_values[51]: $CWD/l.cf: Expansion limit exceeded for key: 'ring@example.com'"),
      ],
      [
        "expansion_limit = 1\n",
        "ann@example.com",
        "error",
        warn("dict_ldap_get_values[1]: $CWD/l.cf: Expansion limit exceeded for key: 'ann@example.com'"),
      ],
      ["expansion_limit = 2\n", "ann@example.com", ann],
      [
        "size_limit = 1\nquery_filter = (|(uid=%s)(uid=*))\n",
        "x",
        "error",
        warn("dict_ldap_lookup: Search error 4: Size limit exceeded "),
      ],
      ["size_limit = 2\nquery_filter = (|(uid=%s)(uid=*))\n", "x", `${ann},bob@store.example.com`],
    ]),
  );
  const { authority, otherAuthority } = server.certificates;
  const starttls = "postmap: error: dict_ldap_connect: Unable to set STARTTLS: -11: Connect error\n";
  const secure = `ldaps://127.0.0.1:${server.securePort}`;
  await t.test("TLS (TAB-04)", (t) =>
    run(t, [
      ["start_tls = yes\n", "ann@example.com", ann],
      [`start_tls = yes\ntls_require_cert = yes\ntls_ca_cert_file = ${authority}\n`, "x", "error", starttls],
      [
        `start_tls = yes\ntls_require_cert = yes\ntls_ca_cert_file = ${otherAuthority}\n`,
        "x",
        "error",
        starttls,
      ],
      [`server_host = ${secure}\n`, "ann@example.com", ann],
      [
        `server_host = ${secure}\ntls_require_cert = yes\ntls_ca_cert_file = ${authority}\n`,
        "x",
        "error",
        unbound(secure, "empty or implicit", "-1 (Can't contact LDAP server)"),
      ],
      [
        `server_host = ${secure}\ntls_require_cert = yes\ntls_ca_cert_file = ${otherAuthority}\n`,
        "x",
        "error",
        unbound(secure, "empty or implicit", "-1 (Can't contact LDAP server)"),
      ],
    ]),
  );
  await t.test("settings that make no sense", async (t) => {
    const postmap = new Postmap(t);
    const cases: ReadonlyArray<readonly [string, RegExp]> = [
      ["bind = foo\n", /^postmap: fatal: \$CWD\/\w+\.cf: unsupported parameter value: bind = foo\n$/],
      ["bind = sasl\nsasl_mechs = GSSAPI\n", /no usable SASL mechanism in sasl_mechs = GSSAPI/],
      ["recursion_limit = 0\n", /invalid recursion_limit parameter value 0 < 1/],
      ["query_filter = (x=%x)\n", /Invalid query template: \(x=%x\)/],
      ["tls_ca_cert_file = /nonexistent\n", /open \/nonexistent: No such file or directory/],
      ["server_host = ldap://x:y\n", /bad LDAP server: ldap:\/\/x:y/],
    ];
    let number = 0;
    await Postmap.all(cases, async ([settings, stderr]) => {
      const file = postmap.write(`${number++}.cf`, `search_base = x\n${settings}`);
      t.match(await postmap.query(`ldap:${file}`, "x"), { stdout: "", stderr, status: 1 }, settings);
    });
  });
});

t.test("a chain of referrals", existsSync("/usr/sbin/slapd") ? {} : { skip: "no slapd" }, async (t) => {
  const target = await slapd(t);
  const referring = await slapd(
    t,
    `dn: ou=elsewhere,dc=example,dc=com
objectClass: referral
objectClass: extensibleObject
ou: elsewhere
ref: ldap://127.0.0.1:${target.port}/ou=people,dc=example,dc=com
`,
  );
  const postmap = new Postmap(t);
  const settings = `server_host = ldap://127.0.0.1:${referring.port}\nversion = 3\nsearch_base = dc=example,dc=com\nquery_filter = (cn=%s)\nresult_attribute = cn\n`;
  const plain = `ldap:${postmap.write("plain.cf", settings)}`;
  const chasing = `ldap:${postmap.write("chasing.cf", `${settings}chase_referrals = yes\n`)}`;
  t.same(await postmap.query(plain, "Ann"), { stdout: "Ann\n", stderr: "", status: 0 });
  t.same(await postmap.query(chasing, "Ann"), { stdout: "Ann,Ann\n", stderr: "", status: 0 });
});
