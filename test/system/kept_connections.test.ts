/** Connections between our own programs are used again, and no message depends on that (docs/daemons.md). */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { daemons, isAlive, queueFiles, runningInstance, troubles, until } from "./support/harness.ts";
import { exchange } from "./support/hostile.ts";
import { keptEnds } from "./support/kept_ends.ts";

t.setTimeout(240_000);

const MESSAGE = "Subject: x\r\n\r\nbody\r\n";
const send = async (instance: Instance): Promise<string> =>
  sendMail(instance.smtpPort, "a@example.org", `${instance.who.recipient}@localhost`, MESSAGE);

const delivered = (instance: Instance): number => {
  const path = join(instance.mail, instance.who.recipient);
  return existsSync(path) ? readFileSync(path, "latin1").split(/^From /m).length - 1 : 0;
};

const arrived = (instance: Instance, count: number): Promise<unknown> =>
  until(`${count} messages`, () => delivered(instance) === count);

t.test("message after message over the same connections, which go when there is no more", async (t) => {
  const instance = await runningInstance(t);
  t.match(await send(instance), /^250 /m);
  await arrived(instance, 1);
  const first = await until("two connections", () => keptEnds(instance).length === 2 && keptEnds(instance));
  for (let count = 2; count <= 5; count++) {
    t.match(await send(instance), /^250 /m);
    await arrived(instance, count);
  }
  t.same(keptEnds(instance), first, "to cleanup and to local: the same as before");
  await until("their end", () => keptEnds(instance).length === 0);
  t.match(await send(instance), /^250 /m);
  await arrived(instance, 6);
  t.same(troubles(instance), []);
});

t.test("pickup passes what local users submit over the same connection", async (t) => {
  const instance = await runningInstance(t);
  const submit = (count: number): Promise<unknown> => {
    instance.must("sendmail", ["-f", "a@example.org", `${instance.who.recipient}@localhost`], MESSAGE);
    return arrived(instance, count);
  };
  const toCleanup = (): string[] => keptEnds(instance).filter((end) => end.endsWith("cleanup"));
  await submit(1);
  const first = await until("the connection", () => toCleanup().length === 1 && toCleanup());
  for (let count = 2; count <= 4; count++) await submit(count);
  t.same(toCleanup(), first, "the same as before");
  for (const pid of daemons(instance, "cleanup")) process.kill(pid, "SIGKILL");
  await until("its end", () => daemons(instance, "cleanup").length === 0);
  await submit(5);
  t.same(queueFiles(instance, "maildrop"), []);
});

t.test("the other side of a connection ends before it is used again", async (t) => {
  const instance = await runningInstance(t);
  for (let count = 1; count <= 6; count++) {
    t.match(await send(instance), /^250 /m);
    await arrived(instance, count);
    await until("two connections", () => keptEnds(instance).length === 2);
    // an agent that dies before the queue manager has its answer is asked to deliver once more
    await until("the end of the delivery", () => queueFiles(instance, "active").length === 0);
    const pids = ["cleanup", "local"].flatMap((name) => daemons(instance, name));
    for (const pid of pids) process.kill(pid, count % 2 === 0 ? "SIGTERM" : "SIGKILL");
    // one that is not gone yet may begin with the next message, which then is tried again later
    await until("their end", () => !pids.some(isAlive));
  }
  t.match(await send(instance), /^250 /m);
  await arrived(instance, 7);
  instance.run("postfix", ["-c", instance.config, "reload"]);
  t.match(await send(instance), /^250 /m, "after a reload");
  await arrived(instance, 8);
  await until("an empty queue", () => queueFiles(instance, "active").length === 0);
  t.same(queueFiles(instance, "deferred"), []);
});

t.test("a process that has served its clients ends, kept connections or not", async (t) => {
  const instance = await runningInstance(t, { mainCf: "max_use = 2\nservice_client_limit = 1\n" });
  const seen = new Set<number>();
  for (let count = 1; count <= 7; count++) {
    t.match(await send(instance), /^250 /m);
    await arrived(instance, count);
    for (const pid of daemons(instance, "cleanup")) seen.add(pid);
  }
  t.ok(seen.size >= 3, `${seen.size} processes of cleanup`);
  t.same(troubles(instance), []);
});

