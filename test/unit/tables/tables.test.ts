import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import t from "tap";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { openBuilder } from "../../../lib/tables/build.ts";
import { foldCase } from "../../../lib/tables/casefold.ts";
import { TableList } from "../../../lib/tables/list.ts";
import { formatAddress, parseNetwork } from "../../../lib/tables/network.ts";
import { changedTable, openTable } from "../../../lib/tables/open.ts";
import { allowSurrogates } from "../../../lib/tables/policy.ts";
import { PARANOID, type Table, TableFlag } from "../../../lib/tables/table.ts";

const directory = mkdtempSync(`${tmpdir()}/tables-`);
t.teardown(() => rmSync(directory, { recursive: true }));
installConfiguration(configurationFromText("compatibility_level = 3.11\n"));
const lines: string[] = [];
setLogSinks([(event) => lines.push(`${event.level}: ${event.text}`)]);
allowSurrogates(true);

const FOLD = TableFlag.fold_fix | TableFlag.utf8_request;
const bytes = (text: string): string => Buffer.from(text, "utf8").toString("latin1");
const get = async (table: Table, key: string): Promise<string> => {
  const result = await table.lookup(key);
  return result.kind === "found" ? result.value : result.kind;
};
const old = (path: string): void => utimesSync(path, 1e9, 1e9);

t.test("TAB-12 JS-15 keys are folded by Unicode rules", async (t) => {
  const inline = await openTable(bytes("inline:{kelvin=1,é=2,{straße=3},ix=4,ı=5}"), { flags: FOLD });
  t.equal(await get(inline, bytes("\u212Aelvin")), "1");
  t.equal(await get(inline, bytes("É")), "2");
  t.equal(await get(inline, "STRASSE"), "3");
  t.equal(await get(inline, bytes("\u0130x")), "absent");
  t.equal(await get(inline, "I"), "absent");
  t.equal(foldCase(bytes("ΑΣ"), true), bytes("ασ"));
  t.equal(foldCase(bytes("ς"), true), bytes("σ"));
  lines.length = 0;
  t.equal(await get(inline, "\xff"), "absent");
  t.match(lines[0], /non-UTF-8 key "\?": malformed UTF-8 or invalid codepoint$/);
});

t.test("names of objects are ordinary keys (JS-01)", async (t) => {
  const table = await openTable("inline:{a=1}", { flags: FOLD });
  for (const key of ["__proto__", "constructor", "toString", "hasOwnProperty"])
    t.equal(await get(table, key), "absent");
  const environ = await openTable("environ:x", { flags: 0 });
  t.equal(await get(environ, "__proto__"), "absent");
});

t.test("a list of tables: order, derived keys, errors, empty results", async (t) => {
  const list = await TableList.open("test_maps", "inline:{a=1} static:all fail:x", FOLD);
  t.match(await list.lookup("a"), { kind: "found", value: "1" });
  t.match(await list.lookup("b"), { kind: "found", value: "all" });
  t.match(await list.lookup(""), { kind: "absent" });
  const failing = await TableList.open("test_maps", "inline:{a=1}, fail:x", FOLD);
  lines.length = 0;
  t.match(await failing.lookup("b"), { kind: "error", error: "retry" });
  t.same(lines, ['warning: fail:x lookup error for "b"']);
  t.match(await failing.lookup("b", { fixedOnly: true }), { kind: "absent" });
  const empty = await TableList.open("test_maps", "static:{}", FOLD);
  lines.length = 0;
  t.match(await empty.lookup("k"), { kind: "error", error: "config" });
  t.same(lines, [
    "warning: test_maps lookup of k returns an empty string result",
    "warning: test_maps should return NO RESULT in case of NOT FOUND",
  ]);
  t.ok((await TableList.open("test_maps", "", FOLD)).empty);
});

