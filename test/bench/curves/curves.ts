/** What was found at each size, of both systems. */
import { median, type Row } from "../report.ts";
import type { System } from "../systems.ts";
import type { Axis, Panel } from "./figure.ts";

const NAMES = ["ours", "postfix"] as const;

export class Curves<Figures extends { readonly [Name in keyof Figures]: number }> {
  readonly #found = new Map<string, Figures[]>();

  constructor(
    private readonly sizes: ReadonlyArray<number>,
    private readonly x: Axis,
  ) {}

  add(name: System["name"], size: number, figures: Figures): void {
    const key = `${name} ${size}`;
    this.#found.set(key, [...(this.#found.get(key) ?? []), figures]);
  }

  #value(name: System["name"], size: number, which: keyof Figures): number {
    return median((this.#found.get(`${name} ${size}`) ?? []).map((figures) => figures[which]));
  }

  row(name: string, size: number, which: keyof Figures, digits: number): Row {
    return {
      name,
      ours: this.#value("ours", size, which),
      postfix: this.#value("postfix", size, which),
      digits,
    };
  }

  panel(title: string, which: keyof Figures, label: string, log = false): Panel {
    const lines = NAMES.map((name) => ({
      name,
      points: this.sizes.map((size) => [size, this.#value(name, size, which)] as const),
    }));
    return { title, x: this.x, y: { label, log }, lines };
  }
}
