/** Messages a second and CPU a message, in alternating rounds; calls, switches and memory from rounds of their own. */
import { median, type Row } from "../report.ts";
import { countSystemCalls } from "../system_calls.ts";
import { type Bench, familyOf, type Settings, type System, withPair } from "../systems.ts";

const OBSERVE_EVERY = 200;
/** strace makes everything slow: as many messages are enough. */
const TRACED = 400;

export interface Throughput {
  readonly name: string;
  readonly settings: Settings;
  /** Messages a round as a share of the option. */
  readonly share: number;
  /** Gives the system so many messages and waits until it is done with them. */
  readonly run: (system: System, messages: number) => Promise<void>;
  readonly least?: number;
  /** Bound for CPU a message. */
  readonly mostCpu?: number;
  readonly mostMemory?: number;
  /** Counts calls and switches too. */
  readonly observe?: boolean;
}

interface Measured {
  readonly perSecond: number;
  /** Milliseconds a message, over all processes of the system. */
  readonly cpu: number;
}

async function round(kind: Throughput, system: System, messages: number): Promise<Measured> {
  const family = familyOf(system);
  const { cpu } = family;
  const began = performance.now();
  await kind.run(system, messages);
  const seconds = (performance.now() - began) / 1000;
  return { perSecond: messages / seconds, cpu: (family.cpu - cpu) / messages };
}

interface Observed {
  readonly switches: number;
  readonly systemCalls: number | undefined;
  /** Most memory of all processes together, MB. */
  readonly pss: number;
}

async function observe(kind: Throughput, system: System, messages: number): Promise<Observed> {
  const family = familyOf(system);
  const before = family.switches;
  const watch = setInterval(() => {
    family.notePss();
    void family.switches;
  }, OBSERVE_EVERY);
  await kind.run(system, messages);
  clearInterval(watch);
  const switches = (family.switches - before) / messages;
  const traced = Math.min(TRACED, messages);
  const calls = await countSystemCalls(family.processes, () => kind.run(system, traced));
  return {
    switches,
    systemCalls: calls === undefined ? undefined : calls / traced,
    pss: family.peakPss / 1024,
  };
}

export async function measureThroughput(bench: Bench, kind: Throughput): Promise<Row[]> {
  const rows: Row[] = [];
  const messages = Math.max(20, Math.round(bench.options.messages * kind.share));
  await withPair(bench, kind.settings, async (systems) => {
    const results = new Map<System, Measured[]>(systems.map((system) => [system, []]));
    // code must be compiled and processes started; whoever has just been idle gets a moment again
    for (const system of systems) await kind.run(system, 2 * messages);
    for (let number = 0; number < bench.options.rounds; number++)
      for (const system of number % 2 === 0 ? systems : [...systems].reverse()) {
        await kind.run(system, Math.ceil(messages / 10));
        results.get(system)?.push(await round(kind, system, messages));
      }
    const [ours, postfix] = systems.map((system) => results.get(system) ?? []);
    const figure = (which: keyof Measured) => ({
      ours: median((ours ?? []).map((each) => each[which])),
      postfix: median((postfix ?? []).map((each) => each[which])),
    });
    rows.push({
      name: `${kind.name}: messages/s`,
      digits: 0,
      ...figure("perSecond"),
      ...(kind.least === undefined ? {} : { least: kind.least }),
    });
    rows.push({
      name: "CPU ms a message",
      digits: 2,
      ...figure("cpu"),
      ...(kind.mostCpu === undefined ? {} : { most: kind.mostCpu }),
    });
    if (kind.observe !== true) return;
    const [seen, theirs] = [
      await observe(kind, systems[0], messages),
      await observe(kind, systems[1], messages),
    ];
    rows.push({
      name: "system calls a message",
      digits: 0,
      ours: seen.systemCalls,
      postfix: theirs.systemCalls,
    });
    rows.push({
      name: "context switches a message",
      digits: 1,
      ours: seen.switches,
      postfix: theirs.switches,
    });
    rows.push({
      name: "memory at most, MB PSS",
      digits: 0,
      ours: seen.pss,
      postfix: theirs.pss,
      ...(kind.mostMemory === undefined ? {} : { most: kind.mostMemory }),
    });
  });
  return rows;
}