t.test("tables that cannot be opened fail each lookup (TAB-05)", async (t) => {
  for (const spec of [
    "hash:/nonexistent/x",
    "lmdb:/nonexistent/x",
    "cdb:/nonexistent/x",
    "texthash:/nonexistent/x",
    "cidr:/nonexistent/x",
    "nosuch:x",
    "nisplus:x",
    "mysql:/x",
    "socketmap:x",
    "unix:zz",
    "unionmap:{inline:{a=b},inline:{}}",
  ]) {
    lines.length = 0;
    const table = await openTable(spec, { flags: FOLD });
    t.equal(await get(table, "a"), "error", spec);
    t.match(lines[0], /^error: /);
    t.match(lines.at(-1), / is unavailable\. /);
    t.equal(table.fixed, spec.startsWith("unionmap"), spec);
    table.close();
  }
  t.match((await openTable("tcp:localhost:1", { flags: PARANOID })).name, "tcp:localhost:1");
  t.match(lines.join("\n"), /tcp:localhost:1 map is not allowed for security sensitive data/);
});

t.test("handles are shared by name and flags", async (t) => {
  const [a, b, c] = await Promise.all([
    openTable("inline:{s=1}", { flags: FOLD }),
    openTable("inline:{s=1}", { flags: FOLD }),
    openTable("inline:{s=1}", { flags: 0 }),
  ]);
  t.equal(a, b);
  t.not(a, c);
  a?.close();
  t.equal(await get(b as Table, "s"), "1");
});

for (const [type, suffix] of [
  ["hash", "db"],
  ["btree", "db"],
  ["lmdb", "lmdb"],
  ["cdb", "cdb"],
] as const)
  t.test(`${type}: build, query, change, notice`, async (t) => {
    const name = `${directory}/t-${type}`;
    const flags = FOLD | TableFlag.warn_dup;
    const builder = await openBuilder(type, name, "rebuild", flags);
    lines.length = 0;
    await builder.add("Key1", "one");
    await builder.add("key2", "two");
    await builder.add("KEY1", "three");
    await builder.add("bad\xff", "four");
    builder.addRaw("@", "@");
    await builder.finish();
    const label = type === "lmdb" ? `lmdb:${name}` : type === "cdb" ? name : `${name}.db`;
    t.same(lines, [
      `warning: ${label}: duplicate entry: "key1"`,
      `warning: ${type}:${name}: non-UTF-8 key "bad?": malformed UTF-8 or invalid codepoint`,
    ]);
    const table = await openTable(`${type}:${name}`, { flags: FOLD });
    t.equal(await get(table, "KEY1"), "one");
    t.equal(await get(table, "key2"), "two");
    t.equal(await get(table, "key3"), "absent");
    t.equal(await get(table, "@"), "@");
    t.equal((table.flags & TableFlag.try0null) !== 0, type === "cdb", "the form that worked is kept");
    const keys: string[] = [];
    for (let r = await table.sequence?.("first"); r?.kind === "found"; r = await table.sequence?.("next"))
      keys.push(r.key);
    t.same(keys.sort(), ["@", "key1", "key2"]);
    t.equal(changedTable(), undefined);

    const again = await openBuilder(type, name, "rebuild", flags);
    await again.add("new", "content");
    await again.finish();
    if (type === "lmdb") {
      t.equal(changedTable(), undefined);
      t.equal(await get(table, "new"), "content");
      t.equal(await get(table, "key1"), "absent");
    } else t.match(changedTable(), `${type}:${name}(0,fold_fix|utf8_request)`);
    table.close();
    t.equal(changedTable(), undefined);
    if (type === "cdb") return;

    const writable = await openTable(`${type}:${name}`, {
      access: "create",
      flags: FOLD | TableFlag.dup_replace,
    });
    t.match(await writable.update?.("A", "1"), { kind: "done" });
    t.match(await writable.update?.("a", "2"), { kind: "done" });
    t.equal(await get(writable, "a"), "2");
    t.match(await writable.remove?.("A"), { kind: "done" });
    t.match(await writable.remove?.("a"), { kind: "unchanged" });
    t.equal(await get(writable, "new"), "content");
    for (let i = 0; i < 300; i++) await writable.update?.(`k${i}`, "v".repeat(i * 20));
    for (let i = 0; i < 300; i += 7) t.equal(await get(writable, `k${i}`), "v".repeat(i * 20));
    writable.close();

    const more = await openBuilder(type, name, "update", flags);
    await more.add("late", "x");
    await more.finish();
    const last = await openTable(`${type}:${name}`, { flags: FOLD });
    t.equal(await get(last, "late"), "x");
    t.equal(await get(last, "k299"), "v".repeat(5980));
    last.close();
    t.equal(statSync(`${name}.${suffix}`).mode & 0o777, 0o644 & ~process.umask());
  });

