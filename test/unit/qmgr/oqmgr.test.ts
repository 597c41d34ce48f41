/** The queue manager of old: no message overtakes another, destinations take turns, recipients are read when those before are done (queue.md 30). */
import t from "tap";
import type { Entry } from "../../../cmd/qmgr/entry.ts";
import { finishEntry, selectEntry } from "../../../cmd/qmgr/scheduler.ts";
import { feed, fixture } from "./fixture.ts";
import { world } from "./queue_fixture.ts";
import { queueFile } from "./queue_fixture_file.ts";

t.test("oqmgr: messages of a destination in the order in which they came", async (t) => {
  const made = fixture(
    { recipientLimit: 2, concurrencyLimit: 1, initialConcurrency: 1 },
    { preemptive: false },
  );
  const { manager, time } = made;
  const transport = manager.transport("slow");
  feed(made, "A", 40);
  let busy: Entry | undefined = selectEntry(manager, transport);
  feed(made, "B", 2);
  feed(made, "C", 4);
  while (busy !== undefined) {
    time.advance(1);
    busy.queue.unthrottle();
    finishEntry(manager, busy);
    busy = selectEntry(manager, transport);
  }
  t.same(
    made.finished.map((message) => message.id),
    ["A", "B", "C"],
  );
  t.equal(manager.recipientCount, 0);
  t.equal(manager.queueCount, 0);
  t.equal(transport.deliverable, 0);
});

t.test("oqmgr: destinations take turns, new ones last", async (t) => {
  const made = fixture({ recipientLimit: 1 }, { preemptive: false });
  const { manager } = made;
  const transport = manager.transport("slow");
  feed(made, "A", 6, "slow", (index) => (index < 4 ? "one" : "two"));
  const order: string[] = [];
  const take = (): void => {
    const entry = selectEntry(manager, transport);
    if (entry === undefined) return;
    order.push(`${entry.message.id} ${entry.queue.name}`);
    finishEntry(manager, entry);
  };
  take();
  take();
  feed(made, "B", 1, "slow", () => "three");
  for (let round = 0; round < 6; round++) take();
  t.same(order, ["A one", "A two", "A one", "A two", "B three", "A one", "A one"]);
});

t.test("oqmgr: a portion of the recipients, and the next when these are done", async (t) => {
  const w = world({ settings: { preemptive: false, portion: 2 } });
  try {
    const recipients = ["a", "b", "c", "d", "e"].map((name) => `${name}@x.example`);
    w.put("incoming", "4A1B2C0001", queueFile({ recipients }));
    await w.feedAll();
    t.equal(w.manager.recipientCount, 2);
    const entries = await w.deliver("smtp");
    t.same(
      entries.map((entry) => entry.recipients.length),
      [2, 2, 1],
    );
    await w.settle();
    t.notOk(w.exists("active/4A1B2C0001"));
    t.equal(w.manager.recipientCount, 0);
  } finally {
    w.close();
  }
});
