/** The rows of main.cf's parameters at run time: one text that is searched, since building the object takes a tenth of a program's start. */
import { PARAMETERS, type ParameterKind, type ParameterName, type ParameterRow } from "./parameters.ts";

/** What programs need of a row: all but its purpose. */
type RunningRow = ParameterRow extends readonly [...infer Needed, string] ? Readonly<Needed> : never;

/** A line for each row, sorted by name. */
export const parameterRows = (): string =>
  Object.entries(PARAMETERS)
    .map(([name, row]) => `${[name, ...row.slice(0, 6)].join("\t")}\n`)
    .sort()
    .join("");

/** parameterRows(), put in by the build. */
declare const PARAMETER_ROWS: string | undefined;
let lines: ReadonlyArray<string> | undefined;
const rowLines = (): ReadonlyArray<string> => {
  lines ??= (typeof PARAMETER_ROWS === "string" ? PARAMETER_ROWS : parameterRows()).split("\n");
  return lines;
};

const rows = new Map<string, RunningRow>();
function findRow(name: string): RunningRow | undefined {
  const known = rows.get(name);
  if (known !== undefined) return known;
  const all = rowLines();
  const start = `${name}\t`;
  let [low, high] = [0, all.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((all[middle] ?? "") < start) low = middle + 1;
    else high = middle;
  }
  const line = all[low] ?? "";
  if (!line.startsWith(start)) return undefined;
  const [own = "", kind, defaultText = "", min, max, unit = "", readers = ""] = line.split("\t");
  if (own !== name) return undefined;
  const row: RunningRow = [kind as ParameterKind, defaultText, Number(min), Number(max), unit, readers];
  rows.set(name, row);
  return row;
}

export const isParameterName = (name: string): name is ParameterName => findRow(name) !== undefined;

/** The row of a parameter, without the literal types. */
export function parameterRow(name: ParameterName): RunningRow {
  const row = findRow(name);
  if (row === undefined) throw new Error(`no parameter: ${name}`);
  return row;
}

/** All of them, sorted. */
export const parameterNames = (): ParameterName[] =>
  rowLines()
    .slice(0, -1)
    .map((line) => line.slice(0, line.indexOf("\t")) as ParameterName);
