/** The modes that print: main.cf parameters, and the entries, fields and settings of master.cf. */

import { splitNameValue } from "../../lib/config/main_cf.ts";
import { isParameterName } from "../../lib/config/parameter_rows.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { baseName } from "../../lib/sys/paths.ts";
import { entryText, entryWords, fieldLine, jsonLine, parameterLine, type Style } from "./format.ts";
import {
  type Argument,
  entryKey,
  FIELD_NAMES,
  type FieldName,
  fieldOf,
  type MasterEntry,
  settingsOf,
} from "./master_file.ts";
import type { Request } from "./options.ts";
import { isShown, type References, userParameters } from "./references.ts";
import { isRaw, type Sources } from "./sources.ts";

export const styleOf = ({ options }: Request): Style => ({
  fold: options.has("-f"),
  hideName: options.has("-h"),
  hideValue: options.has("-H"),
  json: options.has("-j"),
});

/** Parameters of main.cf. */
export function showParameters(request: Request, sources: Sources, references: References): string {
  const style = styleOf(request);
  const expand = request.options.has("-x");
  const onlySet = request.options.has("-n");
  const names = request.names.length > 0 ? request.names : listedNames(request, sources, references);
  let out = "";
  for (const name of names) {
    if (!isShown(name, sources, references)) {
      warning(`${name}: unknown parameter`);
      continue;
    }
    if (onlySet && !sources.settings.has(name)) continue;
    const raw = sources.valueOf(name) ?? "";
    out += parameterLine(name, expand && !isRaw(name) ? sources.expand(raw) : raw, style);
  }
  return out;
}

function listedNames({ classes }: Request, sources: Sources, references: References): string[] {
  const names = new Set<string>();
  if (classes.has("builtin")) for (const name of sources.listed("builtin")) names.add(name);
  if (classes.has("service")) for (const name of sources.listed("service")) names.add(name);
  if (classes.has("user"))
    for (const name of [...userParameters(sources, references), ...sources.legacySet]) names.add(name);
  return [...names].sort();
}

/** A request such as `smtp/inet/syslog_name`, its missing parts `*`. */
interface Pattern {
  readonly text: string;
  readonly parts: ReadonlyArray<string>;
  matched: boolean;
}

function readPatterns(names: ReadonlyArray<string>, length: number, complaint: string): Pattern[] {
  const texts = names.length > 0 ? names : ["*"];
  return texts.map((text) => {
    const parts = text.split("/");
    const bad =
      parts.length > length || parts.some((part) => part === "" || (part.includes("*") && part !== "*"));
    if (bad) fatal(complaint);
    return {
      text,
      parts: Array.from({ length }, (_, index) => parts[index] ?? "*"),
      matched: names.length === 0,
    };
  });
}

export const matchesPart = (pattern: string | undefined, value: string): boolean =>
  pattern === "*" || pattern === value;

const matchesEntry = ({ parts }: Pattern, entry: MasterEntry): boolean =>
  matchesPart(parts[0], fieldOf(entry, "service")) && matchesPart(parts[1], fieldOf(entry, "type"));

/** Prints by file order, for one entry by request order; then the requests that matched nothing. */
function showMatches(
  patterns: ReadonlyArray<Pattern>,
  sources: Sources,
  show: (entry: MasterEntry, pattern: Pattern) => string | undefined,
): { out: string; unmatched: () => void } {
  let out = "";
  for (const entry of sources.master)
    for (const pattern of patterns) {
      if (!matchesEntry(pattern, entry)) continue;
      const text = show(entry, pattern);
      if (text === undefined) continue;
      pattern.matched = true;
      out += text;
    }
  const unmatched = (): void => {
    for (const { matched, text } of patterns) if (!matched) warning(`unmatched request: "${text}"`);
  };
  return { out, unmatched };
}

export interface Shown {
  readonly out: string;
  /** Warns about requests without a match. */
  readonly unmatched: () => void;
}

/** The entry with its settings expanded. */
function expanded(entry: MasterEntry, sources: Sources): MasterEntry {
  const args = entry.args.map((argument): Argument => {
    const pair = argument.kind === "setting" ? splitNameValue(argument.text) : undefined;
    if (pair?.ok !== true) return argument;
    return { kind: "setting", text: `${pair.name}=${sources.expand(pair.value, entry)}` };
  });
  return { fields: entry.fields, args };
}

/** -M */
export function showEntries(request: Request, sources: Sources): Shown {
  const patterns = readPatterns(request.names, 2, "-M option requires service_name[/type]");
  return showMatches(patterns, sources, (entry) => {
    const shown = request.options.has("-x") ? expanded(entry, sources) : entry;
    if (request.options.has("-j")) return jsonLine(entryKey(entry), entryWords(shown));
    return `${entryText(shown, request.options.has("-f"))}\n`;
  });
}

/** -F */
export function showFields(request: Request, sources: Sources): Shown {
  const patterns = readPatterns(request.names, 3, "-F option requires service_name[/type[/field]]");
  const fields = new Map(patterns.map((pattern) => [pattern, fieldsOf(pattern.parts[2] ?? "*")]));
  const style = styleOf(request);
  return showMatches(patterns, sources, (entry, pattern) => {
    const shown = request.options.has("-x") ? expanded(entry, sources) : entry;
    return (fields.get(pattern) ?? []).map((field) => fieldLine(shown, field, style)).join("");
  });
}

function fieldsOf(part: string): ReadonlyArray<FieldName> {
  if (part === "*") return FIELD_NAMES;
  return [readFieldName(part)];
}

export function readFieldName(text: string): FieldName {
  return FIELD_NAMES.find((name) => name === text) ?? fatal(`invalid service attribute name: "${text}"`);
}

/** -P and -PP */
export function showSettings(request: Request, sources: Sources, references: References): Shown {
  const patterns = readPatterns(request.names, 3, "-P option requires service_name[/type[/parameter]]");
  const all = request.options.has("-PP");
  const general = all ? listedNames(request, sources, references) : [];
  const style = styleOf(request);
  return showMatches(patterns, sources, (entry, { parts }) => {
    const own = settingsOf(entry);
    const wanted = parts[2] ?? "*";
    const effective = (name: string): string | undefined =>
      own.get(name) ??
      (all && isShown(name, sources, references) ? generalValue(name, entry, sources) : undefined);
    const names = wanted === "*" ? [...new Set([...own.keys(), ...general])].sort() : [wanted];
    let out: string | undefined;
    for (const name of names) {
      const value = effective(name);
      if (value === undefined) continue;
      const text = request.options.has("-x") && !isRaw(name) ? sources.expand(value, entry) : value;
      out = (out ?? "") + parameterLine(`${entryKey(entry)}/${name}`, text, style);
    }
    return out;
  });
}

function generalValue(name: string, entry: MasterEntry, sources: Sources): string | undefined {
  if (name === "service_name") return fieldOf(entry, "service");
  if (name === "process_name" && isParameterName(name)) return baseName(fieldOf(entry, "command"));
  return sources.valueOf(name);
}
