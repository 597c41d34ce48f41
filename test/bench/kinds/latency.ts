/** A single message on an idle system: from the connection to the SMTP server until the destination has the whole of it. */
import { sendMail } from "../../../packaging/smtp_hello.ts";
import { timingSink } from "../load.ts";
import { median, quantile, type Row } from "../report.ts";
import { type Bench, type System, wait, withPair } from "../systems.ts";

const MESSAGES = 200;
const PAUSE = 20;

export async function measureLatency(bench: Bench): Promise<Row[]> {
  let arrived: () => void = () => {};
  const sink = await timingSink(0, () => arrived());
  const times = new Map<System["name"], number[]>();
  const first = new Map<System["name"], number>();
  const one = async ({ instance }: System): Promise<number> => {
    const done = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const began = performance.now();
    await sendMail(instance.smtpPort, "a@example.org", "b@elsewhere.test", "Subject: x\r\n\r\nx\r\n");
    await done;
    return performance.now() - began;
  };
  try {
    await withPair(bench, { mainCf: `relayhost = [127.0.0.1]:${sink.port}\n` }, async (systems) => {
      for (const system of systems) first.set(system.name, await one(system));
      for (const system of systems) times.set(system.name, []);
      for (let number = 0; number < MESSAGES; number++)
        for (const system of systems) {
          times.get(system.name)?.push(await one(system));
          await wait(PAUSE);
        }
    });
  } finally {
    sink.stop();
  }
  const of = (figure: (values: number[]) => number) => ({
    ours: figure(times.get("ours") ?? []),
    postfix: figure(times.get("postfix") ?? []),
    digits: 2,
  });
  return [
    { name: "single message, idle system: median, ms", ...of(median), most: 1 },
    { name: "99th percentile, ms", ...of((values) => quantile(values, 0.99)) },
    {
      name: "the first after the start (most programs not running), ms",
      ours: first.get("ours"),
      postfix: first.get("postfix"),
      digits: 0,
    },
  ];
}
