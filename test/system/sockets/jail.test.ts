import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { NEEDS_ROOT, ROOT } from "../support/harness.ts";

t.test(
  "the reason of a failed connection is the right one, also where errno is first read in a jail",
  NEEDS_ROOT,
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), "socket-jail-"));
    t.teardown(() => rmSync(directory, { recursive: true }));
    const bun = join(ROOT, "node_modules/bun/bin/bun.exe");
    const run = spawnSync(bun, ["run", join(import.meta.dirname, "jail_connect.ts"), directory], {
      encoding: "utf8",
    });
    t.equal(`${run.stdout}${run.stderr}`, "connect 127.0.0.1: Connection refused\n");
  },
);
