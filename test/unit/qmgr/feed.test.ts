/** From the file in the queue to recipients in entries, and back to the queue. */
import fs from "node:fs";
import t, { type Test } from "tap";
import type { Entry } from "../../../cmd/qmgr/entry.ts";
import { recoverActive } from "../../../cmd/qmgr/recover.ts";
import { Rec } from "../../../lib/queue/records.ts";
import { vector, type World, type WorldOptions, world } from "./queue_fixture.ts";
import { queueFile } from "./queue_fixture_file.ts";

const addresses = (entries: ReadonlyArray<Entry>): string[][] =>
  entries.map((entry) => entry.recipients.map((recipient) => recipient.address));

function test(name: string, options: WorldOptions, body: (w: World, t: Test) => Promise<void>): void {
  t.test(name, async (t: Test) => {
    const w = world(options);
    try {
      await body(w, t);
      await w.settle();
      t.equal(w.manager.recipientCount, 0, "no recipient is left in memory");
      t.equal(w.manager.unassignedCount, 0);
      t.equal(w.manager.messageCount, 0, "no message is left in memory");
    } finally {
      w.close();
    }
  });
}
test("a message is delivered and removed", {}, async (w, t) => {
  w.put("incoming", "4A1B2C0001", queueFile({ recipients: ["b@x.example", "a@y.example", "a@x.example"] }));
  t.equal(await w.feedAll(), 1);
  t.ok(w.exists("active/4A1B2C0001"));
  const entries = await w.deliver("smtp");
  t.same(addresses(entries), [["a@x.example", "b@x.example"], ["a@y.example"]]);
  t.notOk(w.exists("active/4A1B2C0001"));
  t.same(w.lines, [
    "4A1B2C0001: from=<sender@example.com>, size=15, nrcpt=3 (queue active)",
    "4A1B2C0001: removed",
  ]);
});

test("a message with trouble is deferred by its age, a third of a century is too old", {}, async (w, t) => {
  const now = w.time.now();
  w.put("incoming", "4A1B2C0002", queueFile({ recipients: ["a@x.example"], created: now - 1000 }));
  w.put("incoming", "4A1B2C0003", queueFile({ recipients: ["a@x.example"], created: 1_000_000_000 }));
  await w.feedAll();
  await w.deliver("smtp", () => "defer");
  t.equal(fs.statSync("deferred/4/4A1B2C0002").mtimeMs / 1000, now + 1000);
  t.ok(w.lines.includes("4A1B2C0003: from=<sender@example.com>, status=expired, returned to sender"));
  t.ok(w.lines.includes("4A1B2C0003: removed"));
  t.same(w.calls, ["flush defer 4A1B2C0003 flags=2"]);
  t.equal(await w.feedAll(), 0, "not before its time");
  w.deferred.request({ all: true });
  t.equal(await w.feedAll(), 1, "but when time stamps are ignored");
  await w.deliver("smtp");
});

test("a failed expiry notice keeps the message", {}, async (w, t) => {
  w.put("incoming", "4A1B2C0003", queueFile({ recipients: ["a@x.example"], created: 1_000_000_000 }));
  w.noticeResults.push(false);
  await w.feedAll();
  await w.deliver("smtp", () => "defer");
  t.ok(w.exists("deferred/4/4A1B2C0003"));
});

test("bounce log: notice, then removal; empty log: removal; failed notice: deferral", {}, async (w, t) => {
  for (const id of ["AAAAA1", "AAAAA2", "AAAAA3"])
    w.put("incoming", id, queueFile({ recipients: ["a@x.example"] }));
  w.put("bounce", "AAAAA1", Buffer.from("x\n"), 0o600);
  w.put("bounce", "AAAAA2", Buffer.alloc(0), 0o600);
  w.put("bounce", "AAAAA3", Buffer.from("x\n"), 0o600);
  w.noticeResults.push(true, false);
  await w.feedAll();
  const entries = await w.deliver("smtp");
  t.equal(entries.length, 3);
  t.same(w.calls.sort(), ["flush bounce AAAAA1 flags=0", "flush bounce AAAAA3 flags=0"]);
  t.notOk(w.exists("bounce/AAAAA2"));
  t.equal(fs.readdirSync("deferred").length, 1);
});

test("the delay warning is sent once", {}, async (w, t) => {
  const now = w.time.now();
  const warn = String(now - 5).padStart(15);
  w.put("incoming", "BBBBB1", queueFile({ recipients: ["a@x.example"], envelope: [[Rec.WARN_TIME, warn]] }));
  await w.feedAll();
  await w.deliver("smtp", () => "defer");
  t.same(w.calls, ["warn BBBBB1"]);
  t.ok(fs.readFileSync("deferred/B/BBBBB1").includes("W\x0f             -1"));
  w.deferred.request({ all: true });
  await w.feedAll();
  await w.deliver("smtp", () => "defer");
  t.same(w.calls, ["warn BBBBB1"]);
});

