/** The requests of flush(8) on a queue directory. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import { add, type Flusher, refresh, sendFile, sendSite } from "../../../cmd/flush/flusher.ts";
import { logNameOf } from "../../../cmd/flush/log_name.ts";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { Queues } from "../../../lib/queue/directories.ts";

installConfiguration(configurationFromText(""));

interface World {
  readonly flusher: Flusher;
  readonly calls: string[];
  readonly lines: string[];
  now: number;
  deferred(id: string, mode?: number): void;
}

function test(name: string, body: (w: World, t: Test) => Promise<void>): void {
  t.test(name, async (t: Test) => {
    const before = process.cwd();
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "flush-test-"));
    process.chdir(directory);
    for (const queue of ["flush", "deferred", "incoming"]) fs.mkdirSync(queue);
    const queues = new Queues({ hashQueueNames: "deferred", hashQueueDepth: 1, longQueueIds: false });
    const calls: string[] = [];
    const lines: string[] = [];
    const sinks = setLogSinks([(event) => lines.push(event.text)]);
    const w: World = {
      calls,
      lines,
      now: Math.floor(Date.now() / 1000),
      flusher: {
        queues,
        lock: async () => {},
        eligible: async (site) => ({ kind: site.endsWith("denied.example") ? "none" : "match" }),
        refreshTime: 43200,
        purgeTime: 604800,
        unthrottle: async () => void calls.push("F"),
        scanIncoming: () => void calls.push("I"),
        now: () => w.now,
      },
      deferred(id, mode = 0o700) {
        const file = queues.path("deferred", id);
        fs.mkdirSync(path.dirname(file), { recursive: true });
        fs.writeFileSync(file, "x");
        fs.chmodSync(file, mode);
        fs.utimesSync(file, w.now + 4000, w.now + 4000);
      },
    };
    try {
      await body(w, t);
    } finally {
      setLogSinks(sinks);
      process.chdir(before);
      fs.rmSync(directory, { recursive: true });
    }
  });
}

t.test("names of logs", async (t) => {
  t.equal(logNameOf("sink.example"), "sink_example");
  t.equal(logNameOf("Sink.EXAMPLE"), "sink_example");
  t.equal(logNameOf("[10.0.0.1]"), "_10_0_0_1_");
  t.equal(logNameOf("../../etc/passwd"), "______etc_passwd");
  t.equal(logNameOf("b\xc3\xbccher.example"), "xn__bcher_kva_example");
  t.equal(logNameOf(""), undefined);
  t.equal(logNameOf("a".repeat(256)), undefined);
});

test("add, then send_site delivers each message once", async (w, t) => {
  w.deferred("4A0001");
  w.deferred("4A0002");
  for (const id of ["4A0001", "4A0002", "4A0001", "4A0003"])
    t.equal(await add(w.flusher, "sink.example", id), 0);
  t.equal(fs.readFileSync("flush/sink_example", "latin1"), "4A0001\n4A0002\n4A0001\n4A0003\n");
  t.equal(fs.statSync("flush/sink_example").mode & 0o777, 0o600);
  t.equal(await sendSite(w.flusher, "SINK.example"), 0);
  t.same(fs.readdirSync("incoming").sort(), ["4A0001", "4A0002"]);
  t.equal(fs.statSync("incoming/4A0001").mtimeMs / 1000, w.now);
  t.equal(fs.statSync("flush/sink_example").size, 0);
  t.same(w.calls, ["F", "I"]);
  t.equal(await sendSite(w.flusher, "other.example"), 0);
  t.same(w.calls, ["F", "I"], "nothing to do without a log");
});

test("bad and denied parameters", async (w, t) => {
  t.equal(await add(w.flusher, "denied.example", "4A0001"), 4);
  t.equal(await sendSite(w.flusher, "denied.example"), 4);
  t.equal(await add(w.flusher, "sink.example", "../x"), 3);
  t.equal(await add(w.flusher, "", "4A0001"), 3);
  t.equal(sendFile(w.flusher, "a/b"), 3);
  t.same(fs.readdirSync("flush"), []);
});

test("send_file sets the unthrottle bit", async (w, t) => {
  w.deferred("4A0001");
  w.deferred("4A0002", 0o400);
  t.equal(sendFile(w.flusher, "4A0001"), 0);
  t.equal(fs.statSync("incoming/4A0001").mode & 0o777, 0o740);
  t.equal(sendFile(w.flusher, "4A0002"), 0);
  t.ok(fs.existsSync("deferred/4/4A0002"), "a file that is not complete stays");
  t.equal(sendFile(w.flusher, "4A0009"), 0, "no such message");
  t.same(w.calls, ["I"]);
});

test("bad lines are skipped with a warning", async (w, t) => {
  w.deferred("4A0001");
  fs.writeFileSync("flush/sink_example", "../../etc\n4A0001");
  await sendSite(w.flusher, "sink.example");
  t.same(w.lines, ['bad queue id "../../etc..." in fast flush logfile sink_example']);
  t.same(fs.readdirSync("incoming"), ["4A0001"]);
});

test("refresh: old logs are delivered, old empty ones removed", async (w, t) => {
  w.deferred("4A0001");
  await add(w.flusher, "sink.example", "4A0001");
  await refresh(w.flusher, w.flusher.refreshTime);
  t.same(w.calls, []);
  w.now += 43210;
  await refresh(w.flusher, w.flusher.refreshTime);
  t.same(w.calls, ["I"], "without unthrottling");
  t.equal(fs.statSync("flush/sink_example").size, 0);
  w.now += 604800;
  await refresh(w.flusher, w.flusher.refreshTime);
  t.same(fs.readdirSync("flush"), []);
});
