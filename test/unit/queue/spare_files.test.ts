import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { setLogSinks } from "../../../lib/log/log.ts";
import { Queues } from "../../../lib/queue/directories.ts";
import { type FileSystem, fileSystem } from "../../../lib/queue/file_system.ts";
import { createQueueFile } from "../../../lib/queue/queue_file.ts";
import { inodeOf, type QueueId } from "../../../lib/queue/queue_id.ts";
import { encodeRecord, Rec } from "../../../lib/queue/records.ts";
import { SPARE_SIZE_LIMIT, SpareFilesIn, SpareFilesOut } from "../../../lib/queue/spare_files.ts";
import { writeZeros } from "./write_zeros.ts";

const home = process.cwd();
const scratch = mkdtempSync(join(tmpdir(), "posthaste-spare-"));
process.chdir(scratch);
process.umask(0o022);
t.teardown(() => {
  process.chdir(home);
  rmSync(scratch, { recursive: true });
});
t.beforeEach(() => {
  for (const queue of ["incoming", "active", "spare"]) {
    rmSync(queue, { recursive: true, force: true });
    mkdirSync(queue);
  }
});

const settings = { hashQueueNames: "", hashQueueDepth: 1, longQueueIds: false };
const RECORD_LIMIT = 2060;
const inputOf = (queues: Queues, limit: number): SpareFilesIn =>
  new SpareFilesIn(queues, limit, RECORD_LIMIT);

/** Notes the calls that change something. */
function recording(): { queues: Queues; calls: string[] } {
  const calls: string[] = [];
  const files = Object.fromEntries(
    Object.entries({ ...fileSystem, zeroRange: writeZeros }).map(([name, call]) => [
      name,
      (...values: unknown[]) => {
        calls.push(name);
        return (call as (...v: unknown[]) => unknown)(...values);
      },
    ]),
  ) as unknown as FileSystem;
  return { queues: new Queues(settings, files), calls };
}

const ready = (id: string, size: number, fill = "o"): string => {
  writeFileSync(`active/${id}`, fill.repeat(size), { mode: 0o700 });
  chmodSync(`active/${id}`, 0o700);
  return id;
};
const layDown = (out: SpareFilesOut, id: string, size = 10): boolean => {
  ready(id, size);
  return out.layDown("active", id as QueueId, size);
};
/** Lets a look into the directory finish: it ends with a close, unless there is nothing. */
const looked = async (input: SpareFilesIn, calls: string[]): Promise<void> => {
  const before = calls.length;
  t.equal(input.takeUp(), undefined, "nothing is taken up before its directory is synced");
  const some = existsSync("spare") && readdirSync("spare").length > 0;
  while (some && !calls.slice(before).includes("close"))
    await new Promise((resolve) => setTimeout(resolve, 5));
  await new Promise((resolve) => setImmediate(resolve));
};

t.test("a finished file becomes the next message, and nothing of the old one is left", async (t) => {
  const { queues, calls } = recording();
  t.ok(layDown(new SpareFilesOut(queues, 5), "AAAAA1", 5000));
  t.same(readdirSync("active"), []);
  t.equal(statSync("spare/AAAAA1").mode & 0o7777, 0o600, "not ready");
  const inode = statSync("spare/AAAAA1").ino;
  const spares = inputOf(queues, 5);
  await looked(spares, calls);
  t.same(
    calls.filter((call) => call === "fsync"),
    ["fsync"],
  );
  calls.length = 0;
  const file = await createQueueFile(queues, "incoming", { spares });
  t.equal(inodeOf(file.id), BigInt(inode), "the same file, named after its inode");
  t.same(readdirSync("spare"), []);
  t.equal(statSync(file.path).mode & 0o7777, 0o600);
  file.writer.put(Rec.FROM, "a@b");
  t.same(await file.commit(), { status: 0 });
  t.equal(statSync(file.path).mode & 0o7777, 0o700);
  t.ok(readFileSync(file.path).equals(encodeRecord(Rec.FROM, "a@b")));
  const order = calls.filter((call) =>
    ["open", "rename", "zeroRange", "write", "ftruncate", "fchmod", "fsync", "close"].includes(call),
  );
  t.same(order, ["open", "rename", "zeroRange", "write", "ftruncate", "fchmod", "fsync", "close"]);
});

