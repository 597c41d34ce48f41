/** Which names the configuration refers to: what makes a user's own parameter a used one, and what is referred to but not there. */

import { expandMacros } from "../../lib/config/expand.ts";
import { logicalLines } from "../../lib/config/lines.ts";
import { LIST_SEPARATORS, splitList } from "../../lib/config/lists.ts";
import { type MacroNode, parseMacros } from "../../lib/config/macro.ts";
import { splitNameValue } from "../../lib/config/main_cf.ts";
import { isParameterName, parameterNames, parameterRow } from "../../lib/config/parameter_rows.ts";
import { tableSettings } from "../../lib/config/table_parameters.ts";
import { warning } from "../../lib/log/log.ts";
import { fromBytes, pathOf } from "../../lib/sys/bytes.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { existsSync, readFileSync } from "../../lib/sys/fs.ts";
import { settingsOf } from "./master_file.ts";
import { isLegacy, isRaw, type Sources } from "./sources.ts";

/** Names that programs set for themselves. */
const SET_BY_PROGRAMS: ReadonlySet<string> = new Set(["stress"]);

export interface References {
  /** Whether it stands as `$name` anywhere, restriction classes included. */
  readonly isNamed: (name: string) => boolean;
  /** Prefixes of old-style tables, with the type of each. */
  readonly tables: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Scans all values; warns about syntax errors, comments in the wrong place and undefined names. */
export function findReferences(sources: Sources, defaultsOnly: boolean): References {
  const used = new Set<string>();
  const undefinedNames = { main: new Set<string>(), master: new Set<string>() };
  const tables = new Map<string, Set<string>>();
  const setAnywhere = new Set([
    ...sources.settings.keys(),
    ...sources.master.flatMap((entry) => [...settingsOf(entry).keys()]),
  ]);
  const isKnown = (name: string): boolean =>
    sources.classOf(name) !== undefined || setAnywhere.has(name) || SET_BY_PROGRAMS.has(name);

  const scanSettings = (settings: ReadonlyMap<string, string>, path: string, missing: Set<string>): void => {
    for (const [name, value] of [...settings].sort(byName)) {
      if (!isRaw(name))
        scanText(value, (found) => {
          used.add(found);
          if (!isKnown(found)) missing.add(found);
        });
      if (name === "smtpd_restriction_classes")
        for (const restriction of splitList(expandQuietly(value, sources))) {
          used.add(restriction);
          if (!isKnown(restriction)) missing.add(restriction);
        }
      if (sources.classOf(name) === undefined) continue;
      warnAboutComment(value, path);
      // a value that no program could use ends this one, too
      findTables(sources.expand(value), tables);
    }
  };
  scanSettings(sources.settings, sources.mainPath, undefinedNames.main);
  for (const entry of sources.master)
    scanSettings(settingsOf(entry), sources.masterPath, undefinedNames.master);
  let inDefaults: ReadonlySet<string> | undefined;
  const isNamed = (name: string): boolean => {
    if (used.has(name)) return true;
    inDefaults ??= namesInDefaults(sources);
    return inDefaults.has(name);
  };
  if (defaultsOnly) return { isNamed, tables };
  checkTableFiles(tables);
  for (const name of [...undefinedNames.main].sort())
    warning(`${sources.mainPath}: undefined parameter: ${name}`);
  for (const name of [...undefinedNames.master].sort())
    warning(`${sources.masterPath}: undefined parameter: ${name}`);
  return { isNamed, tables };
}

function namesInDefaults(sources: Sources): ReadonlySet<string> {
  const names = new Set<string>();
  for (const name of parameterNames())
    if (!sources.settings.has(name) && !isRaw(name))
      scanText(parameterRow(name)[1], (found) => names.add(found));
  return names;
}

export const byName = ([a]: readonly [string, string], [b]: readonly [string, string]): number =>
  a < b ? -1 : a > b ? 1 : 0;

function scanText(text: string, visit: (name: string) => void): void {
  if (!text.includes("$")) return;
  const { nodes, problem } = parseMacros(text);
  for (const node of nodes) scanNode(node, visit);
  if (problem !== undefined) warning(problem);
}

function scanNode(node: MacroNode, visit: (name: string) => void): void {
  switch (node.kind) {
    case "literal":
      return;
    case "name":
      visit(node.name);
      return;
    case "function":
      scanText(node.argument, visit);
      return;
    case "relation":
      scanText(node.relation.left, visit);
      scanText(node.relation.right, visit);
      return;
    case "conditional":
      if (typeof node.test === "string") visit(node.test);
      else {
        scanText(node.test.left, visit);
        scanText(node.test.right, visit);
      }
      for (const branch of [node.whenTrue, node.whenFalse]) if (branch !== undefined) scanText(branch, visit);
  }
}

/** The expanded text, or the text itself when it cannot be expanded (which has been said already). */
function expandQuietly(text: string, sources: Sources): string {
  const expansion = expandMacros(text, { recursive: true, lookup: (name) => sources.valueOf(name) });
  return expansion.ok ? expansion.value : text;
}

const OLD_STYLE_TABLE =
  /(?:^|[ \t\n\v\f\r,{:])(ldap|mysql|pgsql|sqlite|memcache|mongodb):([^ \t\n\v\f\r,{}]+)/g;

function findTables(value: string, tables: Map<string, Set<string>>): void {
  if (!value.includes(":")) return;
  for (const [, type = "", name = ""] of value.matchAll(OLD_STYLE_TABLE)) {
    const types = tables.get(name) ?? new Set();
    tables.set(name, types.add(type));
  }
}

/** Whether a name that is no parameter of ours is used after all. */
export function isUsed(name: string, references: References): boolean {
  if (references.isNamed(name) || SET_BY_PROGRAMS.has(name)) return true;
  for (const [table, types] of references.tables) {
    if (!name.startsWith(`${table}_`)) continue;
    for (const type of types)
      if (tableSettings(type)?.has(name.slice(table.length + 1)) === true) return true;
  }
  return false;
}

/** Names of users' own parameters in main.cf that are used. */
export const userParameters = (sources: Sources, references: References): string[] =>
  [...sources.settings.keys()].filter(
    (name) => sources.classOf(name) === undefined && isUsed(name, references),
  );

/** A name that can be shown when it is asked for. */
export const isShown = (name: string, sources: Sources, references: References): boolean =>
  (sources.classOf(name) !== undefined && !(isLegacy(name) && !sources.settings.has(name))) ||
  (sources.settings.has(name) && isUsed(name, references)) ||
  (isLegacy(name) && isParameterName(name));

/** Looks into the files of tables that are configured by a file. */
function checkTableFiles(tables: References["tables"]): void {
  for (const [path, types] of tables) {
    if (!path.startsWith("/")) continue;
    for (const type of types) checkTableFile(type, path);
  }
}

function checkTableFile(type: string, path: string): void {
  const known = tableSettings(type);
  if (known === undefined) return;
  let text: string;
  try {
    text = fromBytes(readFileSync(pathOf(path)));
  } catch (error) {
    if (errorCode(error) !== "EACCES" || existsSync(path))
      warning(`open "${type}" configuration "${path}": ${errorText(error)}`);
    return;
  }
  for (const line of logicalLines(text, path).lines) {
    const pair = splitNameValue(line.text);
    if (pair.ok && !known.has(pair.name))
      warning(`${type}:${path}: unused parameter: ${pair.name}=${pair.value}`);
  }
}

/** A list element that starts with `#` was meant as a comment. */
function warnAboutComment(value: string, path: string): void {
  if (!value.includes("#")) return;
  for (let at = value.indexOf("#"); at >= 0; at = value.indexOf("#", at + 1)) {
    if (at > 0 && !LIST_SEPARATORS.includes(value.charAt(at - 1))) continue;
    let end = at;
    while (end < value.length && !LIST_SEPARATORS.includes(value.charAt(end))) end++;
    warning(
      `${path}: #comment after other text is not allowed: ${value.slice(at, end)} ${value.slice(end + 1, end + 21)}...`,
    );
    return;
  }
}
