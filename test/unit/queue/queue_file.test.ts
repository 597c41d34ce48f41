import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { setLogSinks } from "../../../lib/log/log.ts";
import { Queues } from "../../../lib/queue/directories.ts";
import { type FileSystem, fileSystem } from "../../../lib/queue/file_system.ts";
import { formatLogEntry, type LogEntry } from "../../../lib/queue/log_entry.ts";
import { appendLog } from "../../../lib/queue/log_file.ts";
import { readLog } from "../../../lib/queue/log_reader.ts";
import { createQueueFile } from "../../../lib/queue/queue_file.ts";
import { inodeOf, type QueueId } from "../../../lib/queue/queue_id.ts";
import { encodeRecord, Rec } from "../../../lib/queue/records.ts";
import { QueueScan } from "../../../lib/queue/scan.ts";

const home = process.cwd();
const logs = join(import.meta.dirname, "../../vectors/queue/logs");
const scratch = mkdtempSync(join(tmpdir(), "posthaste-queue-"));
process.chdir(scratch);
process.umask(0o022);
for (const queue of ["incoming", "maildrop", "deferred", "defer", "bounce", "hold"]) mkdirSync(queue);
t.teardown(() => {
  process.chdir(home);
  rmSync(scratch, { recursive: true });
});
const settings = { hashQueueNames: "deferred, defer", hashQueueDepth: 1, longQueueIds: false };
/** Node has no flock: the tests do without. */
const base: FileSystem = { ...fileSystem, tryLock: () => true };
const capture = async (run: () => Promise<void>): Promise<string[]> => {
  const lines: string[] = [];
  const before = setLogSinks([(event) => lines.push(event.text)]);
  await run();
  setLogSinks(before);
  return lines;
};
const failing = (name: keyof FileSystem, code: string, times = 1): FileSystem => {
  let left = times;
  const original = base[name] as (...values: unknown[]) => unknown;
  return {
    ...base,
    [name]: (...values: unknown[]) => {
      if (left-- > 0) {
        const error = Object.assign(new Error(code), { code });
        if (name === "fsync") return Promise.reject(error);
        throw error;
      }
      return original(...values);
    },
  };
};

t.test("a file is created, written, committed", async (t) => {
  const queues = new Queues(settings, base);
  const paths: string[] = [];
  const file = await createQueueFile(queues, "maildrop", {
    extraMode: 0o444,
    onPath: (path) => paths.push(path),
  });
  t.match(paths[0], /^maildrop\/[0-9]+\.[0-9]+$/);
  t.equal(paths[1], `maildrop/${file.id}`);
  t.equal(statSync(file.path).mode & 0o7777, 0o644);
  t.equal(inodeOf(file.id), BigInt(statSync(file.path).ino));
  t.equal(queues.openable("maildrop", file.id), undefined, "not complete yet");
  file.writer.put(Rec.FROM, "a@b");
  t.equal(file.writer.putAttribute("encoding", "8bit"), 5);
  t.same(await file.commit(), { status: 0 });
  t.equal(statSync(file.path).mode & 0o7777, 0o744);
  t.ok(
    readFileSync(file.path).equals(
      Buffer.concat([encodeRecord(Rec.FROM, "a@b"), encodeRecord(Rec.ATTRIBUTE, "encoding=8bit")]),
    ),
  );
  t.ok(queues.openable("maildrop", file.id));
  queues.move(file.id, "maildrop", "deferred");
  t.same(readdirSync(`deferred/${file.id[0]}`), [file.id]);
  queues.setTime("deferred", file.id, 1_900_000_000);
  t.equal(queues.status("deferred", file.id)?.modified, 1_900_000_000);
  t.ok(queues.remove("deferred", file.id));
  t.notOk(queues.remove("deferred", file.id));
});

t.test("DUR-01 a failure of any call of the commit is reported, and the descriptor is closed", async (t) => {
  for (const [call, code, status] of [
    ["write", "ENOSPC", 2],
    ["write", "EFBIG", 4],
    ["fchmod", "EIO", 2],
    ["fsync", "EIO", 2],
  ] as const) {
    const queues = new Queues(settings, failing(call, code));
    const file = await createQueueFile(queues, "incoming");
    file.writer.put(Rec.END);
    const result = await file.commit();
    t.equal(result.status, status, `${call} ${code}`);
    t.throws(() => base.fstat(file.fd), { code: "EBADF" });
    file.discard();
    t.same(readdirSync("incoming"), []);
  }
});

