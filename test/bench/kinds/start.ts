/** The start of the whole system, and what it holds when it has nothing to do. */
import { median, type Row } from "../report.ts";
import { type Bench, familyOf, listening, type System, start, stop, wait, withPair } from "../systems.ts";

const STARTS = 5;

export async function measureStart(bench: Bench): Promise<Row[]> {
  const times = new Map<System["name"], number[]>();
  const memory = new Map<System["name"], number>();
  await withPair(bench, { mainCf: "" }, async (systems) => {
    for (let number = 0; number < STARTS; number++)
      for (const system of systems) {
        await stop(system);
        const began = performance.now();
        start(system);
        await listening(system.instance.smtpPort);
        times.set(system.name, [...(times.get(system.name) ?? []), performance.now() - began]);
      }
    await wait(3000);
    for (const system of systems) {
      const family = familyOf(system);
      family.notePss();
      memory.set(system.name, family.peakPss / 1024);
    }
  });
  return [
    {
      name: "start of the system to the first greeting, ms",
      ours: median(times.get("ours") ?? []),
      postfix: median(times.get("postfix") ?? []),
      digits: 0,
    },
    { name: "idle: MB PSS", ours: memory.get("ours"), postfix: memory.get("postfix"), digits: 0 },
  ];
}