t.test("a process that starts learns what there is", async (t) => {
  const { queues } = recording();
  layDown(new SpareFilesOut(queues, 5), "AAAAA1");
  const spares = inputOf(queues, 5);
  await spares.look();
  const file = spares.takeUp();
  t.equal(file?.path, "spare/AAAAA1");
  if (file !== undefined) fileSystem.close(file.fd);
});

t.test("a new file needs one sync", async (t) => {
  const { queues, calls } = recording();
  const file = await createQueueFile(queues, "incoming", { spares: inputOf(queues, 5) });
  file.writer.put(Rec.END);
  t.same(await file.commit(), { status: 0 });
  t.same(
    calls.filter((call) => call.endsWith("sync")),
    ["fsync"],
  );
});

t.test("two processes never take up the same file", async (t) => {
  const { queues, calls } = recording();
  const out = new SpareFilesOut(queues, 50);
  for (let n = 0; n < 20; n++) layDown(out, `AAAA${n.toString(16).toUpperCase()}1`);
  const takers = [inputOf(queues, 50), inputOf(queues, 50)];
  for (const taker of takers) await looked(taker, calls);
  const files = [];
  for (let n = 0; n < 30; n++)
    files.push(await createQueueFile(queues, "incoming", { spares: takers[n % 2] as SpareFilesIn }));
  t.equal(new Set(files.map((file) => file.id)).size, 30);
  t.equal(new Set(files.map((file) => statSync(file.path).ino)).size, 30);
  t.same(readdirSync("spare"), []);
  for (const file of files) file.discard();
  t.same(readdirSync("incoming"), []);
});

t.test("what is no plain spent file of ours is left alone", async (t) => {
  const { queues, calls } = recording();
  writeFileSync("elsewhere", "precious", { mode: 0o600 });
  symlinkSync("../elsewhere", "spare/AAAAA1");
  writeFileSync("spare/AAAAA2", "linked", { mode: 0o600 });
  linkSync("spare/AAAAA2", "kept");
  writeFileSync("spare/AAAAA3", "ready", { mode: 0o700 });
  chmodSync("spare/AAAAA3", 0o700);
  mkdirSync("spare/AAAAA4");
  const lines: string[] = [];
  const before = setLogSinks([(event) => lines.push(event.text)]);
  const spares = inputOf(queues, 5);
  await looked(spares, calls);
  t.equal(spares.takeUp(), undefined);
  setLogSinks(before);
  t.equal(readFileSync("elsewhere", "utf8"), "precious");
  t.match(lines.sort(), [/^open spare\/AAAAA1: /, /^open spare\/AAAAA4: /]);
  rmSync("kept");
});

t.test("a file whose status cannot be had is closed and left", async (t) => {
  const { queues } = recording();
  layDown(new SpareFilesOut(queues, 5), "AAAAA1");
  const spares = inputOf(queues, 5);
  await spares.look();
  const files = queues.files as unknown as Record<string, (...values: unknown[]) => unknown>;
  let opened = -1;
  const { open } = files as unknown as FileSystem;
  files.open = (...values) => {
    opened = (open as (...v: unknown[]) => number)(...values);
    return opened;
  };
  files.fstat = () => {
    throw Object.assign(new Error("EIO"), { code: "EIO" });
  };
  const before = setLogSinks([]);
  t.equal(spares.takeUp(), undefined);
  setLogSinks(before);
  t.throws(() => fileSystem.fstat(opened), { code: "EBADF" });
});

t.test("few files are kept, and no large ones", async (t) => {
  const { queues } = recording();
  const out = new SpareFilesOut(queues, 3);
  t.same(
    ["AAAAA1", "AAAAA2", "AAAAA3", "AAAAA4"].map((id) => layDown(out, id)),
    [true, true, true, false],
  );
  rmSync("spare/AAAAA1");
  t.ok(layDown(out, "AAAAA5"), "one was taken");
  const second = new SpareFilesOut(queues, 30);
  t.notOk(layDown(second, "AAAAA6", SPARE_SIZE_LIMIT + 1));
  t.ok(existsSync("active/AAAAA6"));
  t.notOk(layDown(new SpareFilesOut(queues, 0), "AAAAA7"), "none wanted");
  const none = inputOf(queues, 0);
  await none.look();
  t.equal(none.takeUp(), undefined);
});