const BUN = join(import.meta.dirname, "../../node_modules/bun/bin/bun.exe");
const PEER = join(import.meta.dirname, "support/kept_peer.ts");

/** What a client that keeps its connection gets for its texts. */
function converse(instance: Instance, socket: string, ...texts: ReadonlyArray<string>): Promise<string> {
  const words = texts.map((text) => JSON.stringify(text));
  return new Promise((resolve, reject) => {
    execFile(
      BUN,
      ["run", PEER, socket, instance.queue, ...words],
      { timeout: 60_000 },
      (error, output, problem) => {
        if (error === null) resolve(JSON.parse(output) as string);
        else reject(new Error(problem));
      },
    );
  });
}

const record = (type: string, text = ""): string => `${type}${String.fromCharCode(text.length)}${text}`;
const submission = (recipient: string): string =>
  [
    "flags\x000\0\0",
    record("T", "1795972515 165878"),
    record("S", "a@example.org"),
    record("R", recipient),
    record("M"),
    record("N", "Received: by localhost; Sun, 29 Nov 2026 12:00:00 +0000"),
    record("N", "Subject: x"),
    record("X"),
    record("E"),
  ].join("");
const AGAIN = "request\0message\0\0";
const DONE = "status\x000\0reason\0\0\0";

t.test("a client that keeps its connection to cleanup, and what it may send then", async (t) => {
  const instance = await runningInstance(t, { mainCf: "ipc_timeout = 5s\n" });
  const recipient = `${instance.who.recipient}@localhost`;
  const GREETING = /protocol\0cleanup_protocol\0queue_id\0[^\0]+\0\0/g;
  const twice = await converse(
    instance,
    "public/cleanup",
    submission(recipient),
    AGAIN,
    submission(recipient),
  );
  t.equal(twice.replace(GREETING, "<hello>"), `<hello>${DONE}<hello>${DONE}`);
  await arrived(instance, 2);
  for (const garbage of ["nonsense\0\0", "request\0other\0\0", submission(recipient), "\0", "r"]) {
    const answer = await converse(instance, "public/cleanup", submission(recipient), garbage);
    t.equal(answer.replace(GREETING, "<hello>"), `<hello>${DONE}`, JSON.stringify(garbage));
  }
  await arrived(instance, 7);
  const broken = await converse(instance, "public/cleanup", "flags\x000\0\0garbage", AGAIN);
  t.match(broken.replace(GREETING, "<hello>"), /^<hello>status\0[1-9]/);
  t.notMatch(broken, /\0\0protocol.*protocol/s, "no second message after a broken one");
  t.match(await send(instance), /^250 /m);
  await arrived(instance, 8);
  t.same(queueFiles(instance, "incoming"), []);
});

t.test("a client that keeps its connection to a delivery agent", async (t) => {
  const instance = await runningInstance(t);
  const GREETING = "protocol\0delivery_request_protocol\0\0";
  const answer = await converse(instance, "private/discard", "nonsense\0\0", "nonsense\0\0");
  t.match(
    answer.slice(GREETING.length),
    /^status\0.*status\x004294967295\0\0$/s,
    "no second request after a broken one",
  );
  t.match(await send(instance), /^250 /m);
  await arrived(instance, 1);
});

t.test("trivial-rewrite answers for a whole domain, but no client of Postfix", async (t) => {
  const instance = await runningInstance(t, { mainCf: "relayhost = [127.0.0.1]:9\n" });
  const question = "request\0resolve\0sender\0a@example.org\0address\0b@elsewhere.test\0\0";
  const answer = (flags: number): string =>
    `protocol\0trivial_rewrite_protocol\0\0flags\x000\0transport\0smtp\0nexthop\0[127.0.0.1]:9\0recipient\0b@elsewhere.test\0flags\0${flags}\0\0`;
  const DEFAULT = 4096;
  const WHOLE_DOMAIN = 1 << 24;
  t.equal(
    await exchange(join(instance.queue, "private/rewrite"), Buffer.from(question, "latin1")),
    answer(DEFAULT),
  );
  t.equal(await converse(instance, "private/rewrite", question), answer(DEFAULT + WHOLE_DOMAIN));
});
