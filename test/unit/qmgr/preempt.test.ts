/** Replays the scheduling decisions of a real queue manager (test/vectors/qmgr/preempt_trace.txt, queue.md 24.8). */
import { readFileSync } from "node:fs";
import t from "tap";
import type { Entry } from "../../../cmd/qmgr/entry.ts";
import { finishEntry, selectEntry } from "../../../cmd/qmgr/scheduler.ts";
import { setLogSinks, setVerbosity } from "../../../lib/log/log.ts";
import { feed, fixture } from "./fixture.ts";

t.test("the captured trace", async (t) => {
  const lines: string[] = [];
  const sinks = setLogSinks([(event) => lines.push(event.text)]);
  setVerbosity(2);
  t.teardown(() => {
    setLogSinks(sinks);
    setVerbosity(0);
  });
  const world = fixture({ recipientLimit: 2, concurrencyLimit: 1, initialConcurrency: 1 });
  const transport = world.manager.transport("slow");
  feed(world, "A", 30);
  let busy: Entry | undefined = selectEntry(world.manager, transport);
  world.time.advance(0.3);
  feed(world, "B", 4);
  feed(world, "C", 8);
  feed(world, "D", 2);
  let deliveries = 0;
  while (busy !== undefined) {
    world.time.advance(1);
    busy.queue.unthrottle();
    finishEntry(world.manager, busy);
    deliveries++;
    busy = selectEntry(world.manager, transport);
  }
  const expected = readFileSync(new URL("../../vectors/qmgr/preempt_trace.txt", import.meta.url), "latin1");
  t.same(lines, expected.trimEnd().split("\n"));
  t.equal(deliveries, 22);
  t.same(
    world.finished.map((message) => message.id),
    ["D", "B", "A", "C"],
  );
  t.equal(world.manager.recipientCount, 0);
  t.equal(world.manager.queueCount, 0);
  t.equal(transport.jobs.length, 0);
  t.equal(transport.jobsByTime.length, 0);
  t.equal(transport.deliverable, 0);
  t.equal(transport.unusedSlots, 20000 + 4 * 0, "all recipient slots came back");
});
