/** A maildrop that everybody may write to: what users put there instead of mail, and what they do to it while it is read. */
import { spawn } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { daemons, isRoot, logged, NEEDS_ROOT, runningInstance, until } from "../system/support/harness.ts";
import { bytes, crashes } from "../system/support/hostile.ts";
import { idOf, record } from "../system/support/queue_damage.ts";
import { expectOutcomes, type Place, playAll, put, submission, USER } from "./support/maildrop_games.ts";

t.setTimeout(120_000);

async function placeOf(instance: Instance): Promise<Place> {
  const maildrop = join(instance.queue, "maildrop");
  await until("maildrop", () => existsSync(maildrop));
  const home = join(instance.directory, "home");
  mkdirSync(home);
  if (isRoot) chownSync(home, USER.uid, USER.gid);
  const { uid, gid } = statSync(join(instance.queue, "active"));
  return { maildrop, home, to: `${instance.who.recipient}@localhost`, owner: { uid, gid } };
}

t.test("what is put there instead of mail", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t);
  const place = await placeOf(instance);
  t.equal(statSync(place.maildrop).mode & 0o7777, 0o1733, "nobody can list it, or remove what is another's");
  await expectOutcomes(t, instance, place, playAll(place, idOf));
  t.same(crashes(instance), []);
});

