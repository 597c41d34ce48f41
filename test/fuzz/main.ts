/** `npm run fuzz -- NAME [--time=SECONDS] [--seed=NUMBER]`: runs one fuzzer, or all in turn (`all`). What breaks it becomes a case under test/fuzz/cases. */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { casePath, fuzz } from "./runner.ts";
import { TARGETS } from "./targets.ts";

const USAGE = `usage: npm run fuzz -- NAME [--time=SECONDS] [--seed=NUMBER]
names: all ${[...TARGETS.keys()].join(" ")}`;

const [name = "", ...options] = process.argv.slice(2);
let seconds = 60;
let seed = Date.now() >>> 0;
for (const option of options) {
  const match = /^--(time|seed)=(\d+)$/.exec(option);
  if (match === null) {
    console.error(USAGE);
    process.exit(64);
  }
  if (match[1] === "time") seconds = Number(match[2]);
  else seed = Number(match[2]);
}
const chosen = name === "all" ? [...TARGETS.keys()] : [name];
let failed = false;
for (const each of chosen) {
  const load = TARGETS.get(each);
  if (load === undefined) {
    console.error(USAGE);
    process.exit(64);
  }
  const target = await load();
  const { count, broken } = await fuzz(target, seed, seconds / chosen.length);
  console.log(`${each}: seed ${seed}, ${count} inputs${broken === undefined ? "" : ", one broke it"}`);
  if (broken === undefined) continue;
  failed = true;
  const path = casePath(each, createHash("sha256").update(broken.input).digest("hex").slice(0, 12));
  writeFileSync(path, broken.input);
  console.log(`  ${broken.error instanceof Error ? broken.error.stack : broken.error}\n  saved as ${path}`);
}
process.exit(failed ? 1 : 0);
