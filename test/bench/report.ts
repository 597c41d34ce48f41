/** What a benchmark found: ours beside Postfix, one line a figure. */

export interface Row {
  readonly name: string;
  readonly ours: number | undefined;
  readonly postfix: number | undefined;
  readonly digits: number;
  /** Bounds of ours/postfix that we want to keep. */
  readonly least?: number;
  readonly most?: number;
}

const shown = (value: number | undefined, digits: number): string =>
  value === undefined || Number.isNaN(value) ? "-" : value.toFixed(digits);

function wanted({ least, most }: Row): string {
  if (least !== undefined) return `>= ${least}`;
  return most === undefined ? "" : `<= ${most.toFixed(2)}`;
}

/** One line of the table. */
export function tableLine(row: Row): string {
  const { name, ours, postfix, digits } = row;
  const ratio = ours === undefined || postfix === undefined ? undefined : ours / postfix;
  return `| ${name} | ${shown(ours, digits)} | ${shown(postfix, digits)} | ${shown(ratio, 2)} | ${wanted(row)} |`;
}

export const TABLE_HEAD = "| | ours | Postfix | ratio | wanted |\n|---|---:|---:|---:|---:|";

export const median = (values: ReadonlyArray<number>): number => quantile(values, 0.5);

export function quantile(values: ReadonlyArray<number>, share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Of the straight line with the least squares through the points. */
export function slope(points: ReadonlyArray<readonly [number, number]>): number {
  const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [x, y] = [mean(points.map(([a]) => a)), mean(points.map(([, b]) => b))];
  const sum = (of: (a: number, b: number) => number): number =>
    points.reduce((total, [a, b]) => total + of(a - x, b - y), 0);
  return sum((a, b) => a * b) / sum((a) => a * a);
}

/** Says on the side what a long measurement is doing. */
export const progress = (text: string): void =>
  console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);
