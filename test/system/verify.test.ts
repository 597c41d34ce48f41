/** verify(8) in a running system, with each kind of cache. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { isRoot, logged, NEEDS_ROOT, runningInstance, troubles } from "./support/harness.ts";
import { checkVerification, dialogue, mainCf } from "./verify/cases.ts";

const tables = "transport_maps = inline:{ { broken.test = error:5.2.1 broken by design } }\n";

for (const [kind, file] of [
  ["lmdb", "lmdb"],
  ["btree", "db"],
  ["hash", "db"],
  ["memory", ""],
] as const)
  t.test(`addresses are verified, results kept in ${kind}`, NEEDS_ROOT, async (t) => {
    const instance = await runningInstance(t, {
      mainCf: (directory) =>
        `${mainCf}${tables}non_bdb_migration_level = disable\naddress_verify_map = ${kind === "memory" ? "" : `${kind}:${directory}/data/verify_cache`}\n`,
    });
    await checkVerification(t, instance);
    t.same(troubles(instance), []);
    if (file === "") return;
    t.ok(existsSync(join(instance.directory, `data/verify_cache.${file}`)));
    // a new process knows what the old one knew
    instance.run("postfix", ["stop"]);
    instance.start();
    const before = instance.maillog().length;
    const lines = await dialogue(instance.smtpPort, ["MAIL FROM:<>", "RCPT TO:<nobody@localhost>"]);
    t.match(lines[1], /^250 2\.1\.5/);
    t.notMatch(instance.maillog().slice(before), /double-bounce@/, "no probe");
  });

t.test("the probe's sender changes with the time, and is accepted without a probe", async (t) => {
  const instance = await runningInstance(t, {
    mainCf: `${mainCf}${tables}address_verify_sender = prober@localhost\naddress_verify_sender_ttl = 1h\n`,
  });
  await dialogue(instance.smtpPort, ["MAIL FROM:<>", "RCPT TO:<nobody@localhost>"]);
  const [, sender = ""] = await logged(instance, /from=<(prober[0-9BCDFGHJKLMNPQRSTVWXYZ]+@localhost)>/);
  const [, reply] = await dialogue(instance.smtpPort, ["MAIL FROM:<>", `RCPT TO:<${sender}>`]);
  t.match(reply, /^250 2\.1\.5/);
});

t.test("cleaning the cache", async (t) => {
  const instance = await runningInstance(t, {
    stopped: true,
    mainCf: (directory) =>
      `${mainCf}${tables}address_verify_map = lmdb:${directory}/data/verify_cache\naddress_verify_cache_cleanup_interval = 2s\n`,
  });
  const now = Math.floor(Date.now() / 1000);
  const lines = Array.from({ length: 500 }, (_, index) =>
    index % 2 === 0 ? `old${index}@x 0:0:${now - 40 * 86400}:was fine` : `new${index}@x 0:0:${now}:fine`,
  );
  const source = join(instance.directory, "data/verify_cache");
  writeFileSync(source, `${lines.join("\n")}\n`);
  instance.must("postmap", [`lmdb:${source}`]);
  if (isRoot) {
    const { execFileSync } = await import("node:child_process");
    execFileSync("chown", [instance.who.mailOwner, `${source}.lmdb`]);
  }
  instance.start();
  await dialogue(instance.smtpPort, ["MAIL FROM:<>", "RCPT TO:<nobody@localhost>"]);
  await logged(
    instance,
    /verify\[\d+\]: cache lmdb:\S+\/data\/verify_cache full cleanup: retained=25\d dropped=250 entries/,
  );
  await logged(instance, /full cleanup: retained=25\d dropped=0 entries/);
  t.equal(instance.must("postmap", ["-q", "new1@x", `lmdb:${source}`]).trim(), `0:0:${now}:fine`);
});

t.test("a cache in a foreign directory is moved to data_directory", NEEDS_ROOT, async (t) => {
  const instance = await runningInstance(t, {
    mainCf: (directory) =>
      `${mainCf}${tables}address_verify_map = btree:${directory}/config/verify_cache\nnon_bdb_migration_level = disable\n`,
  });
  const lines = await dialogue(instance.smtpPort, ["MAIL FROM:<>", "RCPT TO:<nobody@localhost>"]);
  t.match(lines[1], /^250/);
  await logged(
    instance,
    /verify\[\d+\]: warning: request to update table btree:\S+\/config\/verify_cache in non-daemon directory \S+\/config\n/,
  );
  await logged(
    instance,
    /verify\[\d+\]: warning: redirecting the request to daemon-owned data_directory \S+\/data\n/,
  );
  t.ok(existsSync(join(instance.directory, "data/verify_cache.db")));
});

t.test("QMG-12 a cache that cannot be read is no answer", async (t) => {
  const instance = await runningInstance(t, {
    mainCf: `${mainCf}${tables}address_verify_map = fail:verify\n`,
  });
  const lines = await dialogue(instance.smtpPort, ["MAIL FROM:<>", "RCPT TO:<nobody@localhost>"]);
  t.match(
    lines[1],
    /^450 4\.1\.1 <nobody@localhost>: Recipient address rejected: unverified address: Address verification status unavailable/,
  );
  t.notMatch(instance.maillog(), /double-bounce@/, "no probe");
});
