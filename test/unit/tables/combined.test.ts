import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import t from "tap";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { openBuilder } from "../../../lib/tables/build.ts";
import { openTable } from "../../../lib/tables/open.ts";
import { allowSurrogates } from "../../../lib/tables/policy.ts";
import { type Table, TableFlag } from "../../../lib/tables/table.ts";

const directory = mkdtempSync(`${tmpdir()}/tables-`);
t.teardown(() => rmSync(directory, { recursive: true }));
installConfiguration(configurationFromText("compatibility_level = 3.11\n"));
const lines: string[] = [];
setLogSinks([(event) => lines.push(`${event.level}: ${event.text}`)]);
allowSurrogates(true);

const FOLD = TableFlag.fold_fix | TableFlag.utf8_request;
const get = async (table: Table, key: string): Promise<string> => {
  const result = await table.lookup(key);
  return result.kind === "found" ? result.value : result.kind;
};

const descriptors = (): number => readdirSync("/proc/self/fd").length;

t.test("combined and shared tables (TAB-11)", async (t) => {
  for (const spec of [
    "unionmap:{static:a, bad",
    "unionmap:{static:a, bad}",
    "pipemap:{}",
    "pipemap:{static:a}x",
    "unionmap:",
    "randmap:{",
  ]) {
    lines.length = 0;
    const table = await openTable(spec, { flags: FOLD });
    t.equal(await get(table, "a"), "error", spec);
    t.match(lines.join("\n"), /^error: [^\n]+\nwarning: .* is unavailable\. /, spec);
    table.close();
  }
  let nested = "inline:{a=b}";
  for (let depth = 0; depth < 50; depth++) nested = `unionmap:{${nested}}`;
  const deep = await openTable(nested, { flags: FOLD });
  t.equal(await get(deep, "A"), "b");
  deep.close();

  const path = `${directory}/shared`;
  const builder = await openBuilder("hash", path, "rebuild", FOLD);
  await builder.add("a", "b");
  await builder.finish();
  const use = async (): Promise<void> => {
    const tables = await Promise.all(
      Array.from({ length: 30 }, () =>
        openTable(`unionmap:{hash:${path}, pipemap:{hash:${path}, static:c}, hash:${path}}`, { flags: FOLD }),
      ),
    );
    for (const table of tables) t.equal(await get(table, "a"), "b,c,b");
    for (const table of tables) table.close();
  };
  await use();
  const before = descriptors();
  for (let round = 0; round < 20; round++) await use();
  t.equal(descriptors(), before, "no descriptor is left behind");
  const [one, two] = [
    await openTable(`hash:${path}`, { flags: FOLD }),
    await openTable(`hash:${path}`, { flags: FOLD }),
  ];
  t.equal(descriptors(), before + 1, "one file for all users of a table");
  one.close();
  two.close();
});
