/** File calls by the C library do what node:fs does. Runs fs_check.ts on Bun. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";

const ROOT = join(import.meta.dirname, "../../..");

t.test("the file calls of lib/sys give and refuse what node:fs does", async (t) => {
  const bun = join(ROOT, "node_modules/bun/bin/bun.exe");
  t.equal(execFileSync(bun, [join(import.meta.dirname, "fs_check.ts")], { encoding: "utf8" }), "compared\n");
});
