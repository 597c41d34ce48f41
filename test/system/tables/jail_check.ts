/** Run by Bun, as root: opens a table of each type, goes into an empty jail as nobody, and looks up there (JS-28). Prints one JSON line. */
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { chroot, setUid } from "../../../lib/sys/identity.ts";
import { openBuilder } from "../../../lib/tables/build.ts";
import { MatchList } from "../../../lib/tables/match.ts";
import { openTable } from "../../../lib/tables/open.ts";
import { TableFlag } from "../../../lib/tables/table.ts";

const directory = process.argv[2] ?? "";
const FLAGS = TableFlag.lock | TableFlag.fold_fix | TableFlag.utf8_request;
const NOBODY = 65534;

installConfiguration(configurationFromText("compatibility_level = 3.11\n"));
for (const type of ["lmdb", "hash", "btree", "cdb"]) {
  const builder = await openBuilder(type, `${directory}/${type}`, "rebuild", FLAGS);
  await builder.add("user@example.com", type);
  await builder.finish();
}
const { Database } = await import("bun:sqlite");
const database = new Database(`${directory}/sql.db`);
database.run("create table m(k text, v text)");
database.run("insert into m values('user@example.com', 'sqlite')");
database.close();
const files: ReadonlyArray<readonly [string, string]> = [
  ["sql.cf", `dbpath = ${directory}/sql.db\nquery = select v from m where k = '%s'\n`],
  ["regexp", "/^(u)ser@/ regexp $1\n"],
  ["pcre", "/^(?<x>u)ser@/ pcre $1\n"],
  ["texthash", "user@example.com texthash\n"],
];
for (const [name, text] of files) {
  writeFileSync(`${directory}/${name}`, text);
  utimesSync(`${directory}/${name}`, 1e9, 1e9);
}

const specs = [
  ...["lmdb", "hash", "btree", "cdb", "regexp", "pcre", "texthash"].map(
    (type) => `${type}:${directory}/${type}`,
  ),
  `sqlite:${directory}/sql.cf`,
  "unionmap:{static:a,inline:{user@example.com=b}}",
];
const tables = [];
for (const spec of specs) tables.push(await openTable(spec, { flags: FLAGS }));
const list = await MatchList.open("mynetworks", `127.0.0.0/8 hash:${directory}/hash`, "namadr");
const cache = await openTable(`lmdb:${directory}/cache`, { access: "create", flags: FLAGS });

mkdirSync(`${directory}/jail`);
chroot(`${directory}/jail`);
process.chdir("/");
setUid(NOBODY);

const results: string[] = [];
for (const table of tables) {
  const result = await table.lookup("USER@example.com");
  results.push(result.kind === "found" ? result.value : result.kind);
}
results.push(
  (await list.matches("user@example.com", "192.0.2.1")).kind,
  (await list.matches("other", "192.0.2.1")).kind,
);
for (let i = 0; i < 100; i++) await cache.update?.(`key${i}`, `value${i}`);
const cached = await cache.lookup("key99");
results.push(cached.kind === "found" ? cached.value : cached.kind);
console.log(JSON.stringify(results));
