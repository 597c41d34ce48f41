/** Axes: from numbers to places, and which numbers to write beside them. */

export interface Scale {
  readonly at: (value: number) => number;
  readonly ticks: ReadonlyArray<number>;
}

const POWER = /e([+-]\d+)$/;

/** The number's power of ten. */
const power = (value: number): number => 10 ** Number(POWER.exec(value.toExponential())?.[1]);

/** A round step (1, 2 or 5 times a power of ten) that divides the span into at most `most` parts. */
export function roundStep(span: number, most: number): number {
  const rough = span / most;
  const unit = power(rough);
  return ([1, 2, 5, 10].find((factor) => factor * unit >= rough * (1 - 1e-9)) ?? 10) * unit;
}

/** From zero, or a round number below all values, to a round number above them. */
export function linearScale(values: ReadonlyArray<number>, from: number, to: number): Scale {
  const [least, most] = [Math.min(0, ...values), Math.max(0, ...values)];
  const step = roundStep(most - least || 1, 5);
  const low = Math.floor(least / step + 1e-9);
  const count = Math.max(Math.ceil(most / step - 1e-9) - low, 1);
  return {
    at: (value) => from + ((to - from) * (value / step - low)) / count,
    ticks: Array.from({ length: count + 1 }, (_, index) => (low + index) * step),
  };
}

/** Where there are less than two powers of ten, 2 and 5 times them are written too. */
export function logScale(values: ReadonlyArray<number>, from: number, to: number): Scale {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  if (!(least > 0)) throw new Error(`no logarithm of ${least}`);
  const steps: number[] = [];
  for (let unit = power(least); unit <= most * 10; unit *= 10) steps.push(unit, 2 * unit, 5 * unit);
  const first = steps.findLastIndex((step) => step <= least * (1 + 1e-9));
  const last = steps.findIndex((step) => step >= most * (1 - 1e-9));
  const all = steps.slice(first, Math.max(last, first + 1) + 1);
  const [low = 1, high = 10] = [all[0], all.at(-1)];
  const tens = all.filter((step) => Math.abs(step / power(step) - 1) < 1e-9);
  return {
    at: (value) => from + ((to - from) * Math.log(value / low)) / Math.log(high / low),
    ticks: tens.length >= 3 ? tens : all,
  };
}