/** In place of cleanup: takes a part of each message, waits until it may go on, and keeps all. */
class SlowCleanup {
  readonly messages: { readonly socket: Socket; taken: Buffer; readonly id: string }[] = [];
  static readonly #part = 100_000;
  readonly #server = createServer((socket) => {
    const message = { socket, taken: Buffer.alloc(0), id: `FA${this.messages.length}` };
    this.messages.push(message);
    socket.write(`protocol\0cleanup_protocol\0queue_id\0${message.id}\0\0`);
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      message.taken = Buffer.concat([message.taken, chunk]);
      if (message.taken.length > SlowCleanup.#part && !this.#open) socket.pause();
      // the END record; Postfix's cleanup closes the connection
      if (!message.taken.subarray(-2).equals(bytes("E\0"))) return;
      socket.write("status\x000\0reason\0\0\0");
      socket.destroySoon();
    });
  });
  #open = false;

  async takePlace(t: Test, instance: Instance): Promise<void> {
    const path = join(instance.queue, "public/cleanup");
    await new Promise<void>((done) => this.#server.listen(`${path}.new`, done));
    chmodSync(`${path}.new`, 0o666);
    renameSync(`${path}.new`, path);
    t.teardown(() => {
      for (const { socket } of this.messages) socket.destroy();
      this.#server.close();
    });
  }

  /** The reader can go no further. */
  async stuck(): Promise<void> {
    await until("a message", () => this.messages.at(-1)?.socket.isPaused() === true);
    // what the sockets between us hold has a limit
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  goOn(): void {
    this.#open = true;
    for (const { socket } of this.messages) socket.resume();
  }
  holdBack(): void {
    this.#open = false;
  }
}

const BODY = Array.from({ length: 60_000 }, (_, index) => `line ${index} ${"x".repeat(60)}`);

t.test("files that change while they are read", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t);
  const place = await placeOf(instance);
  const { maildrop, to } = place;
  const cleanup = new SlowCleanup();
  await cleanup.takePlace(t, instance);
  let number = 0;
  /** What a submitter does last, and pickup waits for. */
  const complete = (id: string): void => chmodSync(join(maildrop, id), 0o744);
  /** Changes a big file while it is read; what cleanup got of it, and whether the name is free afterwards. */
  const during = async (
    change: (path: string) => void,
  ): Promise<{ text: string; whole: boolean; id: string }> => {
    cleanup.holdBack();
    const id = idOf(500 + number++);
    put(maildrop, id, submission(`message ${id}`, to, BODY));
    complete(id);
    await cleanup.stuck();
    const message = cleanup.messages.at(-1);
    if (message === undefined) throw new Error("no message");
    change(join(maildrop, id));
    cleanup.goOn();
    await until("the end of the message", () => message.socket.destroyed);
    return {
      text: message.taken.toString("latin1"),
      whole: message.taken.subarray(-2).equals(bytes("E\0")),
      id,
    };
  };

  await t.test("shrinks: no part of it is sent", async (t) => {
    const { whole, id } = await during((path) => truncateSync(path, 200_000));
    t.notOk(whole);
    await logged(instance, /pickup\[\d+\]: warning: uid=5: unexpected or malformed record type -\d/);
    await until("its end", () => !existsSync(join(maildrop, id)));
  });
  await t.test("grows: what comes behind the end is not of it", async (t) => {
    const { whole, text, id } = await during((path) => appendFileSync(path, submission("more", to)));
    t.ok(whole);
    t.notMatch(text, /Subject: more/);
    await until("its end", () => !existsSync(join(maildrop, id)));
  });
  await t.test("is overwritten: what is read is checked", async (t) => {
    const { whole, id } = await during((path) => {
      const fd = openSync(path, "r+");
      writeSync(fd, Buffer.alloc(3_000_000, 0xff), 0, 3_000_000, 500_000);
    });
    t.notOk(whole);
    await logged(instance, /pickup\[\d+\]: warning: maildrop\/\w+: too many length bits, record type \d+/);
    await until("its end", () => !existsSync(join(maildrop, id)));
  });
  await t.test("is unlinked: it is sent, once", async (t) => {
    const count = cleanup.messages.length;
    const { whole, text } = await during((path) => unlinkSync(path));
    t.ok(whole);
    t.match(text, /line 59999 /);
    instance.must("postkick", ["public", "pickup", "W"]);
    t.equal(cleanup.messages.length, count + 1);
  });
  await t.test("gets another name: it is refused from then on", async (t) => {
    const { whole, id } = await during((path) => linkSync(path, join(place.home, "kept")));
    t.ok(whole);
    await until("its end", () => !existsSync(join(maildrop, id)));
    t.ok(existsSync(join(place.home, "kept")));
  });
  await t.test("is another file by then: that one is a message of its own", async (t) => {
    const { whole, text, id } = await during((path) => {
      put(maildrop, path.slice(maildrop.length + 1), submission("the other one", to));
    });
    t.ok(whole);
    t.notMatch(text, /the other one/);
    await until("the other one", () =>
      cleanup.messages.some(({ taken }) => taken.includes("Subject: the other one")),
    );
    await until("its end", () => !existsSync(join(maildrop, id)));
  });
  await t.test("is a link to a secret by then: that one is left alone", async (t) => {
    put(place.home, "secret", submission("secret", to), { uid: 0, gid: 0 });
    const { whole, id } = await during((path) => {
      unlinkSync(path);
      symlinkSync(join(place.home, "secret"), path);
    });
    t.ok(whole);
    instance.must("postkick", ["public", "pickup", "W"]);
    await logged(instance, new RegExp(`warning: maildrop/${id}: uid 0: not a regular file`));
    t.ok(existsSync(join(place.home, "secret")));
    t.notOk(cleanup.messages.some(({ taken }) => taken.includes("Subject: secret")));
    unlinkSync(join(maildrop, id));
  });
  await t.test("grows without end: it does not hold its reader", async (t) => {
    cleanup.holdBack();
    const id = idOf(500 + number++);
    const content = submission(`message ${id}`, to, BODY);
    const path = join(maildrop, id);
    put(maildrop, id, content.subarray(0, content.length - 4));
    complete(id);
    await cleanup.stuck();
    const message = cleanup.messages.at(-1);
    const line = record("N", "y".repeat(1000));
    const piece = Buffer.concat(Array.from({ length: 1000 }, () => line));
    for (let megabytes = 0; megabytes < 20; megabytes++) appendFileSync(path, piece);
    cleanup.goOn();
    await until("the end of the message", () => message?.socket.destroyed);
    t.ok((message?.taken.length ?? 0) < content.length + 100_000, `${message?.taken.length} bytes taken`);
  });
  t.same(crashes(instance), []);
});

