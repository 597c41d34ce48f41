/** A client that leaves more connections with scache(8) than that has descriptors for: it keeps what it can, and others are served. */
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t from "tap";
import { allDaemons, daemons, masterPid, ROOT, runningInstance } from "../system/support/harness.ts";
import { crashes } from "../system/support/hostile.ts";

t.setTimeout(120_000);

const BUN = join(ROOT, "node_modules/bun/bin/bun.exe");
const SCRIPT = join(import.meta.dirname, "support/scache_flood.ts");
const MEMORY_KB = 150_000;
const FLOOD = 20_000;

function command(name: string, args: ReadonlyArray<string>): Promise<string> {
  return new Promise((done, fail) =>
    execFile(name, [...args], { encoding: "latin1" }, (error, stdout, stderr) =>
      error === null ? done(stdout.trim()) : fail(new Error(`${error.message}\n${stderr}`)),
    ),
  );
}

t.test("a flood of descriptors and names for the connection cache", async (t) => {
  for (const descriptors of [256, 15_000])
    await t.test(`${descriptors} descriptors a process`, async (t) => {
      const instance = await runningInstance(t, { mainCf: "connection_cache_ttl_limit = 1000s\n" });
      await command("prlimit", [`--pid=${masterPid(instance)}`, `--nofile=${descriptors}:${descriptors}`]);
      const path = join(instance.directory, "endpoint");
      const server = createServer((client) => client.on("error", () => undefined)).listen(path);
      t.teardown(() => server.close());
      const socket = join(instance.queue, "private/scache");
      const flood = (count: number): Promise<string> =>
        command(BUN, ["run", SCRIPT, socket, path, String(count)]);
      const first = Number(await flood(FLOOD));
      const [pid = 0] = daemons(instance, "scache");
      const open = readdirSync(`/proc/${pid}/fd`).length;
      const memory = allDaemons(instance).find((each) => each.pid === pid)?.memory ?? 0;
      t.comment(`${first} of ${FLOOD} kept, ${open} descriptors, ${memory} kB`);
      t.ok(first > 100 && first <= 10_000, `${first} were kept`);
      t.ok(open < descriptors - 16, `${open} descriptors of ${descriptors}`);
      t.ok(memory < MEMORY_KB, `${memory} kB`);
      t.equal(await flood(10), "0", "the next client is answered");
      t.same(daemons(instance, "scache"), [pid], "by the same process");
      t.same(crashes(instance), []);
    });
});
