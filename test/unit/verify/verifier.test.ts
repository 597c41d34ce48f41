/** What verify(8) knows, for how long, and when it asks. */
import { readFileSync } from "node:fs";
import t from "tap";
import { formatEntry, parseEntry } from "../../../cmd/verify/entry.ts";
import { Verifier } from "../../../cmd/verify/verifier.ts";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { CacheDatabase } from "../../../lib/tables/cache.ts";
import { CacheSweep } from "../../../lib/tables/cache_sweep.ts";
import { type LookupResult, RETRY, type Table } from "../../../lib/tables/table.ts";

const DAY = 86400;
const BASE = "myhostname = h.example\nmydomain = example\nmail_owner = root\nsetgid_group = root\n";

class MemoryTable {
  readonly name = "memory:cache";
  readonly entries = new Map<string, string>();
  broken = false;
  lookup(key: string): Promise<LookupResult> {
    if (this.broken) return Promise.resolve(RETRY);
    const value = this.entries.get(key);
    return Promise.resolve(value === undefined ? { kind: "absent" } : { kind: "found", value });
  }
  update(key: string, value: string) {
    if (this.broken) return Promise.resolve(RETRY);
    this.entries.set(key, value);
    return Promise.resolve({ kind: "done" } as const);
  }
  remove(key: string) {
    return Promise.resolve({ kind: this.entries.delete(key) ? "done" : "unchanged" } as const);
  }
  #cursor: Iterator<[string, string]> | undefined;
  sequence(position: "first" | "next") {
    if (position === "first") this.#cursor = this.entries.entries();
    const next = this.#cursor?.next();
    return Promise.resolve(
      next === undefined || next.done === true
        ? ({ kind: "absent" } as const)
        : ({ kind: "found", key: next.value[0], value: next.value[1] } as const),
    );
  }
}

function fixture(settings = "") {
  installConfiguration(configurationFromText(BASE + settings));
  const table = new MemoryTable();
  const cache = new CacheDatabase(table as unknown as Table);
  const probes: string[] = [];
  const clock = { now: 1_800_000_000 };
  const verifier = new Verifier({
    cache,
    probe: (address) => {
      probes.push(address);
      return Promise.resolve();
    },
    now: () => clock.now,
  });
  return { table, cache, probes, clock, verifier };
}

const UNKNOWN = { status: 0, recipientStatus: 3, reason: "Address verification in progress" };

t.test("the conversation with a real verify", async (t) => {
  const { verifier, probes } = fixture();
  const vector = JSON.parse(
    readFileSync(new URL("../../vectors/delivery/verify-conversation.json", import.meta.url), "utf8"),
  ) as Array<{
    client?: Array<[string, string]>;
    server: Array<[string, string]>;
  }>;
  // what was known before, and what the probe's delivery agent says
  await verifier.update("games@example.com", 0, "delivers to mailbox");
  const known = new Set<string>();
  for (const { client, server } of vector) {
    const request = new Map(client ?? []);
    const expected = new Map(server);
    const address = request.get("address") ?? "";
    if (request.get("request") === "query") {
      if (known.has(address)) await verifier.update(address, 2, expected.get("reason") ?? "");
      known.add(address);
      t.same(await verifier.query(address), {
        status: Number(expected.get("status")),
        recipientStatus: Number(expected.get("recipient_status")),
        reason: expected.get("reason"),
      });
    } else if (request.get("request") === "update")
      t.equal(
        await verifier.update(address, Number(request.get("recipient_status")), request.get("reason") ?? ""),
        0,
      );
  }
  t.same(probes, ["nosuchz@example.com"]);
});

t.test("one probe, however many ask at once", async (t) => {
  const { verifier, probes, clock, table } = fixture();
  const answers = await Promise.all(Array.from({ length: 20 }, () => verifier.query("a@b")));
  t.same(new Set(answers.map((answer) => JSON.stringify(answer))).size, 1);
  t.same(answers[0], UNKNOWN);
  t.same(probes, ["a@b"]);
  t.equal(table.entries.get("a@b"), `3:${clock.now}:0:Address verification in progress`);
  clock.now += 1000;
  await verifier.query("a@b");
  t.equal(probes.length, 1, "its answer is waited for");
  clock.now += 1;
  t.same(await verifier.query("a@b"), UNKNOWN);
  t.equal(probes.length, 2, "and then no longer");
});

t.test("refresh and expiry", async (t) => {
  const { verifier, probes, clock } = fixture();
  await verifier.update("good@b", 0, "fine");
  await verifier.update("bad@b", 2, "no such user");
  await verifier.update("late@b", 1, "not now");
  clock.now += 3 * 3600;
  t.equal((await verifier.query("bad@b")).recipientStatus, 2);
  t.same(probes, [], "not yet due");
  clock.now += 1;
  t.equal((await verifier.query("bad@b")).recipientStatus, 2, "the old answer while the probe is on its way");
  t.equal((await verifier.query("late@b")).recipientStatus, 1);
  t.equal((await verifier.query("good@b")).recipientStatus, 0);
  t.same(probes, ["bad@b", "late@b"]);
  await verifier.update("bad@b", 0, "now there is");
  t.same(await verifier.query("bad@b"), { status: 0, recipientStatus: 0, reason: "now there is" });
  clock.now += 3 * DAY;
  t.same(await verifier.query("late@b"), UNKNOWN, "expired");
  clock.now += 4 * DAY;
  probes.length = 0;
  t.equal((await verifier.query("good@b")).recipientStatus, 0);
  t.same(probes, ["good@b"]);
  await verifier.update("good@b", 2, "gone");
  t.equal(
    (await verifier.query("good@b")).recipientStatus,
    0,
    "a bad result leaves a good one to its expiry",
  );
  clock.now += 31 * DAY;
  t.same(await verifier.query("good@b"), UNKNOWN);
});

