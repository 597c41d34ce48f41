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
