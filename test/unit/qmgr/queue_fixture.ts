/** A queue directory on disk with a queue manager over it; agents and services are the test's. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Resolution } from "../../../cmd/qmgr/bind.ts";
import { Disk } from "../../../cmd/qmgr/disk.ts";
import type { Entry } from "../../../cmd/qmgr/entry.ts";
import { type Feeder, feedMessage, refillMessage } from "../../../cmd/qmgr/feed.ts";
import { finishMessage, type Notices } from "../../../cmd/qmgr/finish.ts";
import { Manager } from "../../../cmd/qmgr/manager.ts";
import type { Message } from "../../../cmd/qmgr/message.ts";
import { Scan } from "../../../cmd/qmgr/scan.ts";
import { finishEntry, selectEntry } from "../../../cmd/qmgr/scheduler.ts";
import type { Settings, TransportSettings } from "../../../cmd/qmgr/settings.ts";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { Queues } from "../../../lib/queue/directories.ts";
import { FakeTime, SETTINGS, TRANSPORT } from "./fixture.ts";

export const vector = (name: string): Buffer =>
  fs.readFileSync(new URL(`../../vectors/qmgr/files/${name}.qf`, import.meta.url));

export interface World {
  readonly directory: string;
  readonly manager: Manager;
  readonly time: FakeTime;
  readonly disk: Disk;
  readonly incoming: Scan;
  readonly deferred: Scan;
  readonly lines: string[];
  readonly calls: string[];
  /** Results of the notices asked for next; true when empty. */
  readonly noticeResults: boolean[];
  readonly questions: string[];
  locked: boolean;
  readonly active: Set<Message>;
  put(queue: string, id: string, bytes: Buffer, mode?: number, modified?: number): void;
  exists(file: string): boolean;
  /** Feeds all that both scans find. */
  feedAll(): Promise<number>;
  /** Delivers what a transport selects until nothing is left; `status` decides about the message. */
  deliver(transport: string, outcome?: (entry: Entry) => "ok" | "defer"): Promise<Entry[]>;
  settle(): Promise<void>;
  close(): void;
}

export interface WorldOptions {
  readonly settings?: Partial<Settings>;
  readonly transport?: Partial<TransportSettings>;
  readonly transportFor?: (name: string) => TransportSettings;
  readonly resolve?: (address: string, sender: string, probe: boolean) => Resolution;
}

export function world(options: WorldOptions = {}): World {
  installConfiguration(configurationFromText("myhostname = mail.example.com\n"));
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "qmgr-test-"));
  const before = process.cwd();
  process.chdir(directory);
  for (const name of ["incoming", "active", "deferred", "bounce", "defer", "trace", "corrupt", "hold"])
    fs.mkdirSync(name);
  const time = new FakeTime();
  time.seconds = Math.floor(Date.now() / 1000) + 1;
  const lines: string[] = [];
  const calls: string[] = [];
  const noticeResults: boolean[] = [];
  const questions: string[] = [];
  const sinks = setLogSinks([
    (event) => lines.push(event.level === "info" ? event.text : `${event.level}: ${event.text}`),
  ]);
  const disk = new Disk(
    new Queues({ hashQueueNames: "deferred, defer", hashQueueDepth: 1, longQueueIds: false }),
    () => !made.locked,
  );
  const notice = async (call: string): Promise<boolean> => {
    calls.push(call);
    return noticeResults.shift() ?? true;
  };
  const notices: Notices = {
    flush: (service, envelope) => notice(`flush ${service} ${envelope.queueId} flags=${envelope.flags}`),
    flushVerp: (service, envelope, delimiters) => notice(`verp ${service} ${envelope.queueId} ${delimiters}`),
    warn: (envelope) => notice(`warn ${envelope.queueId}`),
    trace: (envelope) => notice(`trace ${envelope.queueId} flags=${envelope.flags}`),
  };
  const resolve =
    options.resolve ??
    ((address: string): Resolution => ({
      transport: "smtp",
      nexthop: address.slice(address.lastIndexOf("@") + 1),
      recipient: address,
      flags: 4096,
    }));
  const active = new Set<Message>();
  const manager: Manager = new Manager({ ...SETTINGS, ...options.settings }, time, time, {
    transportSettings: options.transportFor ?? (() => ({ ...TRANSPORT, ...options.transport })),
    refill: (message) => void refillMessage(feeder, message),
    finish: (message) =>
      void finishMessage({ manager, disk, notices, refill: (m) => refillMessage(feeder, m) }, message),
    deferDirectly: (message, recipients, cause) => {
      message.hasProblems = true;
      for (const { address } of recipients) calls.push(`defer ${address} ${cause.status}`);
    },
    wake: () => {},
  });
  const feeder: Feeder = {
    manager,
    disk,
    resolver: {
      resolve: async (sender, address, probe) => {
        questions.push(`${probe ? "verify" : "resolve"} ${sender} ${address}`);
        return resolve(address, sender, probe);
      },
      canonicalize: async (address) => (address.includes("@") ? address : `${address}@smtp.example`),
    },
    extensionRules: { delimiters: "+", ownerRequestSpecial: true, doubleBounceSender: "double-bounce" },
    discardNotice: async (message, recipient) => {
      calls.push(`discard ${message.id} ${recipient.address}`);
    },
  };
  const made: World = {
    directory,
    manager,
    time,
    disk,
    incoming: new Scan("incoming", disk),
    deferred: new Scan("deferred", disk),
    lines,
    calls,
    noticeResults,
    questions,
    locked: false,
    active,
    put(queue, id, bytes, mode = 0o700, modified = time.now() - 10) {
      const file = disk.queues.path(queue, id);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, bytes);
      fs.chmodSync(file, mode);
      fs.utimesSync(file, modified, modified);
    },
    exists: (file) => fs.existsSync(file),
    async feedAll() {
      let fed = 0;
      for (const scan of [made.incoming, made.deferred]) {
        scan.request({ start: true });
        for (let id = scan.next(); id !== undefined; id = scan.next())
          if (feedMessage(feeder, scan, id)) fed++;
      }
      await made.settle();
      return fed;
    },
    async deliver(transport, outcome = () => "ok") {
      const done: Entry[] = [];
      for (;;) {
        const entry = selectEntry(manager, manager.transport(transport));
        if (entry === undefined) {
          // Recipients may still be resolved.
          await made.settle();
          if (manager.transport(transport).deliverable === 0) return done;
          continue;
        }
        done.push(entry);
        if (outcome(entry) === "defer") entry.message.hasProblems = true;
        finishEntry(manager, entry);
        await made.settle();
      }
    },
    settle: async () => {
      for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
    },
    close() {
      setLogSinks(sinks);
      process.chdir(before);
      fs.rmSync(directory, { recursive: true, force: true });
    },
  };
  return made;
}