t.test("without negative caching nothing of the kind is stored", async (t) => {
  const { verifier, probes, table, clock } = fixture("address_verify_negative_cache = no\n");
  t.same(await verifier.query("a@b"), UNKNOWN);
  t.equal(table.entries.size, 0);
  await verifier.query("a@b");
  t.equal(probes.length, 2, "each query probes");
  table.entries.set("old@b", `2:0:${clock.now - 10 * DAY}:gone`);
  t.same(await verifier.query("old@b"), UNKNOWN);
  t.notOk(table.entries.has("old@b"), "an expired entry is deleted");
});

t.test("QMG-12 trouble with the cache is no answer, and sends no probe", async (t) => {
  const { verifier, probes, table } = fixture();
  table.broken = true;
  t.same(await verifier.query("a@b"), {
    status: 0,
    recipientStatus: 1,
    reason: "Address verification status unavailable",
  });
  t.same(probes, []);
});

t.test("keys and values are safe", async (t) => {
  const { verifier, table, clock } = fixture();
  await verifier.update("u@[v6:1]", 2, "line\nfeed \x01 and : colons");
  t.same([...table.entries], [["u@[v6_1]", `2:0:${clock.now}:line?feed ? and : colons`]]);
  t.same(await verifier.query("u@[v6:1]"), {
    status: 0,
    recipientStatus: 2,
    reason: "line?feed ? and : colons",
  });
  t.equal(await verifier.update("a@b", 3, "x"), -2);
  t.equal(await verifier.update("a@b", -1, "x"), -2);
  for (const bad of [
    "",
    "x",
    "0:0:0",
    "4:0:0:x",
    "-1:0:0:x",
    "0:x:0:y",
    "0:0:1e3:y",
    "99999999999999999999:0:0:x",
  ]) {
    t.equal(parseEntry(bad), undefined, JSON.stringify(bad));
    table.entries.set("bad@b", bad);
    t.same(await verifier.query("bad@b"), UNKNOWN);
  }
  t.equal(
    formatEntry(parseEntry("0:1:2:a:b") ?? { status: 9, probed: 0, updated: 0, text: "" }),
    "0:1:2:a:b",
  );
});

t.test("sweeping the cache", async (t) => {
  const { table, cache, clock } = fixture();
  for (let index = 0; index < 100; index++) table.entries.set(`k${index}`, index % 3 === 0 ? "old" : "new");
  const saved: string[] = [];
  const sweep = new CacheSweep(
    cache,
    {
      interval: 3600,
      keep: (key, value) => {
        if (value === "old" && key === "k30") {
          // while it is condemned, lookups do not find it, and an update saves it
          queueMicrotask(() => {
            saved.push("");
          });
        }
        return value === "new";
      },
    },
    () => clock.now,
  );
  await sweep.run();
  sweep.stop();
  t.equal([...table.entries.values()].filter((value) => value === "old").length, 0);
  t.equal(table.entries.get("_LAST_CACHE_CLEANUP_COMPLETED_"), String(clock.now));
  t.equal(table.entries.size, 67);
  table.entries.set("doomed", "old");
  cache.doom("doomed");
  t.same(await cache.lookup("doomed"), { kind: "absent" });
  await cache.update("doomed", "new");
  t.equal(await cache.removeDoomed("doomed"), false);
  t.equal(table.entries.get("doomed"), "new");
});

t.test("IPC-17 sweeping while entries come and go visits all that stay, and ends", async (t) => {
  for (const size of [0, 1, 2, 3000]) {
    const { table, cache } = fixture();
    for (let index = 0; index < size; index++)
      table.entries.set(`k${index}`, index % 3 === 0 ? "old" : "new");
    const visited = new Set<string>();
    let added = 0;
    const sweep = new CacheSweep(cache, {
      interval: 0,
      keep: (key, value) => {
        const index = Number(key.slice(1));
        visited.add(key);
        // the present, the next and the last entry go, others come
        if (index % 7 === 0) table.entries.delete(key);
        if (index % 11 === 0) table.entries.delete(`k${index + 1}`);
        if (index === 5) table.entries.delete(`k${size - 1}`);
        if (added < 50) table.entries.set(`n${added++}`, "new");
        return value === "new";
      },
    });
    await sweep.run();
    sweep.stop();
    const left = [...table.entries.keys()].filter((key) => key.startsWith("k"));
    t.same(
      left.filter((key) => !visited.has(key)),
      [],
      `${size}: each one that stays was seen`,
    );
    t.same(
      left.filter((key) => table.entries.get(key) === "old"),
      [],
      `${size}: what is old is gone`,
    );
  }
});
