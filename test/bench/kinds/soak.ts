/** Full rate for a while, ours alone: everything arrives, and memory and descriptors stay what they were. */
import { spawn } from "node:child_process";
import { readdirSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import type { Instance } from "../../../packaging/instance.ts";
import { freePorts } from "../../system/support/harness.ts";
import { publish } from "../curves/figure.ts";
import { drained, smtpSource } from "../load.ts";
import { descriptorsOf, programOf } from "../processes.ts";
import { type Row, slope } from "../report.ts";
import { type Bench, familyOf, type System, wait, withPair } from "../systems.ts";

const SAMPLE_SECONDS = 10;
const SAMPLES_A_MINUTE = 60 / SAMPLE_SECONDS;
/** Messages that one run of smtp-source sends: between two of them there is a pause of some milliseconds. */
const PORTION = 10_000;
/** The log is cut when it is longer, bytes. */
const LOG_LIMIT = 200_000_000;
const A_DAY = 86_400;

interface Sample {
  readonly minutes: number;
  /** Messages that arrived so far. */
  readonly arrived: number;
  /** Of all processes, MB. */
  readonly memory: number;
  readonly queued: number;
  /** Most of one process, by program. */
  readonly descriptors: ReadonlyMap<string, number>;
}

/** The real smtp-sink, which says how many messages it has. */
async function countingSink(
  bench: Bench,
): Promise<{ port: number; readonly arrived: number; stop: () => void }> {
  const [port = 0] = await freePorts(1);
  const sink = spawn(
    join(bench.reference.sbin, "smtp-sink"),
    ["-c", "-u", "nobody", `127.0.0.1:${port}`, "1000"],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let last = "";
  sink.stdout.on("data", (chunk: Buffer) => {
    last = (last + chunk.toString("latin1")).slice(-400);
  });
  await wait(300);
  return {
    port,
    get arrived() {
      return Number([...last.matchAll(/mesg=(\d+)\D/g)].at(-1)?.[1] ?? 0);
    },
    stop: () => void sink.kill(),
  };
}

const queued = ({ queue }: Instance): number =>
  ["incoming", "active", "deferred"].reduce(
    (sum, name) =>
      sum +
      readdirSync(join(queue, name), { recursive: true, withFileTypes: true }).filter((entry) =>
        entry.isFile(),
      ).length,
    0,
  );

function look(system: System, began: number, arrived: number): Sample {
  const family = familyOf(system);
  const descriptors = new Map<string, number>();
  for (const pid of family.processes) {
    const name = programOf(pid);
    descriptors.set(name, Math.max(descriptors.get(name) ?? 0, descriptorsOf(pid)));
  }
  return {
    minutes: (performance.now() - began) / 60_000,
    arrived,
    memory: family.pss / 1024,
    queued: queued(system.instance),
    descriptors,
  };
}

interface Soaked {
  readonly samples: ReadonlyArray<Sample>;
  readonly sent: number;
  readonly arrived: number;
  readonly seconds: number;
}

async function soak(bench: Bench, system: System, sink: { readonly arrived: number }): Promise<Soaked> {
  const began = performance.now();
  const end = began + bench.options.minutes * 60_000;
  const samples: Sample[] = [];
  const timer = setInterval(() => {
    samples.push(look(system, began, sink.arrived));
    if (statSync(system.instance.log).size > LOG_LIMIT) truncateSync(system.instance.log);
  }, SAMPLE_SECONDS * 1000);
  let sent = 0;
  try {
    for (; performance.now() < end; sent += PORTION)
      await smtpSource(bench.reference, system, { messages: PORTION });
    await drained(system.instance);
  } finally {
    clearInterval(timer);
  }
  const seconds = (performance.now() - began) / 1000;
  // smtp-sink tells of a message after its reply
  await wait(1000);
  return { samples, sent, arrived: sink.arrived, seconds };
}

export async function measureSoak(bench: Bench): Promise<Row[]> {
  const sink = await countingSink(bench);
  let soaked: Soaked | undefined;
  try {
    await withPair(bench, { mainCf: `relayhost = [127.0.0.1]:${sink.port}\n` }, async ([ours]) => {
      soaked = await soak(bench, ours, sink);
    });
  } finally {
    sink.stop();
  }
  if (soaked === undefined) throw new Error("nothing was measured");
  const { samples, sent, arrived, seconds } = soaked;
  if (arrived !== sent) throw new Error(`of ${sent} messages ${arrived} arrived`);
  const second = samples.slice(Math.floor(samples.length / 2));
  const memory = second.map(({ minutes, memory }) => [minutes, memory] as const);
  const growth = (of: (sample: Sample) => number): number =>
    Math.max(...second.map(of)) - Math.max(...samples.slice(0, samples.length - second.length).map(of));
  const most = (sample: Sample): number => Math.max(...sample.descriptors.values());
  publish(bench, "soak", figureOf(bench.options.minutes, samples));
  const row = (name: string, ours: number, digits = 0): Row => ({ name, ours, postfix: undefined, digits });
  return [
    row(`${Math.round(seconds / 60)} minutes at full rate: messages sent`, sent),
    row("arrived", arrived),
    row("messages/s", arrived / seconds),
    row("millions a day at this rate", (arrived / seconds) * (A_DAY / 1e6), 1),
    row("memory at the end, MB PSS", samples.at(-1)?.memory ?? Number.NaN),
    row("its slope in the second half, MB an hour", slope(memory) * 60, 1),
    row("queued at most", Math.max(...samples.map(({ queued }) => queued))),
    row("descriptors of one process at most", Math.max(...samples.map(most))),
    row("more of them in the second half than in the first", growth(most)),
  ];
}

function figureOf(minutes: number, samples: ReadonlyArray<Sample>) {
  const panel = (title: string, label: string, points: ReadonlyArray<readonly [number, number]>) => ({
    title,
    x: { label: "minutes", log: false },
    y: { label, log: false },
    lines: [{ name: "ours" as const, points }],
  });
  const rates = samples.flatMap(({ minutes, arrived }, index): Array<readonly [number, number]> => {
    if ((index + 1) % SAMPLES_A_MINUTE !== 0) return [];
    const before = samples[index - SAMPLES_A_MINUTE] ?? { minutes: 0, arrived: 0 };
    return [[minutes, (arrived - before.arrived) / ((minutes - before.minutes) * 60)]];
  });
  return {
    title: `${minutes} minutes of relay at full rate, ${samples.at(-1)?.arrived.toLocaleString("en")} messages`,
    panels: [
      panel(
        "Memory of all processes",
        "MB PSS",
        samples.map(({ minutes, memory }) => [minutes, memory]),
      ),
      panel("Throughput of each minute", "messages a second", rates),
    ],
  };
}
