/** Triggers, scans, the fairness between the queues, and the clock. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { SlewedClock } from "../../../cmd/qmgr/clock.ts";
import { Deliverer } from "../../../cmd/qmgr/deliver.ts";
import { Disk } from "../../../cmd/qmgr/disk.ts";
import { MainLoop } from "../../../cmd/qmgr/loop.ts";
import { Scan } from "../../../cmd/qmgr/scan.ts";
import { applyTriggers, readTriggers } from "../../../cmd/qmgr/triggers.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { Queues } from "../../../lib/queue/directories.ts";
import { fixture } from "./fixture.ts";

const directory = fs.mkdtempSync(path.join(os.tmpdir(), "qmgr-scan-"));
process.chdir(directory);
t.teardown(() => {
  process.chdir("/");
  fs.rmSync(directory, { recursive: true });
});
const disk = new Disk(
  new Queues({ hashQueueNames: "deferred", hashQueueDepth: 1, longQueueIds: false }),
  () => true,
);
const fill = (folder: string, names: ReadonlyArray<string>): void => {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  for (const name of names) fs.writeFileSync(`${folder}/${name}`, "");
};
const rest = (scan: Scan): string[] => {
  const names: string[] = [];
  for (let id = scan.next(); id !== undefined; id = scan.next()) names.push(id);
  return names.sort();
};

t.test("letters", async (t) => {
  t.same(readTriggers("FADI\0"), { incoming: true, deferred: true, flush: true, all: true });
  t.same(readTriggers("W"), { incoming: true, deferred: false, flush: false, all: false });
  t.same(readTriggers("zx\xff\0"), { incoming: false, deferred: false, flush: false, all: false });
});

t.test("a scan walks hash directories and skips what is no queue ID", async (t) => {
  fill("deferred/A", ["AAAA1", "AAAA2"]);
  fs.mkdirSync("deferred/B");
  fs.writeFileSync("deferred/B/BBBB1", "");
  fs.writeFileSync("deferred/123456.789", "");
  fs.writeFileSync("deferred/0", "a file where only a directory can be (QMG-07)");
  const scan = new Scan("deferred", disk);
  t.equal(scan.next(), undefined, "not before it is started");
  const lines: string[] = [];
  const sinks = setLogSinks([(event) => lines.push(event.text)]);
  scan.request({ start: true });
  t.same(rest(scan), ["AAAA1", "AAAA2", "BBBB1"]);
  setLogSinks(sinks);
  t.same(lines, ["open directory deferred/0: Not a directory"]);
  t.notOk(scan.inProgress);
});

t.test("flags wait for the next start; a start during a scan starts another one", async (t) => {
  fill("incoming", ["AAAA1", "AAAA2"]);
  const scan = new Scan("incoming", disk);
  scan.request({ all: true });
  t.notOk(scan.inProgress);
  scan.request({ start: true });
  t.ok(scan.flags.all);
  scan.next();
  scan.request({ start: true, flushDeferTransports: true });
  t.ok(scan.flags.flushDeferTransports, "also for the scan in progress");
  t.equal(rest(scan).length, 3, "the last one, and both again");
  scan.request({ start: true });
  t.same(scan.flags, { all: false, flushDeferTransports: false });
  t.equal(rest(scan).length, 2);
});

t.test(
  "incoming and deferred take turns; when there is no room, the next place is for incoming",
  async (t) => {
    fill("incoming", ["I00001", "I00002", "I00003", "I00004"]);
    fs.rmSync("deferred", { recursive: true });
    fill("deferred/D", ["D00001", "D00002", "D00003", "D00004", "D00005", "D00006"]);
    const world = fixture({}, { activeLimit: 6 });
    const { manager } = world;
    const incoming = new Scan("incoming", disk);
    const deferred = new Scan("deferred", disk);
    const fed: string[] = [];
    const pending: (() => void)[] = [];
    const flow = {
      count: 100,
      tokens: () => flow.count,
      add: (n: number) => {
        flow.count += n;
      },
      remove: (n: number) => {
        flow.count -= n;
      },
    };
    const loop = new MainLoop({
      deliverer: new Deliverer(manager, () => {}),
      incoming,
      deferred,
      flow,
      feed: (scan, id) => {
        fed.push(scan.queue.charAt(0));
        manager.messageCount++;
        t.ok(id);
        return true;
      },
      assigning: () => 0,
      soon: (action) => void pending.push(action),
      milliseconds: () => 0,
    });
    const turn = (): void => {
      loop.wake();
      for (let action = pending.shift(); action !== undefined; action = pending.shift()) action();
    };
    applyTriggers(manager, incoming, deferred, "ID");
    flow.count = 95;
    turn();
    t.same(fed.join(""), "ididid");
    t.equal(flow.count, 98, "a token for each incoming message");
    manager.messageCount--;
    turn();
    t.same(fed.join(""), "idididi");
    manager.messageCount = 0;
    turn();
    t.same(fed.join(""), "ididididdd");
    t.equal(flow.count, 100, "all tokens when the incoming queue is empty");
    flow.count = 130;
    turn();
    t.equal(flow.count, 100);
  },
);

t.test("DUR-05 time never runs backwards", async (t) => {
  const lines: string[] = [];
  const sinks = setLogSinks([(event) => lines.push(event.text)]);
  let system = 1_000_000_000;
  const clock = new SlewedClock(() => system);
  t.equal(clock.now(), 1_000_000);
  system -= 100_000;
  t.equal(clock.now(), 1_000_000);
  system += 100_000;
  t.equal(clock.now(), 1_000_050, "at half speed");
  system += 100_000;
  t.equal(clock.now(), 1_000_100, "until the clock has caught up");
  system += 1000;
  t.equal(clock.now(), 1_000_101);
  setLogSinks(sinks);
  t.same(lines, [
    "backward time jump detected -- slewing clock",
    "backward time jump recovered -- back to normality",
  ]);
});
