/** Relaying with one SMTP session and with a thousand at once. */
import { Curves } from "../curves/curves.ts";
import { publish } from "../curves/figure.ts";
import { drained, smtpSink, smtpSource } from "../load.ts";
import { progress, type Row } from "../report.ts";
import { type Bench, familyOf, type System, withPair } from "../systems.ts";

interface Figures {
  readonly perSecond: number;
  /** Milliseconds a message. */
  readonly cpu: number;
  /** Of all processes together, after it, MB. */
  readonly memory: number;
}

const WARM_UP = 2000;

async function measure(bench: Bench, system: System, sessions: number): Promise<Figures> {
  // a session alone takes its time
  const messages = Math.max(Math.round(bench.options.messages / (sessions < 5 ? 4 : 1)), 2 * sessions);
  const run = async (count: number): Promise<void> => {
    await smtpSource(bench.reference, system, { messages: count, sessions });
    await drained(system.instance);
  };
  await run(Math.max(sessions, messages / 10));
  const family = familyOf(system);
  const [began, before] = [performance.now(), family.cpu];
  await run(messages);
  const seconds = (performance.now() - began) / 1000;
  return {
    perSecond: messages / seconds,
    cpu: (family.cpu - before) / messages,
    memory: family.pss / 1024,
  };
}

export async function measureScaleSessions(bench: Bench): Promise<Row[]> {
  const { sessions: counts, rounds } = bench.options;
  const sink = await smtpSink(bench.reference);
  const curves = new Curves<Figures>(counts, { label: "SMTP sessions at once", log: true });
  const mainCf = `relayhost = [127.0.0.1]:${sink.port}\ndefault_process_limit = ${Math.max(...counts) + 100}\n`;
  try {
    await withPair(bench, { mainCf }, async (systems) => {
      for (const system of systems) {
        await smtpSource(bench.reference, system, { messages: WARM_UP });
        await drained(system.instance);
      }
      for (const count of counts) {
        progress(`${count} sessions`);
        for (let round = 0; round < rounds; round++)
          for (const system of round % 2 === 0 ? systems : [...systems].reverse())
            curves.add(system.name, count, await measure(bench, system, count));
      }
    });
  } finally {
    sink.stop();
  }
  publish(bench, "scale-sessions", {
    title: "Relay of 4 kB messages, one a session",
    panels: [
      curves.panel("Throughput", "perSecond", "messages a second"),
      curves.panel("Processor time", "cpu", "CPU ms a message"),
      curves.panel("Memory of all processes", "memory", "MB PSS", true),
    ],
  });
  return counts.flatMap((count) => [
    curves.row(`relay of 4 kB, ${count} sessions at once: messages/s`, count, "perSecond", 0),
    curves.row("CPU ms a message", count, "cpu", 2),
    curves.row("memory afterwards, MB PSS", count, "memory", 0),
  ]);
}
