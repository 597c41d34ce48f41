/** The protocols of anvil(8), verify(8) and flush(8), byte for byte as a real Postfix spoke them (test/vectors/smtpd/daemons.json). */
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { ROOT, runningInstance, until } from "./support/harness.ts";

type Turn = { readonly client: string } | { readonly server: string };
interface Step {
  readonly socket?: string;
  readonly exchange?: Turn[];
  readonly sleep?: number;
  readonly flush_dir?: Record<string, string>;
}
const { scenarios } = JSON.parse(readFileSync(join(ROOT, "test/vectors/smtpd/daemons.json"), "utf8")) as {
  readonly scenarios: ReadonlyArray<{ readonly name: string; readonly dialogue: Step[] }>;
};

/** One connection to a service: what the client says, and what it hears until as much came as was recorded. */
async function converse(path: string, exchange: readonly Turn[]): Promise<Turn[]> {
  const socket = connect(path);
  let heard = "";
  let ended = false;
  socket.setEncoding("latin1");
  socket.on("data", (chunk: string) => {
    heard += chunk;
  });
  socket.on("end", () => {
    ended = true;
  });
  socket.on("error", () => {
    ended = true;
  });
  const got: Turn[] = [];
  for (const turn of exchange) {
    if ("client" in turn) {
      socket.write(turn.client, "latin1");
      got.push(turn);
      continue;
    }
    const eof = turn.server.endsWith("<EOF>");
    const length = turn.server.replace("<EOF>", "").length;
    await until("the server's words", () => (eof ? ended : heard.length >= length || ended));
    // the recording took the status -2 for a queue ID
    got.push({ server: heard.replace("4294967294", "QUEUEID") + (eof ? "<EOF>" : "") });
    heard = "";
  }
  socket.destroy();
  return got;
}

/** Waits until verify(8) knows what it is going to be asked for: a probe takes a moment. */
async function known(path: string, exchange: readonly Turn[]): Promise<void> {
  const [greeting = { server: "" }] = exchange;
  for (const [index, turn] of exchange.entries()) {
    const reply = exchange[index + 1];
    if (!("client" in turn) || reply === undefined || !("server" in reply)) continue;
    if (!turn.client.includes("\0query\0") || reply.server.includes("in progress")) continue;
    for (let tries = 0; tries < 200; tries++) {
      const [, , answer] = await converse(path, [greeting, turn, { server: "status" }]);
      if (answer !== undefined && "server" in answer && !answer.server.includes("in progress")) break;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
}

async function play(t: Test, name: string, instance: Instance): Promise<void> {
  const dialogue = scenarios.find((scenario) => scenario.name === name)?.dialogue ?? [];
  const exchanges = dialogue.filter((step) => step.exchange !== undefined || step.flush_dir !== undefined);
  t.ok(exchanges.length > 0);
  for (const { socket = "", exchange, flush_dir: logs } of exchanges) {
    if (logs !== undefined) {
      const folder = join(instance.queue, "flush");
      const content = (): Record<string, string> =>
        Object.fromEntries(
          readdirSync(folder).map((file) => [file, readFileSync(join(folder, file), "latin1")]),
        );
      await until("the logs of flush", () => JSON.stringify(content()) === JSON.stringify(logs));
      continue;
    }
    const path = join(instance.queue, socket);
    if (socket === "private/verify") await known(path, exchange ?? []);
    const got = await converse(path, exchange ?? []);
    t.same(got, exchange);
  }
}

const mainCf = `mydestination = mail.example.com, localhost
default_transport = discard:
transport_maps = inline:{ {undeliv.test = error:5.1.1 no such domain} }
relay_domains = relay.test
fast_flush_domains = relay.test
`;

t.test("the services of smtpd speak as recorded", async (t) => {
  const instance = await runningInstance(t, {
    mainCf: (directory) => `${mainCf}address_verify_map = lmdb:${directory}/data/verify_cache\n`,
  });
  for (const name of ["anvil_protocol", "flush_protocol", "verify_protocol"]) await play(t, name, instance);
  await checkCache(t, instance);
});

/** The records of the cache are those of the real one. */
async function checkCache(t: Test, instance: Instance): Promise<void> {
  const recorded = scenarios
    .find(({ name }) => name === "verify_protocol")
    ?.dialogue.flatMap((step) => (step as { verify_cache?: string[] }).verify_cache ?? [])
    .filter((line) => /^(?:new|upd)@/.test(line));
  const cache = instance
    .must("postmap", ["-s", `lmdb:${join(instance.directory, "data/verify_cache")}`])
    .split("\n")
    .filter((line) => /^(?:new|upd)@/.test(line))
    .map((line) => line.replace(/:[0-9]{9,}:/, ":EPOCH:"));
  t.same(cache.sort(), recorded);
}
