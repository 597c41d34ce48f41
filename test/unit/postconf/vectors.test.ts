import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { readVectors, type Vector } from "../config/support.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const bun = join(root, "node_modules/bun/bin/bun.exe");
const runner = join(root, "test/unit/postconf/run.ts");

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly rc: number;
  readonly after: Readonly<Record<string, string | null>>;
}

function prepare(vector: Vector): string {
  const directory = mkdtempSync(join(tmpdir(), "postconf-test-"));
  for (const [name, text] of Object.entries(vector.files)) {
    const path = join(directory, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    utimesSync(path, 1_700_000_000, 1_700_000_000);
  }
  for (const [command = "", ...args] of vector.pre ?? []) execFileSync(command, args, { cwd: directory });
  return directory;
}

/** Runs a case in a directory of its own, which is removed afterwards. */
async function run(vector: Vector): Promise<Outcome> {
  const directory = prepare(vector);
  const { PATH, HOME } = process.env;
  const env = { PATH, HOME };
  const outcome = await new Promise<Omit<Outcome, "after">>((resolve) => {
    execFile(
      bun,
      ["run", runner, ...vector.argv.slice(1)],
      { cwd: directory, env },
      (error, stdout, stderr) => {
        resolve({
          stdout,
          stderr,
          rc: typeof error?.code === "number" ? error.code : error === null ? 0 : -1,
        });
      },
    );
  });
  const read = (name: string): string | null =>
    existsSync(join(directory, name)) ? readFileSync(join(directory, name), "utf8") : null;
  const after = Object.fromEntries(
    Object.keys(vector.expect.files_after ?? {}).map((name) => [name, read(name)]),
  );
  rmSync(directory, { recursive: true });
  return { ...outcome, after };
}

const cases = [...readVectors("postconf"), ...readVectors("macro")];

t.test("postconf as Postfix's", { timeout: 300_000 }, async (t) => {
  const outcomes = new Map<Vector, Outcome>();
  const queue = [...cases];
  const worker = async (): Promise<void> => {
    for (let vector = queue.shift(); vector !== undefined; vector = queue.shift())
      outcomes.set(vector, await run(vector));
  };
  await Promise.all(Array.from({ length: 6 }, worker));
  for (const vector of cases) {
    const { stdout, stderr, rc, files_after = {} } = vector.expect;
    t.same(outcomes.get(vector), { stdout, stderr, rc, after: files_after }, vector.name);
  }
});
