import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { NEEDS_ROOT, ROOT } from "../support/harness.ts";

t.test("JS-28 tables that were opened before the jail work in it", NEEDS_ROOT, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "table-jail-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const bun = join(ROOT, "node_modules/bun/bin/bun.exe");
  const run = spawnSync(bun, ["run", join(import.meta.dirname, "jail_check.ts"), directory], {
    encoding: "utf8",
  });
  t.equal(run.stderr, "");
  t.same(JSON.parse(run.stdout || "null"), [
    "lmdb",
    "hash",
    "btree",
    "cdb",
    "regexp U",
    "pcre U",
    "texthash",
    "sqlite",
    "a,b",
    "match",
    "none",
    "value99",
  ]);
});