test("trace: report, then the flag is killed", {}, async (w, t) => {
  const options = { recipients: ["a@x.example"], envelope: [[Rec.ATTRIBUTE, "trace_flags=1024"]] as const };
  w.put("incoming", "CCCCC1", queueFile(options));
  await w.feedAll();
  await w.deliver("smtp", () => "defer");
  t.same(w.calls, ["trace CCCCC1 flags=1024"]);
  const bytes = fs.readFileSync("deferred/C/CCCCC1", "latin1");
  t.ok(bytes.includes("K\x10trace_flags=1024"));
});

test("modes: incomplete, flushed by id, force-expired, found corrupt", {}, async (w, t) => {
  const file = queueFile({ recipients: ["a@x.example"] });
  w.put("incoming", "D00001", file, 0o600);
  w.put("deferred", "D00002", file, 0o740);
  w.put("deferred", "D00003", file, 0o710);
  w.put("defer", "D00003", Buffer.from("x\n"), 0o600);
  t.equal(await w.feedAll(), 2);
  t.equal(fs.statSync("active/D00002").mode & 0o777, 0o700);
  t.ok(w.lines.includes("D00003: from=<sender@example.com>, status=force-expired, returned to sender"));
  t.ok(w.exists("incoming/D00001"));
  fs.chmodSync("active/D00002", 0o400);
  await w.deliver("smtp", () => "defer");
  t.ok(w.exists("corrupt/D00002"));
  t.ok(w.lines.includes('warning: saving corrupt file "D00002" from queue "active" to queue "corrupt"'));
});

test("still being delivered", {}, async (w, t) => {
  w.put("incoming", "E00001", queueFile({ recipients: ["a@x.example"] }));
  w.locked = true;
  t.equal(await w.feedAll(), 0);
  t.same(w.lines, ["E00001: skipped, still being delivered"]);
  t.equal(fs.statSync("incoming/E00001").mtimeMs / 1000, w.time.now() + 60);
});

test(
  "defer_transports, dead transport, redirect, content filter, null recipient",
  {
    settings: { deferTransports: new Set(["slow"]) },
    resolve: (address) => ({
      transport: address.startsWith("s") ? "slow" : address.startsWith("z") ? "dead" : "smtp",
      nexthop: "hop",
      recipient: address === "null@x" ? "" : address,
      flags: 4096,
    }),
  },
  async (w, t) => {
    w.manager.transport("dead").throttle({ status: "4.3.0", reason: "mail transport unavailable" });
    w.put("incoming", "F00001", queueFile({ recipients: ["s@x", "z@x", "null@x", "a@x"] }));
    w.put(
      "incoming",
      "F00002",
      queueFile({ recipients: ["p@x", "q@x"], extracted: [[Rec.REDIRECT, "other@y"]] }),
    );
    w.put(
      "incoming",
      "F00003",
      queueFile({ recipients: ["p@x"], extracted: [[Rec.FILTER, "scan:[127.0.0.1]:10025"]] }),
    );
    w.put("incoming", "F00004", queueFile({ recipients: ["p@x"], extracted: [[Rec.FILTER, "scan:"]] }));
    await w.feedAll();
    const describe = (entries: Entry[]): string[] =>
      entries
        .map(
          (entry) => `${entry.message.id} ${entry.recipients.map((r) => r.address)} ${entry.queue.nexthop}`,
        )
        .sort();
    t.same(describe(await w.deliver("retry", () => "defer")), [
      "F00001 s@x 4.3.2 deferred transport",
      "F00001 z@x 4.3.0 mail transport unavailable",
    ]);
    t.same(describe(await w.deliver("error")), ["F00001  5.1.3 null recipient address"]);
    t.same(describe(await w.deliver("smtp")), ["F00001 a@x hop", "F00002 other@y hop"]);
    t.same(describe(await w.deliver("scan")), ["F00003 p@x [127.0.0.1]:10025", "F00004 p@x x"]);
    w.time.advance(61);
  },
);

test(
  "more recipients than memory may hold are read in portions",
  {
    settings: { recipientLimit: 20, recipientMinimum: 10 },
    transport: { recipientLimit: 3, memoryLimit: 20, refillLimit: 5 },
  },
  async (w, t) => {
    const recipients = Array.from({ length: 137 }, (_, i) => `r${i}@d${i % 7}.example`);
    w.put(
      "incoming",
      "A00001",
      queueFile({
        recipients: recipients.slice(0, 100),
        extracted: recipients.slice(100).map((r) => [Rec.RECIPIENT, r] as const),
        count: 137,
      }),
    );
    w.put("incoming", "A00002", queueFile({ recipients: recipients.slice(0, 60) }));
    t.equal(await w.feedAll(), 2);
    let most = 0;
    const entries = await w.deliver("smtp", () => {
      most = Math.max(most, w.manager.recipientCount + w.manager.unassignedCount);
      return "ok";
    });
    t.ok(most <= 60, `at most ${most} in memory`);
    const seen = entries
      .filter((entry) => entry.message.id === "A00001")
      .flatMap((entry) => addresses([entry])[0] ?? []);
    t.equal(seen.length, 137);
    t.equal(new Set(seen).size, 137);
    t.equal(
      new Set(
        entries.filter((e) => e.message.id === "A00002").flatMap((e) => e.recipients.map((r) => r.address)),
      ).size,
      60,
    );
    t.ok(w.lines.includes("A00001: removed"));
    t.ok(w.lines.includes("A00002: removed"));
    t.notOk(w.lines.some((line) => line.startsWith("warning")));
  },
);

