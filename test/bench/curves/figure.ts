/** Curves that a benchmark found: numbers as JSON, and beside them the picture made of them. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Bench, machineText } from "../systems.ts";
import { draw } from "./svg.ts";

export interface Axis {
  readonly label: string;
  readonly log: boolean;
}

export interface Line {
  readonly name: "ours" | "postfix";
  readonly points: ReadonlyArray<readonly [number, number]>;
}

export interface Panel {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly lines: ReadonlyArray<Line>;
}

export interface Figure {
  readonly title: string;
  readonly panels: ReadonlyArray<Panel>;
}

export interface Kept extends Figure {
  /** Machine and versions. */
  readonly machine: string;
}

/** Keeps the numbers and draws them. */
export function publish(bench: Bench, name: string, figure: Figure): void {
  const { results } = bench.options;
  const kept: Kept = { ...figure, machine: machineText() };
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, `${name}.json`), `${JSON.stringify(kept, null, 1)}\n`);
  redraw(results, name);
}

function redraw(results: string, name: string): void {
  const kept = JSON.parse(readFileSync(join(results, `${name}.json`), "utf8")) as Kept;
  writeFileSync(join(results, `${name}.svg`), draw(kept));
}

/** Draws what was measured before. */
export function redrawAll(results: string): void {
  for (const file of readdirSync(results))
    if (file.endsWith(".json")) redraw(results, file.slice(0, -".json".length));
}
