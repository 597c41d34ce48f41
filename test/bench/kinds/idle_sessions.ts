/** Many SMTP sessions that say EHLO and then nothing: what they cost, and what is left for others meanwhile. */
import { connect, type Socket } from "node:net";
import { drained, smtpSink, smtpSource } from "../load.ts";
import type { Row } from "../report.ts";
import { type Bench, familyOf, type System, wait, withPair } from "../systems.ts";

const SESSIONS = [500, 1000];
const LOAD = 2000;

const session = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", reject);
    socket.on("data", (chunk) => {
      if (chunk.toString().startsWith("220")) socket.write("EHLO client.example\r\n");
      else resolve(socket);
    });
  });

const memory = (system: System): number => {
  const family = familyOf(system);
  family.notePss();
  return family.peakPss / 1024;
};

export async function measureIdleSessions(bench: Bench): Promise<Row[]> {
  const rows: Row[] = [];
  const sink = await smtpSink(bench.reference);
  const settings = {
    mainCf: `relayhost = [127.0.0.1]:${sink.port}\ndefault_process_limit = 1100\nsmtpd_timeout = 3600\n`,
  };
  try {
    for (const count of SESSIONS) {
      const figures = new Map<System["name"], { before: number; idle: number; perSecond: number }>();
      await withPair(bench, settings, async (systems) => {
        for (const system of systems) {
          const load = async (messages: number): Promise<void> => {
            await smtpSource(bench.reference, system, { messages });
            await drained(system.instance);
          };
          await wait(1000);
          const before = memory(system);
          const sockets: Socket[] = [];
          while (sockets.length < count)
            sockets.push(
              ...(await Promise.all(Array.from({ length: 20 }, () => session(system.instance.smtpPort)))),
            );
          await wait(2000);
          const idle = memory(system);
          await load(LOAD);
          const began = performance.now();
          await load(LOAD);
          const perSecond = LOAD / ((performance.now() - began) / 1000);
          for (const socket of sockets) socket.destroy();
          figures.set(system.name, { before, idle, perSecond });
        }
      });
      const [ours, postfix] = [figures.get("ours"), figures.get("postfix")];
      rows.push(
        {
          name: `${count} idle sessions: MB PSS`,
          ours: ours?.idle,
          postfix: postfix?.idle,
          digits: 0,
          most: 0.2,
        },
        { name: "without them", ours: ours?.before, postfix: postfix?.before, digits: 0 },
        {
          name: "relay beside them: messages/s",
          ours: ours?.perSecond,
          postfix: postfix?.perSecond,
          digits: 0,
        },
      );
    }
  } finally {
    sink.stop();
  }
  return rows;
}
