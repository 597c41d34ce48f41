/** docs/compatibility.md: every program has its section, every option its row, and the tests that rows name exist. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { shownOption } from "../../../lib/daemon/help.ts";
import { SERVICE_OPTIONS } from "../../../lib/daemon/service_options.ts";
import { commandHelps } from "../../../packaging/man.ts";
import { PROGRAMS } from "../../../packaging/programs.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));

interface Row {
  readonly feature: string;
  readonly difference: string;
  readonly coverage: string;
}

/** The rows of each `## section`. */
const sections = new Map<string, Row[]>();
let rows: Row[] = [];
for (const line of readFileSync(join(root, "docs/compatibility.md"), "utf8").split("\n")) {
  const heading = /^## (.*)$/.exec(line)?.[1];
  if (heading !== undefined) {
    rows = [];
    if (sections.has(heading)) throw new Error(`two sections ${heading}`);
    sections.set(heading, rows);
  }
  if (!line.startsWith("|") || /^\|[ -]+\|/.test(line) || line.startsWith("| feature")) continue;
  // a bar within a cell is written \|
  const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
  const [before, feature = "", difference = "", coverage = "", after] = cells;
  if (before !== "" || after !== "" || cells.length !== 5) throw new Error(`not three cells: ${line}`);
  rows.push({ feature, difference, coverage });
}

const texts = new Map<string, string>();
function textOf(file: string): string | undefined {
  const path = join(root, file);
  if (!texts.has(file) && existsSync(path)) texts.set(file, readFileSync(path, "utf8"));
  return texts.get(file);
}

/** A test's name in its file: a whole string literal, or a scenario of a script. */
const names = (text: string, name: string): boolean =>
  text.includes(`=== ${name}\n`) ||
  ['"', "'", "`"].some((quote) => text.includes(`${quote}${name}${quote}`)) ||
  text.includes(JSON.stringify(name));

t.test("every row says whether it is the same, and names tests that exist", async (t) => {
  for (const [section, entries] of sections)
    for (const { feature, difference, coverage } of entries) {
      const row = `${section}: ${feature}`;
      if (feature === "") t.fail(`${section}: a row without feature`);
      if (!/^(same|different|ours)\b/.test(difference)) t.fail(`${row}: ${difference}`);
      const covered = [...coverage.matchAll(/`(test\/[\w./-]+)` > "(.*?)"(?=$|[;,] )/g)];
      if (covered.length === 0) t.fail(`${row} names no test`);
      for (const [, file = "", name = ""] of covered) {
        const text = textOf(file);
        if (text === undefined) t.fail(`${row}: there is no ${file}`);
        else if (!names(text, name)) t.fail(`${row}: no test "${name}" in ${file}`);
      }
    }
});

/** Programs whose rows are still to be written. */
const UNVERIFIED: ReadonlySet<string> = new Set(["pickup"]);

t.test("every program has its section, and rows in it", async (t) => {
  for (const { name } of PROGRAMS) {
    const entries = sections.get(name);
    t.ok(entries !== undefined, name);
    if (!UNVERIFIED.has(name)) t.ok((entries ?? []).length > 0, `${name} has rows`);
  }
});

/** Options that no backquoted word of a row's first cell begins with. */
const without = (entries: ReadonlyArray<Row>, options: ReadonlyArray<string>): string[] => {
  const typed = entries.flatMap(({ feature }) => [...feature.matchAll(/`([^`]*)`/g)].map(([, word]) => word));
  return options.filter((option) => !typed.some((word) => word === option || word?.startsWith(`${option} `)));
};

t.test("every option has its row", async (t) => {
  const helps = await commandHelps();
  const declared: [string, ReadonlyArray<string>][] = [...helps].map(([name, help]) => [
    name,
    [...help.options.map(([option]) => option), ...(help.commands ?? []).map(([command]) => command)],
  ]);
  declared.push(["every daemon", SERVICE_OPTIONS.map(([option]) => option)]);
  for (const [name, options] of declared) {
    const missing = without(
      sections.get(name) ?? [],
      options.map((option) => shownOption(option)),
    );
    t.same(missing, [], name);
  }
});
