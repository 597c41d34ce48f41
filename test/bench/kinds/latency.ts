/**
 * A single message on an idle system: from the connection to the SMTP server until the destination has the whole of it. First as both are after
 * their start, with all that is compiled and loaded on the way; then after much mail, in sessions of their own and in one that is kept.
 */
import { Session } from "../../system/support/load.ts";
import { drained, smtpSource, timingSink } from "../load.ts";
import { median, quantile, type Row } from "../report.ts";
import { type Bench, type System, wait, withPair } from "../systems.ts";

const MESSAGES = 200;
const PAUSE = 20;
const WARM_UP = 3000;

interface Times {
  /** Until the reply to the end of the message. */
  readonly accepted: number;
  readonly delivered: number;
}

async function open(port: number): Promise<Session> {
  const session = new Session(port);
  await session.expect("220");
  session.write("EHLO client.posthaste.test\r\n");
  await session.expect("250");
  return session;
}

async function message(session: Session): Promise<void> {
  const step = async (line: string, expected: string): Promise<void> => {
    session.write(`${line}\r\n`);
    await session.expect(expected);
  };
  await step("MAIL FROM:<a@example.org>", "250");
  await step("RCPT TO:<b@elsewhere.test>", "250");
  await step("DATA", "354");
  await step("Subject: x\r\n\r\nx\r\n.", "250");
}

class Trial {
  readonly times = new Map<System["name"], Times[]>();

  constructor(private readonly arrival: () => Promise<number>) {}

  /** One message, in a session of its own when none is given. */
  async one(system: System, session?: Session): Promise<Times> {
    const arrived = this.arrival();
    const began = performance.now();
    const used = session ?? (await open(system.instance.smtpPort));
    await message(used);
    const accepted = performance.now() - began;
    if (session === undefined) {
      used.write("QUIT\r\n");
      await used.expect("221");
      used.close();
    }
    return { accepted, delivered: (await arrived) - began };
  }

  async many(systems: ReadonlyArray<System>, sessions?: ReadonlyMap<System, Session>): Promise<void> {
    for (const system of systems) this.times.set(system.name, []);
    for (let number = 0; number < MESSAGES; number++)
      for (const system of systems) {
        this.times.get(system.name)?.push(await this.one(system, sessions?.get(system)));
        await wait(PAUSE);
      }
  }

  rows(name: string, bound: { readonly most?: number } = {}): Row[] {
    const figure = (which: keyof Times, of: (values: number[]) => number) => ({
      ours: of((this.times.get("ours") ?? []).map((times) => times[which])),
      postfix: of((this.times.get("postfix") ?? []).map((times) => times[which])),
      digits: 2,
    });
    return [
      { name: `${name}: median, ms`, ...figure("delivered", median), ...bound },
      { name: "99th percentile, ms", ...figure("delivered", (values) => quantile(values, 0.99)) },
      { name: "of the median until the reply, ms", ...figure("accepted", median) },
    ];
  }
}

export async function measureLatency(bench: Bench): Promise<Row[]> {
  let arrived: () => void = () => {};
  const sink = await timingSink(0, () => arrived());
  const arrival = (): Promise<number> =>
    new Promise((resolve) => {
      arrived = () => resolve(performance.now());
    });
  const first = new Map<System["name"], number>();
  const [cold, warm, kept] = [new Trial(arrival), new Trial(arrival), new Trial(arrival)];
  const mainCf = `relayhost = [127.0.0.1]:${sink.port}\nsmtpd_timeout = 1h\n`;
  try {
    await withPair(bench, { mainCf }, async (systems) => {
      for (const system of systems) first.set(system.name, (await cold.one(system)).delivered);
      await cold.many(systems);
      for (const system of systems) {
        await smtpSource(bench.reference, system, { messages: WARM_UP });
        await drained(system.instance);
      }
      await warm.many(systems);
      const sessions = new Map<System, Session>();
      for (const system of systems) sessions.set(system, await open(system.instance.smtpPort));
      await kept.many(systems, sessions);
      for (const session of sessions.values()) session.close();
    });
  } finally {
    sink.stop();
  }
  return [
    ...cold.rows("single message, idle system", { most: 1 }),
    {
      name: "the first after the start (most programs not running), ms",
      ours: first.get("ours"),
      postfix: first.get("postfix"),
      digits: 0,
    },
    ...warm.rows(`single message after ${WARM_UP} others, a session each`, { most: 1 }),
    ...kept.rows("the same in one session that is kept", { most: 1 }),
  ];
}
