/** Making a table of many keys, and looking keys up in it. */
import { spawnSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { median, type Row } from "../report.ts";
import { type Bench, type System, withPair } from "../systems.ts";

const LOOKUPS = 200_000;
const ROUNDS = 3;

export async function measureTables(bench: Bench): Promise<Row[]> {
  const made = new Map<System["name"], number[]>();
  const looked = new Map<System["name"], number[]>();
  const { keys } = bench.options;
  await withPair(bench, { mainCf: "" }, async (systems, directory) => {
    const lines = Array.from({ length: keys }, (_, n) => `user${n}@example.org\tmailbox${n}\n`).join("");
    const queries = Array.from(
      { length: LOOKUPS },
      (_, n) => `user${(n * 7919) % (2 * keys)}@example.org\n`,
    ).join("");
    for (let round = 0; round < ROUNDS; round++)
      for (const { name, instance } of systems) {
        const source = join(directory, `${name}-${round}`);
        writeFileSync(source, lines);
        const run = (args: string[], input?: string): number => {
          const began = performance.now();
          const { status } = spawnSync(instance.program("postmap"), args, {
            env: instance.environment,
            stdio: ["pipe", "ignore", "inherit"],
            ...(input === undefined ? {} : { input }),
          });
          if (status !== 0) throw new Error(`postmap ${args.join(" ")}: status ${status}`);
          return (performance.now() - began) / 1000;
        };
        made.set(name, [...(made.get(name) ?? []), run([`lmdb:${source}`])]);
        looked.set(name, [
          ...(looked.get(name) ?? []),
          LOOKUPS / run(["-q", "-", `lmdb:${source}`], queries),
        ]);
        rmSync(`${source}.lmdb`);
      }
  });
  const of = (values: Map<System["name"], number[]>) => ({
    ours: median(values.get("ours") ?? []),
    postfix: median(values.get("postfix") ?? []),
  });
  return [
    { name: `postmap of ${keys} keys (lmdb), s`, ...of(made), digits: 1 },
    { name: "lookups a second (postmap -q -)", ...of(looked), digits: 0, least: 1 },
  ];
}
