/** A submission in which any single file operation fails: either the message is in the queue and the client hears so, or neither. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { setLogSinks } from "../../../lib/log/log.ts";
import { Queues } from "../../../lib/queue/directories.ts";
import { type FileSystem, fileSystem } from "../../../lib/queue/file_system.ts";
import { encodeRecord, Rec } from "../../../lib/queue/records.ts";
import { Submission } from "../../../lib/submission/submission.ts";

const home = process.cwd();
const scratch = mkdtempSync(join(tmpdir(), "posthaste-submission-"));
process.chdir(scratch);
process.umask(0o022);
mkdirSync("maildrop");
t.teardown(() => {
  process.chdir(home);
  rmSync(scratch, { recursive: true });
});

const RECORDS: ReadonlyArray<readonly [number, string]> = [
  [Rec.ATTRIBUTE, "rewrite_context=local"],
  [Rec.FROM, "user@example.com"],
  [Rec.RECIPIENT, "root"],
  [Rec.CONTENT, ""],
  ...Array.from({ length: 100 }, (_, n) => [Rec.NORMAL, `${n} ${"x".repeat(1000)}`] as const),
  [Rec.EXTRACTED, ""],
  [Rec.END, ""],
];

/** A file system whose n-th call fails, once; `calls` counts. */
function failingAt(n: number, code: string): { files: FileSystem; failed: () => string | undefined } {
  let count = 0;
  let failed: string | undefined;
  const wrapped: Record<string, unknown> = {};
  for (const [name, call] of Object.entries(fileSystem)) {
    wrapped[name] = (...values: unknown[]) => {
      if (++count === n) {
        failed = name;
        const error = Object.assign(new Error(code), { code });
        if (name === "fsync") return Promise.reject(error);
        throw error;
      }
      return (call as (...given: unknown[]) => unknown)(...values);
    };
  }
  return { files: wrapped as unknown as FileSystem, failed: () => failed };
}

async function submit(files: FileSystem): Promise<number | "thrown"> {
  const queues = new Queues({ hashQueueNames: "", hashQueueDepth: 1, longQueueIds: false }, files);
  try {
    const submission = await Submission.begin(queues, {
      uid: 1000,
      checkSender: async () => "allowed",
      senderMaps: "static:*",
      retryPause: 0.001,
    });
    for (const [type, data] of RECORDS) await submission.record(type, Buffer.from(data));
    t.ok(submission.complete);
    return (await submission.finish()).status;
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
    return "thrown";
  }
}

t.test("every call fails once", async (t) => {
  const quiet = setLogSinks([]);
  for (const code of ["EIO", "ENOSPC", "EFBIG"])
    for (let n = 1; ; n++) {
      const { files, failed } = failingAt(n, code);
      const status = await submit(files);
      const call = failed();
      const ready = readdirSync("maildrop").filter(
        (name) => (statSync(`maildrop/${name}`).mode & 0o700) === 0o700,
      );
      t.equal(ready.length, status === 0 ? 1 : 0, `${code} in call ${n} (${call}): status ${status}`);
      if (status === 0) {
        const bytes = readFileSync(`maildrop/${ready[0]}`);
        t.ok(
          bytes.includes(Buffer.concat(RECORDS.slice(0, 3).map(([type, data]) => encodeRecord(type, data)))),
        );
        t.equal(bytes.subarray(-2).toString("latin1"), "E\0");
      }
      for (const name of readdirSync("maildrop")) rmSync(`maildrop/${name}`);
      if (call === undefined) break;
    }
  setLogSinks(quiet);
});