test("VERP: one recipient a delivery", {}, async (w, t) => {
  w.put("incoming", "A00003", queueFile({ recipients: ["a@x", "b@x"], envelope: [[Rec.VERP, "+="]] }));
  await w.feedAll();
  t.same(addresses(await w.deliver("smtp")), [["a@x"], ["b@x"]]);
});

test("one recipient a delivery: destinations by user", { transport: { recipientLimit: 1 } }, async (w, t) => {
  w.put("incoming", "A00004", queueFile({ recipients: ["Joe+ext@x", "bob@x"] }));
  await w.feedAll();
  t.same((await w.deliver("smtp")).map((entry) => entry.queue.name).sort(), ["bob@x", "joe@x"]);
});

for (const name of fs.readdirSync(new URL("../../vectors/qmgr/files", import.meta.url)))
  if (name.endsWith(".qf"))
    test(
      `real queue file ${name}`,
      { settings: { queueLifetime: 1e9, bounceLifetime: 1e9 } },
      async (w, t) => {
        const base = name.slice(0, -3);
        const facts = JSON.parse(
          fs.readFileSync(new URL(`../../vectors/qmgr/files/${base}.json`, import.meta.url), "utf8"),
        ) as {
          records: { type: string; text?: string; offset: number }[];
        };
        w.put("incoming", "ABCDE1", vector(base));
        t.equal(await w.feedAll(), 1);
        const entries = await w.deliver("smtp");
        const expected = facts.records.filter((record) => record.type === "R");
        t.same(
          entries.flatMap((entry) => entry.recipients.map((r) => `${r.offset} ${r.address}`)).sort(),
          expected.map((record) => `${record.offset} ${record.text}`).sort(),
        );
        t.notOk(
          w.lines.some((line) => line.includes("mismatch") || line.includes("rejected")),
          w.lines.join("\n"),
        );
        t.equal(w.lines.at(-1), "ABCDE1: removed");
      },
    );

test("QMG-02 damaged queue files never take the manager down", {}, async (w, t) => {
  const good = queueFile({ recipients: ["a@x.example", "b@y.example"] });
  let count = 0;
  const check = async (bytes: Buffer): Promise<void> => {
    const id = `M${String(count++).padStart(6, "0")}`;
    w.put("incoming", id, bytes);
    await w.feedAll();
    for (const transport of [...w.manager.transportByName.keys()]) await w.deliver(transport);
    await w.settle();
    if (w.manager.messageCount !== 0) t.fail(`message ${id} hangs`);
    if (!w.lines.some((line) => line.includes(id))) t.fail(`${id} vanished without a log line`);
    w.lines.length = 0;
  };
  for (let length = 0; length < good.length; length += 7) await check(good.subarray(0, length));
  for (let at = 0; at < good.length; at += 3) {
    const bytes = Buffer.from(good);
    bytes[at] = (bytes[at] ?? 0) ^ 0x55;
    await check(bytes);
  }
  t.ok(count > 100);
});

test("QMG-01 pointer loops end in corrupt", {}, async (w, t) => {
  const at = 97;
  const pointers = [
    String(at).padStart(15),
    "-5".padStart(15),
    "99999999".padStart(15),
    "0x10".padStart(15),
    "100".padStart(15),
  ];
  for (const [index, target] of pointers.entries()) {
    const file = queueFile({ recipients: ["a@x.example"], envelope: [[Rec.POINTER, target]] });
    w.put("incoming", `B0000${index}`, file);
  }
  t.equal(await w.feedAll(), 0);
  t.same(fs.readdirSync("corrupt").sort(), ["B00000", "B00001", "B00002", "B00003", "B00004"]);
});

test("recovery of the active queue", {}, async (w, t) => {
  w.put("active", "C00001", queueFile({ recipients: ["a@x.example"] }), 0o700, w.time.now() + 5000);
  fs.writeFileSync("active/bad.name", "");
  recoverActive(w.disk, w.time.now());
  t.ok(w.exists("incoming/C00001"));
  t.same(w.lines, ["warning: qmgr_move: ignored: queue active id bad.name"]);
  t.equal(await w.feedAll(), 1);
  await w.deliver("smtp");
});