t.test("without the directory files are made and removed", async (t) => {
  rmSync("spare", { recursive: true });
  const { queues, calls } = recording();
  t.notOk(layDown(new SpareFilesOut(queues, 5), "AAAAA1"));
  t.equal(statSync("active/AAAAA1").mode & 0o7777, 0o700, "untouched");
  const spares = inputOf(queues, 5);
  await looked(spares, calls);
  (await createQueueFile(queues, "incoming", { spares })).discard();
});

t.test("a file that is gone is not laid down", async (t) => {
  const { queues } = recording();
  t.notOk(new SpareFilesOut(queues, 5).layDown("active", "AAAAA1" as QueueId, 5));
  t.same(readdirSync("spare"), []);
});

t.test("what is laid down is out of the queue before anything else happens to it", async (t) => {
  const { queues, calls } = recording();
  t.ok(layDown(new SpareFilesOut(queues, 5), "AAAAA1"));
  t.same(
    calls.filter((call) => call === "rename" || call === "chmod"),
    ["rename", "chmod"],
  );
});

t.test("an idle system keeps nothing", async (t) => {
  const { queues } = recording();
  const out = new SpareFilesOut(queues, 5, 0.05);
  layDown(out, "AAAAA1");
  layDown(out, "AAAAA2");
  await new Promise((resolve) => setTimeout(resolve, 400));
  t.same(readdirSync("spare"), []);
  t.ok(layDown(out, "AAAAA3"));
});

t.test("DUR-01 a failure of any call of a commit over an old content is reported", async (t) => {
  for (const call of ["write", "ftruncate", "fchmod", "fsync"] as const) {
    const { queues, calls } = recording();
    layDown(new SpareFilesOut(queues, 5), "AAAAA1", 5000);
    const spares = inputOf(queues, 5);
    await looked(spares, calls);
    const files = queues.files as unknown as Record<string, (...values: unknown[]) => unknown>;
    const file = await createQueueFile(queues, "incoming", { spares });
    files[call] = () => {
      const error = Object.assign(new Error("EIO"), { code: "EIO" });
      if (call.endsWith("sync")) return Promise.reject(error);
      throw error;
    };
    file.writer.put(Rec.END);
    t.equal((await file.commit()).status, 2, call);
    t.throws(() => fileSystem.fstat(file.fd), { code: "EBADF" });
    file.discard();
    t.same(readdirSync("incoming"), []);
  }
});

t.test(
  "what a file had is forgotten in whole blocks, before the first byte of the new content",
  async (t) => {
    for (const [size, blockSize, recordLimit, expected] of [
      [5000, 4096, 2060, "zero 8192"],
      [4096, 4096, 2060, "zero 4096"],
      [1, 65536, 2060, "zero 65536"],
      // a record might fill a block
      [5000, 2048, 2060, "truncate 0"],
      [5000, 4096, 9000, "truncate 0"],
      [0, 4096, 2060, ""],
    ] as const) {
      const { queues } = recording();
      layDown(new SpareFilesOut(queues, 5), "AAAAA1", size);
      const calls: string[] = [];
      Object.assign(queues.files, {
        blockSize: () => blockSize,
        zeroRange: (_fd: number, length: number) => calls.push(`zero ${length}`),
        ftruncate: (_fd: number, length: number) => calls.push(`truncate ${length}`),
      });
      const spares = new SpareFilesIn(queues, 5, recordLimit);
      await spares.look();
      const file = await createQueueFile(queues, "incoming", { spares });
      t.equal(calls.join(), expected, `${size} bytes, blocks of ${blockSize}`);
      file.discard();
    }
  },
);

t.test("a file system that has no such call: the file is cut to nothing", async (t) => {
  for (const code of ["EOPNOTSUPP", "ENOSYS", "ENOSPC", "EPERM"]) {
    const { queues } = recording();
    layDown(new SpareFilesOut(queues, 5), "AAAAA1", 5000);
    Object.assign(queues.files, {
      zeroRange: () => {
        throw Object.assign(new Error(code), { code });
      },
    });
    const spares = inputOf(queues, 5);
    await spares.look();
    const file = await createQueueFile(queues, "incoming", { spares });
    t.equal(statSync(file.path).size, 0, code);
    file.writer.put(Rec.FROM, "a@b");
    t.same(await file.commit(), { status: 0 });
    t.ok(readFileSync(file.path).equals(encodeRecord(Rec.FROM, "a@b")));
  }
});
