/** Waking patiently is for processes whose policy nobody chose. Runs scheduling_check.ts on Bun. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";

const ROOT = join(import.meta.dirname, "../../..");
const BUN = join(ROOT, "node_modules/bun/bin/bun.exe");
const CHECK = join(import.meta.dirname, "scheduling_check.ts");
const SCHED_BATCH = 3;
const SCHED_IDLE = 5;

const policy = (program: string, ...words: string[]): number =>
  Number(execFileSync(program, words, { encoding: "utf8" }));

t.test("the ordinary policy becomes the patient one", async (t) => {
  t.equal(policy(BUN, CHECK), SCHED_BATCH);
});

t.test("a policy that somebody chose is left alone", async (t) => {
  t.equal(policy("chrt", "--idle", "0", BUN, CHECK), SCHED_IDLE);
});