t.test("a name that changes between a message and a link all the time", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t);
  const place = await placeOf(instance);
  const { maildrop, home, to } = place;
  put(home, "secret", submission("the secret", to), { uid: 0, gid: 0 });
  const id = idOf(700);
  const path = join(maildrop, id);
  const deadline = Date.now() + 2000;
  while (Date.now() < deadline) {
    put(maildrop, id, submission("an honest one", to));
    try {
      unlinkSync(path);
    } catch {
      // pickup had it
    }
    symlinkSync(join(home, "secret"), path);
    await new Promise((resolve) => setImmediate(resolve));
    try {
      unlinkSync(path);
    } catch {
      // postsuper or pickup had it
    }
  }
  put(maildrop, idOf(701), submission("the last one", to));
  chmodSync(join(maildrop, idOf(701)), 0o744);
  const mailbox = join(instance.mail, instance.who.recipient);
  await until(
    "the last one",
    () => existsSync(mailbox) && readFileSync(mailbox, "latin1").includes("the last one"),
  );
  t.notMatch(readFileSync(mailbox, "latin1"), /the secret/);
  t.same(crashes(instance), []);
});

/** Kilobytes of a process at its worst so far. */
const peakOf = (pid: number): number =>
  Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0);

/** A million were measured with this test (docs/security.md). */
const JUNK = Number(process.env.POSTHASTE_JUNK ?? 50_000);

t.test("junk files between the messages", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t);
  const { maildrop, to } = await placeOf(instance);
  const [pickup = 0] = await until("pickup", () => {
    const found = daemons(instance, "pickup");
    return found.length > 0 ? found : undefined;
  });
  const before = peakOf(pickup);
  // no queue IDs, unfinished ones, unreadable ones, links
  const makers = [
    (index: number) => writeFileSync(join(maildrop, `.junk ${index}`), ""),
    (index: number) => writeFileSync(join(maildrop, idOf(index)), "", { mode: 0o644 }),
    (index: number) => {
      writeFileSync(join(maildrop, idOf(index)), "", { mode: 0o700 });
      chownSync(join(maildrop, idOf(index)), USER.uid, USER.gid);
    },
    (index: number) => symlinkSync("/nonexistent", join(maildrop, idOf(index))),
  ] as const;
  for (let index = 0; index < JUNK; index++) {
    makers[index % makers.length]?.(index);
    if (index % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const mailbox = join(instance.mail, instance.who.recipient);
  const position = instance.maillog().length;
  const took: Record<string, number> = {};
  const timed = async (name: string, work: () => unknown): Promise<void> => {
    const started = Date.now();
    await work();
    took[name] = Date.now() - started;
  };
  await timed("a message among them", async () => {
    instance.must("sendmail", ["-f", "a@example.org", to], "Subject: among junk\n\n");
    await until(
      "delivery",
      () => existsSync(mailbox) && readFileSync(mailbox, "latin1").includes("among junk"),
    );
  });
  t.ok((took["a message among them"] ?? 0) < 10_000 + JUNK / 20, JSON.stringify(took));
  const listing = await new Promise<{ peak: number; lines: number }>((resolve, reject) => {
    const child = spawn(instance.program("postqueue"), ["-j"], { env: instance.environment });
    let lines = 0;
    child.stdout.on("data", (chunk: Buffer) => {
      lines += chunk.filter((byte) => byte === 0x0a).length;
    });
    child
      .on("error", reject)
      .on("close", () => resolve({ peak: Math.max(0, ...daemons(instance, "showq").map(peakOf)), lines }));
  });
  t.equal(listing.lines, 0, "nothing of it is listed");
  t.ok(listing.peak > 0 && listing.peak < 250_000, `showq: ${listing.peak} kB`);
  const grown = peakOf(pickup) - before;
  t.ok(grown < 100_000, `pickup grew by ${grown} kB`);
  const complaints = instance
    .maillog()
    .slice(position)
    .split("\n")
    .filter((line) => /postfix\/pickup\[\d+\]: warning/.test(line)).length;
  const scans = instance.maillog().slice(position).split("more complaints about files").length - 1;
  t.ok(scans > 0, "the rest is counted");
  t.ok(complaints <= 101 * (scans + 1), `${complaints} warnings in ${scans} scans`);
  await timed("postsuper -s", async () => instance.must("postsuper", ["-s"]));
  await timed("postsuper -d ALL", async () => instance.must("postsuper", ["-d", "ALL"]));
  t.same(readdirSync(maildrop), []);
  t.comment(`pickup grew by ${grown} kB; ms: ${JSON.stringify(took)}`);
  t.same(crashes(instance), []);
});