t.test(
  "an index is never written through a link (TAB-01), nor readable while it is made (TAB-14)",
  async (t) => {
    for (const type of ["hash", "cdb"] as const) {
      const name = `${directory}/link-${type}`;
      const suffix = type === "hash" ? "db" : "cdb";
      writeFileSync(`${directory}/victim`, "precious");
      symlinkSync(`${directory}/victim`, `${name}.${suffix}`);
      const builder = await openBuilder(type, name, "rebuild", FOLD);
      await builder.add("a", "b");
      await builder.finish();
      t.equal(readFileSync(`${directory}/victim`, "utf8"), "precious");
      t.notOk(statSync(`${name}.${suffix}`).size === 8);
    }
  },
);

t.test("cidr: families, brackets, negation (TAB-09)", async (t) => {
  const path = `${directory}/cidr`;
  writeFileSync(
    path,
    "10.0.0.1/8 bad\n1.2.3 bad\n[::1] loop\nif 10.0.0.0/8\n!10.1.0.0/16 outside\nif 10.1.2.0/24\n10.1.2.3 host\nendif\nendif\n[2001:db8::/32] v6\n0.0.0.0/0 any\n",
  );
  old(path);
  const table = await openTable(`cidr:${path}`, { flags: 0 });
  t.equal(await get(table, "10.2.0.1"), "outside");
  t.equal(await get(table, "10.1.2.3"), "host");
  t.equal(await get(table, "10.1.2.4"), "any");
  t.equal(await get(table, "::1"), "loop");
  t.equal(await get(table, "0:0:0:0:0:0:0:1"), "loop");
  t.equal(await get(table, "2001:DB8:5::"), "v6");
  t.equal(await get(table, "::ffff:1.2.3.4"), "absent");
  t.equal(await get(table, "1.2.3.04"), "absent");
  t.equal(formatAddress(Buffer.from("20010db8000000000000000000000000", "hex")), "2001:db8::");
  t.equal(formatAddress(Buffer.from("00000000000000000000000000000000", "hex")), "::");
  t.equal(formatAddress(Buffer.from("20010db8000000010001000000000001", "hex")), "2001:db8:0:1:1::1");
  t.match(parseNetwork("[::1"), { problem: `missing ']' character after "[::1"` });
  t.match(parseNetwork("[::1]x"), { problem: 'garbage after "[::1]"' });
});

t.test("rule tables without rules find nothing (TAB-08)", async (t) => {
  for (const text of ["", "# nothing\n", "if 10.0.0.0/8\n".repeat(100), "endif\n"]) {
    writeFileSync(`${directory}/rules`, text);
    const table = await openTable(`cidr:${directory}/rules`, { flags: 0 });
    t.equal(await get(table, "11.0.0.1"), "absent");
    table.close();
  }
});

t.test("a table in memory that grows from outside makes room", async (t) => {
  const table = await openTable("internal:grows", { access: "create", flags: 0 });
  const value = "v".repeat(10_000);
  for (let index = 0; index < 3000; index++) await table.update?.(`key ${index}`, value);
  t.equal(await get(table, "key 0"), "absent", "the oldest go");
  t.equal(await get(table, "key 2999"), value);
  let kept = 0;
  for (let at: "first" | "next" = "first"; (await table.sequence?.(at))?.kind === "found"; at = "next")
    kept++;
  t.ok(kept > 1000 && kept < 1700, `${kept} of 10 kB are kept`);
  await table.update?.("key 2999", "short");
  await table.remove?.("key 2998");
  t.equal(await get(table, "key 2999"), "short");
  t.equal(await get(table, "key 2998"), "absent");
});
