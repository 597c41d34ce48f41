import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { Addresses } from "../../../cmd/cleanup/addresses.ts";
import { Pipeline } from "../../../cmd/cleanup/processor.ts";
import { type Shared, serveCleanup } from "../../../cmd/cleanup/session.ts";
import { readSettings } from "../../../cmd/cleanup/settings.ts";
import { configurationFromText, installConfiguration } from "../../../lib/config/configuration.ts";
import type { SharedTrigger } from "../../../lib/ipc/trigger.ts";
import { setLogSinks } from "../../../lib/log/log.ts";
import { Queues } from "../../../lib/queue/directories.ts";
import { type FileSystem, fileSystem } from "../../../lib/queue/file_system.ts";
import { ClockCheck } from "../../../lib/queue/queue_file.ts";
import { RecordBuffer } from "../../../lib/queue/record_writer.ts";
import { SpareFilesIn } from "../../../lib/queue/spare_files.ts";
import { Channel } from "../../../lib/sys/channel.ts";
import { SysError } from "../../../lib/sys/errno.ts";
import { baseTables, decodeRecords } from "./harness.ts";

const tables = baseTables();
const directory = mkdtempSync(join(tmpdir(), "cleanup-session-"));
process.chdir(directory);
for (const queue of ["incoming", "hold", "defer", "bounce", "trace"]) mkdirSync(queue);
t.teardown(() => {
  process.chdir("/");
  rmSync(directory, { recursive: true });
});
installConfiguration(configurationFromText("myhostname = mail.example.com\nmydestination =\n"));
setLogSinks([]);

const ENOSPC = 28;
/** Calls that a real disk can fail; the rest of the interface is left alone. */
const FAILING = ["open", "write", "fsync", "fchmod", "fstat", "rename", "close"] as const;

/** A file system whose n-th call fails (0: none). */
function failingAt(n: number): { files: FileSystem; calls: () => number; synced: Set<number> } {
  let calls = 0;
  const synced = new Set<number>();
  const files: Record<string, unknown> = { ...fileSystem };
  for (const name of FAILING) {
    const real = fileSystem[name] as (...args: unknown[]) => unknown;
    files[name] = (...args: unknown[]): unknown => {
      if (++calls === n) {
        // a failed close has closed the descriptor all the same
        if (name === "close") real(...args);
        const error = new SysError(name, ENOSPC, "");
        if (name === "fsync") return Promise.reject(error);
        throw error;
      }
      if (name === "fsync") synced.add(args[0] as number);
      return real(...args);
    };
  }
  return { files: files as unknown as FileSystem, calls: () => calls, synced };
}

function stream(lines: ReadonlyArray<string>): Buffer {
  const records = new RecordBuffer();
  const put = (type: string, data = ""): void => records.put(type.charCodeAt(0), data);
  put("T", "1700000000 1");
  put("S", "sender@example.com");
  put("R", "rcpt@example.com");
  put("M");
  put("N", "Received: by test");
  for (const line of lines) put("N", line);
  put("X");
  put("E");
  return Buffer.concat([Buffer.from("flags\x0032\0\0"), records.take()]);
}

interface Result {
  readonly reply: string;
  readonly triggers: number;
  readonly failure: unknown;
}

async function session(files: FileSystem, input: ReadonlyArray<Buffer>, end = false): Promise<Result> {
  const settings = readSettings(tables, {
    delimiters: "",
    ownerRequestSpecial: false,
    doubleBounceSender: "double-bounce",
    myorigin: "example.com",
    isLocalDomain: () => Promise.resolve(false),
  });
  const queues = new Queues({ hashQueueNames: "", hashQueueDepth: 1, longQueueIds: false }, files);
  let triggers = 0;
  const shared: Shared = {
    pipeline: new Pipeline(new Addresses(settings, (_rule, address) => Promise.resolve(address)), {
      reportMultiple: () => Promise.resolve(),
      traceExpansion: () => Promise.resolve(true),
    }),
    queues,
    spares: new SpareFilesIn(queues, 0, 0),
    clock: new ClockCheck(),
    trigger: { fire: () => triggers++ } as unknown as SharedTrigger,
    unfinished: new Set(),
  };
  const sent: Buffer[] = [];
  const channel = new Channel("cleanup socket", 5);
  channel.attach({
    write: (bytes) => {
      sent.push(Buffer.from(bytes));
      return bytes.length;
    },
    end: () => undefined,
    terminate: () => undefined,
    pause: () => undefined,
    resume: () => undefined,
  });
  for (const bytes of input) channel.onData(bytes);
  if (end) channel.onEnd();
  let failure: unknown;
  try {
    await serveCleanup({ channel }, shared);
  } catch (error) {
    failure = error;
  }
  t.equal(shared.unfinished.size, 0);
  return { reply: Buffer.concat(sent).toString("latin1"), triggers, failure };
}

