/** The table that is printed: numbers to the right, names before them, cut on the left. */
import type { Row } from "./counts.ts";

const LEAST_COLUMN = 3;
const LEAST_NAME = 18;

export function table(
  titles: ReadonlyArray<string>,
  total: Row,
  rows: ReadonlyArray<Row>,
  width: number,
): string {
  const heading = ["T", ...titles];
  const numbers = (row: Row): string[] => [row.total, ...row.buckets].map(String);
  const widths = numbers(total).map((number, index) =>
    Math.max(LEAST_COLUMN, 1 + Math.max(number.length, heading[index]?.length ?? 0)),
  );
  const nameWidth = Math.max(LEAST_NAME, width - widths.reduce((sum, columns) => sum + columns, 0));
  const line = (name: string, cells: ReadonlyArray<string>): string =>
    `${cut(name, nameWidth).padStart(nameWidth)}${cells.map((cell, index) => cell.padStart(widths[index] ?? 0)).join("")}\n`;
  return [line("", heading), ...[total, ...rows].map((row) => line(row.name, numbers(row)))].join("");
}

function cut(name: string, width: number): string {
  if (name.length <= width) return name;
  const mark = name.startsWith(".") ? ".+" : "+";
  return mark + name.slice(mark.length - width);
}
