/** Makes the manual pages: `bun run packaging/man.ts [--out=DIR]` writes DIR/man1/postmap.1 and so on, and shell completion beside it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { PARAMETERS, type ParameterName, type ParameterRow } from "../lib/config/parameters.ts";
import type { CommandHelp, OptionHelp } from "../lib/daemon/help.ts";
import { SERVICE_OPTIONS } from "../lib/daemon/service_options.ts";
import { bashCompletion, zshCompletion } from "./completion.ts";
import { type Declared, type Entry, type Page, renderPage } from "./man_roff.ts";
import { PROGRAMS } from "./programs.ts";

const ROOT = resolve(import.meta.dirname, "..");
const SOURCES = join(ROOT, "packaging", "man");

/** The declarations of all commands, by name. */
export async function commandHelps(): Promise<Map<string, CommandHelp>> {
  const helps = new Map<string, CommandHelp>();
  for (const { name } of PROGRAMS) {
    const path = join(ROOT, "cmd", name, "help.ts");
    if (!existsSync(path)) continue;
    const { HELP } = (await import(path)) as { HELP: CommandHelp };
    helps.set(name, HELP);
  }
  return helps;
}

/** `-c` bold, its argument in italics. */
function optionEntry([option, help]: OptionHelp): Entry {
  const [word = "", argument] = option.split(/[ |]/, 2);
  const sign = option.includes(" ") ? " " : "";
  return {
    term: argument === undefined ? `\`${word}\`` : `\`${word}\`${sign}*${argument}*`,
    text: [sentence(help)],
  };
}

/** Names of parameters and pages begin with a small letter everywhere. */
const sentence = (text: string): string =>
  /^[a-z0-9-]*[_(]/.test(text) ? `${text}.` : `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

const ROWS: ReadonlyArray<readonly [ParameterName, ParameterRow]> = (
  Object.entries(PARAMETERS) as Array<[ParameterName, ParameterRow]>
).sort(([a], [b]) => (a < b ? -1 : 1));

const UNITS: Readonly<Record<string, string>> = {
  s: "seconds",
  m: "minutes",
  h: "hours",
  d: "days",
  w: "weeks",
};

function shownDefault(text: string): string {
  if (text === "") return "empty";
  return text === "(computed)" ? "computed" : `\`${text}\``;
}

const readersOf = (row: ParameterRow): string[] => row[5].split(",").filter((reader) => reader !== "");

function kindText([kind, , min, max, unit]: ParameterRow): string {
  const limits = (unitName: string): string => {
    const named = (value: number): string =>
      `${value}${unitName}${unitName !== "" && value !== 1 ? "s" : ""}`;
    if (min > 0 && max > 0) return `, from ${min} to ${named(max)}`;
    if (min > 0) return `, at least ${named(min)}`;
    return max > 0 ? `, at most ${named(max)}` : "";
  };
  switch (kind) {
    case "bool":
    case "nbool":
      return "Yes or no.";
    case "time":
      return `A time; without a unit (s, m, h, d, w), in ${UNITS[unit] ?? "seconds"}${limits(" second")}.`;
    case "int":
    case "nint":
    case "long":
      return `A number${limits("")}.`;
    case "raw":
      return "Text; $name is not replaced when the parameter is read.";
    default:
      return min > 0 ? "Text, not empty." : "Text.";
  }
}

const parameterEntry = ([name, row]: readonly [string, ParameterRow]): Entry => ({
  term: `\`${name}\` (default: ${shownDefault(row[1])})`,
  text: [sentence(row[6])],
});

function fullEntry([name, row]: readonly [string, ParameterRow]): Entry {
  const readers = readersOf(row);
  const who =
    readers.length === 0
      ? "An old name: only the default of another parameter reads it."
      : `Read by: ${readers.join(", ")}.`;
  return {
    term: `\`${name}\` (default: ${shownDefault(row[1])})`,
    text: [sentence(row[6]), `${kindText(row)} ${who}`],
  };
}

function declarations(help: CommandHelp | undefined): Declared {
  return {
    synopsis: help?.usage,
    summary: help?.summary,
    options: (help?.options ?? []).map(optionEntry),
    serviceOptions: SERVICE_OPTIONS.map(optionEntry),
    parameters: (program) => {
      const own = ROWS.filter(([, row]) => readersOf(row).includes(program)).map(parameterEntry);
      const rest = 'Parameters that all programs share are in postconf(5), marked "Read by: all".';
      return [...own, { term: own.length === 0 ? "Common parameters" : "Other parameters", text: [rest] }];
    },
    allParameters: () => ROWS.map(fullEntry),
  };
}

/** A page of section 1 or 8 is about a program: one that is not part of this build has none. */
const describesSomething = (file: string): boolean =>
  file.endsWith(".5.page") || PROGRAMS.some(({ name }) => new RegExp(`^${name}\\.[18]\\.page$`).test(file));

/** All pages, from their sources and the declarations. */
export async function manPages(): Promise<Page[]> {
  const helps = await commandHelps();
  const release = PARAMETERS.posthaste_version[1];
  return readdirSync(SOURCES)
    .filter((file) => file.endsWith(".page") && describesSomething(file))
    .sort()
    .map((file) => {
      const section = Number(file.split(".").at(-2));
      const page = renderPage(readFileSync(join(SOURCES, file), "utf8"), release, (name) => {
        const help = helps.get(name);
        return declarations(help?.section === section ? help : undefined);
      });
      if (file !== `${page.name}.${page.section}.page`) throw new Error(`${file} describes ${page.name}`);
      return page;
    });
}

/** Writes files into a directory, and removes all others. Several builds may do it at a time. */
function fillDirectory(directory: string, files: ReadonlyMap<string, string>): void {
  mkdirSync(directory, { recursive: true });
  for (const [name, text] of files) writeFileSync(join(directory, name), text);
  for (const name of readdirSync(directory))
    if (!files.has(name)) rmSync(join(directory, name), { force: true });
}

/** Writes pages below `out`/man and completion below `out`/completion; what was there before goes. */
export async function buildDocumentation(out: string): Promise<number> {
  const pages = await manPages();
  for (const section of [1, 5, 8]) {
    const files = new Map<string, string>();
    for (const page of pages) {
      if (page.section === section) files.set(`${page.name}.${section}`, page.roff);
      for (const alias of page.aliases)
        if (alias.section === section)
          files.set(`${alias.name}.${section}`, `.so man${page.section}/${page.name}.${page.section}\n`);
    }
    fillDirectory(join(out, "man", `man${section}`), files);
  }
  const commands = [...(await commandHelps()).values()].filter(({ section }) => section === 1);
  const completion = join(out, "completion");
  fillDirectory(join(completion, "bash"), new Map(commands.map((help) => [help.name, bashCompletion(help)])));
  fillDirectory(
    join(completion, "zsh"),
    new Map(commands.map((help) => [`_${help.name}`, zshCompletion(help)])),
  );
  return pages.length;
}

if (import.meta.main) {
  const argument = process.argv[2] ?? `--out=${join(ROOT, "dist")}`;
  if (!argument.startsWith("--out=") || process.argv.length > 3) {
    console.error(`man: unknown argument ${argument}`);
    process.exit(64);
  }
  const out = resolve(argument.slice(6));
  console.log(`man: ${await buildDocumentation(out)} pages in ${join(out, "man")}`);
}
