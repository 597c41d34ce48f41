/** Runs a target on made inputs until its time is over or an input breaks it. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { corpus } from "./corpus.ts";
import { mutate, Random } from "./random.ts";

export interface Target {
  readonly name: string;
  /** Good inputs, from captured data where there are any. */
  readonly seeds: ReadonlyArray<Buffer>;
  /** Pieces that mean something to the format. */
  readonly words: ReadonlyArray<string>;
  /** Throws when the input is not handled as it must be. */
  readonly check: (input: Buffer) => void | Promise<void>;
}

export interface Broken {
  readonly input: Buffer;
  readonly error: unknown;
}

/** An input that takes longer is a finding: nothing here needs a tenth of it. */
const SLOW_MILLISECONDS = 3000;

/** Tries one input. */
export async function attempt(target: Target, input: Buffer): Promise<Broken | undefined> {
  const start = performance.now();
  try {
    await target.check(Buffer.from(input));
  } catch (error) {
    return { input, error };
  }
  const taken = performance.now() - start;
  return taken > SLOW_MILLISECONDS ? { input, error: new Error(`took ${Math.round(taken)} ms`) } : undefined;
}

/** How many inputs were tried, and what broke. */
export async function fuzz(
  target: Target,
  seed: number,
  seconds: number,
): Promise<{ readonly count: number; readonly broken: Broken | undefined }> {
  const random = new Random(seed);
  const end = performance.now() + seconds * 1000;
  let count = 0;
  const seeds = [...target.seeds, ...corpus(target.name).map(([, input]) => input)];
  for (const input of seeds) {
    const broken = await attempt(target, input);
    if (broken !== undefined) return { count, broken };
  }
  while (performance.now() < end) {
    count++;
    const broken = await attempt(target, mutate(random, seeds, target.words));
    if (broken !== undefined) return { count, broken };
  }
  return { count, broken: undefined };
}

const CASES = join(import.meta.dirname, "cases");

/** Inputs that once broke the target. */
export function cases(name: string): ReadonlyArray<readonly [file: string, input: Buffer]> {
  return readdirSync(CASES)
    .filter((file) => file.startsWith(`${name}.`))
    .map((file) => [file, readFileSync(join(CASES, file))]);
}

export const casePath = (name: string, label: string): string => join(CASES, `${name}.${label}`);