t.test("creation tries again", async (t) => {
  const lines = await capture(async () => {
    const queues = new Queues(settings, failing("open", "ENOSPC"));
    (await createQueueFile(queues, "incoming", { retryPause: 0.01 })).discard();
  });
  t.match(lines[0], /^mail_queue_enter: create file incoming\/[0-9]+\.[0-9]+: No space left on device$/);
  const again = await capture(async () => {
    const queues = new Queues(settings, failing("rename", "EPERM", 3));
    (await createQueueFile(queues, "incoming")).discard();
  });
  t.same(again, []);
});

t.test("DUR-06 rename believes the outcome", async (t) => {
  writeFileSync("incoming/AAAAA1", "");
  const spurious: FileSystem = {
    ...base,
    rename: (from, to) => {
      base.rename(from, to);
      throw Object.assign(new Error("EIO"), { code: "EIO" });
    },
  };
  const lines = await capture(async () => {
    new Queues(settings, spurious).move("AAAAA1" as QueueId, "incoming", "hold");
  });
  t.same(lines, ["sane_rename(incoming/AAAAA1,hold/AAAAA1): worked around spurious NFS error"]);
  rmSync("hold/AAAAA1");
});

t.test("the scan enters hash directories and gives every file once", async (t) => {
  const names = Array.from(
    { length: 300 },
    (_, n) => `${(n * 7919).toString(16).toUpperCase().padStart(5, "0")}1`,
  );
  const queues = new Queues({ ...settings, hashQueueDepth: 2 }, base);
  for (const name of names) {
    queues.makeDirectories(queues.path("deferred", name));
    writeFileSync(queues.path("deferred", name), "");
  }
  const found: string[] = [];
  const left: number[] = [];
  const scan = new QueueScan("deferred", { onLeave: (_, depth) => left.push(depth) });
  for (let name = scan.next(); name !== undefined; name = scan.next()) {
    t.ok(scan.directory.startsWith("deferred/"));
    found.push(name);
  }
  t.same(found.sort(), names.sort());
  t.ok(left.includes(1) && left.includes(2));
});

const entry: LogEntry = {
  recipient: "x10@burst.example",
  originalRecipient: "",
  offset: 633,
  dsnOriginalRecipient: "rfc822;x10@burst.example",
  notifyFlags: 0,
  status: "4.4.2",
  action: "delayed",
  diagnosticType: "",
  diagnosticText: "",
  mtaType: "",
  mtaName: "",
  reason: "lost connection with 127.0.0.1[127.0.0.1] while sending MAIL FROM",
};

t.test("log files", async (t) => {
  t.equal(formatLogEntry(entry, true), readFileSync(join(logs, "defer_log_one"), "latin1"));
  const queues = new Queues(settings, base);
  const id = "ABCDE123" as QueueId;
  const options = { oldStyle: true, lockAttempts: 2, lockDelay: 0.01 };
  const second = {
    ...entry,
    recipient: "y@z",
    originalRecipient: "Y2@z",
    notifyFlags: 4,
    diagnosticType: "smtp",
    diagnosticText: "550 no",
    mtaType: "dns",
    mtaName: "mx",
  };
  await appendLog(queues, "defer", id, entry, options);
  await appendLog(queues, "defer", id, second, { ...options, oldStyle: false });
  t.same([...(readLog(queues, "defer", id) ?? [])], [entry, second]);
  t.equal(statSync(`defer/A/${id}`).mode & 0o777, 0o600);
  t.equal(readLog(queues, "bounce", id), undefined);

  const size = statSync(`defer/A/${id}`).size;
  const broken = new Queues(settings, failing("fsync", "EIO"));
  await t.rejects(appendLog(broken, "defer", id, entry, options), {
    name: "LogAppendError",
    message: "append file defer ABCDE123: Input/output error",
  });
  t.equal(statSync(`defer/A/${id}`).size, size);
  const busy = new Queues(settings, { ...base, tryLock: () => false });
  await t.rejects(appendLog(busy, "defer", id, entry, options), {
    message: "lock file defer ABCDE123: Resource temporarily unavailable",
  });
});

t.test("a log that others wrote", async (t) => {
  const queues = new Queues(settings, base);
  writeFileSync("bounce/OLD1", "<a@b>:  old style\n\n\nrecipient=\nbogus=1\nnovalue\n%%\n\nrecipient=lost");
  const entries: LogEntry[] = [];
  const lines = await capture(async () => {
    entries.push(...(readLog(queues, "bounce", "OLD1" as QueueId) ?? []));
  });
  t.equal(entries.length, 2);
  t.match(entries[0], { recipient: "a@b", reason: "old style", status: "5.0.0", action: "failed" });
  t.match(entries[1], { recipient: "(MAILER-DAEMON)", reason: "(description unavailable)" });
  t.same(lines, [
    "bounce/OLD1: unknown attribute name: bogus, ignored",
    "bounce/OLD1: malformed record: missing '=' after attribute name",
    "bounce/OLD1: malformed record: %%...",
  ]);
});
