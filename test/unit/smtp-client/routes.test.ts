/**
 * Destinations, DNS, servers, bounds and parameters: what a real Postfix 3.11 did in each case, log, reply to the queue manager, bounce
 * records and dialogue, replayed (test/vectors/delivery/smtp-routes.json; see the README there for how it was made).
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import t from "tap";
import { FakeNameServer, reply } from "../dns/fake_server.ts";
import {
  type Agent,
  type Job,
  Queue,
  type Reply,
  type Script,
  ScriptedServer,
  type Transcript,
} from "./harness.ts";

interface ZoneRecord {
  readonly rc?: number;
  readonly type: string;
  readonly data: unknown;
}
interface Case {
  readonly name: string;
  readonly overrides: ReadonlyArray<string>;
  readonly job: Job;
  readonly reply?: Reply;
  readonly log: ReadonlyArray<string>;
  readonly done: ReadonlyArray<boolean>;
  /** Dialogues, without the client's end of file. */
  readonly tr: ReadonlyArray<Transcript>;
  /** Requests to the bounce services. */
  readonly app: ReadonlyArray<string>;
}
interface Vectors {
  readonly zone: Readonly<{ [key: string]: ReadonlyArray<ZoneRecord> }>;
  readonly servers: Readonly<{ [address: string]: Script }>;
  readonly cases: ReadonlyArray<Case>;
}

const PORT = 2725;
const file = resolve(import.meta.dirname, "../../vectors/delivery/smtp-routes.json");
const { zone, servers, cases } = JSON.parse(readFileSync(join(file), "utf8")) as Vectors;

t.test("CLI-10 CLI-11 routes", async (t) => {
  const names = Object.keys(zone);
  const dns = await new FakeNameServer((query) => {
    const known = zone[`${query.name}|${query.type}`] ?? zone[query.name];
    const exists = known !== undefined || names.some((name) => name.startsWith(`${query.name}|`));
    const code = known?.[0]?.rc ?? (exists ? 0 : 3);
    const records = code !== 0 ? [] : (known ?? []);
    return reply(
      query,
      records.map(({ type, data }) => ({ name: query.name, ttl: 60, type, data })),
      { flags: 0x0180 | code },
    );
  }).start();
  const listeners: ScriptedServer[] = [];
  for (const [address, script] of Object.entries(servers))
    listeners.push(await new ScriptedServer(script).startAt(address, PORT));
  const queue = await new Queue().start();
  queue.dnsPort = dns.port;
  t.teardown(() => {
    queue.stop();
    dns.stop();
    for (const listener of listeners) listener.stop();
  });
  const agents = new Map<string, Agent>();
  for (const expected of cases) {
    const service = expected.overrides.find((word) => word.startsWith("service="))?.slice(8) ?? "smtp";
    const options = expected.overrides.filter((word) => !word.startsWith("service="));
    const key = expected.overrides.join("|");
    const agent = agents.get(key) ?? (await queue.agent("smtp", options, service));
    agents.set(key, agent);
    for (const listener of listeners) listener.transcripts.length = 0;
    queue.appended.length = 0;
    const { reply: answer, log, done } = await agent.deliver(expected.job);
    const clean = (line: string | string[]): string | string[] =>
      typeof line === "string" ? line.replace(/SIZE=\d+/, "SIZE=N") : line;
    const dialogues = listeners
      .flatMap(({ transcripts }) => transcripts)
      .map((transcript) => transcript.filter((line) => line !== "C: <EOF>").map(clean));
    const appended = queue.appended.map((text) =>
      text
        .replace(/; [A-Z][a-z][a-z], .*/, "")
        .replace(/queue_id\|[0-9A-Z]+/, "")
        .replace(/\bA[0-9A-F]{10}\b/g, "Q"),
    );
    t.same(
      { reply: answer, log, done, tr: dialogues, app: appended },
      { reply: expected.reply, log: expected.log, done: expected.done, tr: expected.tr, app: expected.app },
      expected.name,
    );
  }
});