const stored = (): string[] => readdirSync("incoming");
function clear(): void {
  for (const name of stored()) rmSync(join("incoming", name));
}

t.test("a message becomes a complete file before the client hears of it", async (t) => {
  const { files, synced } = failingAt(0);
  const result = await session(files, [stream(["Subject: x", "", "body"])]);
  t.match(result.reply, /status\x000\0reason\0\0\0$/);
  t.equal(result.triggers, 1);
  t.equal(synced.size, 1, "fsync");
  const [name = ""] = stored();
  t.equal(statSync(join("incoming", name)).mode & 0o777, 0o700);
  const records = decodeRecords(readFileSync(join("incoming", name)));
  t.equal(records[0]?.[0], "C");
  t.equal(records.at(-1)?.[0], "E");
  t.match(result.reply, new RegExp(`queue_id\0${name}\0`));
  clear();
});

t.test(
  "DUR-01 every failing call: the client is not told of success, and nothing is left behind",
  async (t) => {
    const counted = failingAt(0);
    await session(counted.files, [stream(["Subject: x", "", "body"])]);
    clear();
    const total = counted.calls();
    t.ok(total >= 6, `${total} calls`);
    // the first call creates the file: that is repeated until it works, as Postfix does
    for (let n = 2; n <= total; n++) {
      const { files } = failingAt(n);
      const result = await session(files, [stream(["Subject: x", "", "body"])]);
      const accepted = /status\x000\0/.test(result.reply);
      if (accepted) t.equal(stored().length, 1, `call ${n}: accepted and stored`);
      else {
        const ready = stored().filter((name) => (statSync(join("incoming", name)).mode & 0o100) !== 0);
        t.same(ready, [], `call ${n}: refused, nothing for the queue manager`);
        t.equal(result.triggers, 0);
      }
      clear();
    }
  },
);

t.test("a client that goes away leaves nothing", async (t) => {
  const whole = stream(["Subject: x", "", "body"]);
  for (const length of [0, 5, 12, 20, 60, whole.length - 1]) {
    const result = await session(failingAt(0).files, [whole.subarray(0, length)], true);
    t.notMatch(result.reply, /status\x000\0/, `${length} bytes`);
    t.same(stored(), []);
    t.equal(result.triggers, 0);
  }
});

t.test("a body in one piece and byte by byte make the same file", async (t) => {
  const lines = ["Subject: x", "", "a\rb", "--x", "c".repeat(300), "", "last\n"];
  const contents: string[] = [];
  for (const size of [1 << 20, 1, 3, 64]) {
    const whole = stream(lines);
    const pieces: Buffer[] = [];
    for (let at = 0; at < whole.length; at += size) pieces.push(Buffer.from(whole.subarray(at, at + size)));
    await session(failingAt(0).files, pieces);
    const [name = ""] = stored();
    const records = decodeRecords(readFileSync(join("incoming", name)));
    const from = records.findIndex(([type]) => type === "M");
    contents.push(JSON.stringify(records.slice(from).filter(([, text]) => !text.includes(name))));
    clear();
  }
  t.equal(new Set(contents).size, 1);
  t.match(contents[0], /a b/, "stray CR");
});

t.test("garbage never makes a message", async (t) => {
  let seed = 1;
  const random = (): number => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed / 2147483648;
  };
  for (let round = 0; round < 300; round++) {
    const bytes = stream(["Subject: x", "", "body"]);
    for (let i = 0; i < 4; i++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    const result = await session(failingAt(0).files, [bytes], true);
    t.ok(result.failure === undefined || result.failure instanceof Error);
    t.ok(result.failure instanceof TypeError === false && result.failure instanceof RangeError === false);
    const accepted = /status\x000\0/.test(result.reply);
    if (!accepted) t.equal(result.triggers, 0);
    clear();
  }
});
