/** A queue full of deferred mail: the restart on it, its listing, and its way out. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { drained, isQueued, smtpSink, smtpSource } from "../load.ts";
import type { Row } from "../report.ts";
import { type Bench, familyOf, listening, type System, start, stop, wait, withPair } from "../systems.ts";

interface Figures {
  restart: number;
  idle: number;
  listing: number;
  first: number;
  drained: number;
  pss: number;
}

export async function measureDeferredQueue(bench: Bench): Promise<Row[]> {
  const count = bench.options.queue;
  const sink = await smtpSink(bench.reference);
  const figures = new Map<System["name"], Figures>();
  const settings = {
    mainCf: `relayhost = [127.0.0.1]:${sink.port}
defer_transports = smtp
minimal_backoff_time = 3600
maximal_backoff_time = 7200
`,
  };
  try {
    await withPair(bench, settings, async (systems) => {
      for (const system of systems) figures.set(system.name, await one(bench, system, count));
    });
  } finally {
    sink.stop();
  }
  const [ours, postfix] = [figures.get("ours"), figures.get("postfix")];
  const row = (
    name: string,
    figure: keyof Figures,
    digits: number,
    bound: { least?: number; most?: number },
  ): Row => ({
    name,
    ours: ours?.[figure],
    postfix: postfix?.[figure],
    digits,
    ...bound,
  });
  return [
    row(`${count} deferred messages: start to greeting, ms`, "restart", 0, { most: 1 }),
    row("start until nobody has anything to do, ms", "idle", 0, { most: 1 }),
    row("listing (postqueue -p), ms", "listing", 0, { most: 1 }),
    row("flush: first delivery after, ms", "first", 0, { most: 1 }),
    row("flush: delivered a second", "drained", 0, { least: 1 }),
    row("memory at most, MB PSS", "pss", 0, {}),
  ];
}

async function one(bench: Bench, system: System, count: number): Promise<Figures> {
  const { instance } = system;
  await smtpSource(bench.reference, system, { messages: count, size: 500 });
  while (isQueued(instance, ["incoming", "active"])) await wait(100);
  await stop(system);
  const began = performance.now();
  start(system);
  await listening(instance.smtpPort);
  const restart = performance.now() - began;
  // greeted and looked through: then the processes come to rest
  const idle = (await familyOf(system).idle(120)) - began;
  const list = performance.now();
  const { stdout } = spawnSync(instance.program("postqueue"), ["-p"], {
    env: instance.environment,
    encoding: "latin1",
    maxBuffer: 1 << 30,
  });
  const listing = performance.now() - list;
  if (!stdout.trimEnd().endsWith(`in ${count} Requests.`))
    throw new Error(`${system.name}: the listing ends with ${stdout.trimEnd().slice(-80)}`);
  const mainCf = join(instance.config, "main.cf");
  writeFileSync(mainCf, readFileSync(mainCf, "utf8").replace(/^defer_transports.*$/m, ""));
  await stop(system);
  start(system);
  await listening(instance.smtpPort);
  const family = familyOf(system);
  const watch = setInterval(() => family.notePss(), 200);
  const flush = performance.now();
  spawnSync(instance.program("postqueue"), ["-f"], { env: instance.environment, stdio: "inherit" });
  const sent = / status=sent /;
  while (!sent.test(readFileSync(instance.log, "latin1").slice(-100_000))) await wait(5);
  const first = performance.now() - flush;
  await drained(instance);
  const seconds = (performance.now() - flush) / 1000;
  clearInterval(watch);
  return { restart, idle, listing, first, drained: count / seconds, pss: family.peakPss / 1024 };
}
