/** nbdb_reindexd(8): what a real one did with the same tables, except where docs/compatibility.md says otherwise. */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Instance } from "../../packaging/instance.ts";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { type HarnessOptions, logged, NEEDS_ROOT, runningInstance } from "./support/harness.ts";

const NOBODY = 65534;

/** An instance, and a directory that root alone can write to with everything above it. */
async function stage(
  t: Test,
  mainCf: (tables: string) => string = () => "",
  options: HarnessOptions = { stopped: true },
): Promise<{ readonly instance: Instance; readonly tables: string }> {
  const tables = mkdtempSync("/var/lib/posthaste-nbdb-");
  chmodSync(tables, 0o755);
  t.teardown(() => rmSync(tables, { recursive: true }));
  const instance = await runningInstance(t, {
    ...options,
    mainCf: `default_database_type = lmdb
default_cache_db_type = lmdb
non_bdb_migration_level = enable-reindex
non_bdb_migration_allow_root_prefixes = ${tables}, relative
non_bdb_migration_allow_user_prefixes = ${tables}/user
${mainCf(tables)}`,
    stopped: true,
  });
  return { instance, tables };
}

/** A table with its old index. */
function table(path: string, text: string, owner = 0, group = 0): void {
  for (const [name, content] of [
    [path, text],
    [`${path}.db`, ""],
  ] as const) {
    writeFileSync(name, content, { mode: 0o644 });
    chownSync(name, owner, group);
  }
}

/** What a stand-alone process says, without its name, and its status. */
function standAlone(instance: Instance, ...words: string[]): { status: number | null; said: string } {
  const { status, stderr } = instance.run("nbdb_reindexd", ["-S", ...words]);
  return { status, said: stderr.toString("latin1").replaceAll("postfix/nbdb_reindexd: ", "") };
}
const failed = (name: string, reason: string) => ({
  status: 1,
  said: `warning: stand-alone request to re-index '${name}' failed: ${reason}\n`,
});

t.test("stand-alone: texts and status", NEEDS_ROOT, async (t) => {
  const { instance, tables } = await stage(t);
  const path = join(tables, "aliases");
  table(path, "root: nobody\n");
  const done = {
    status: 0,
    said: `warning: request to allowlist prefix with relative pathname: 'relative'\nsuccessfully executed 'postalias lmdb:${path}' as uid 0\n`,
  };
  t.same(standAlone(instance, `hash:${path}`), done);
  t.equal(instance.must("postmap", ["-q", "root", `lmdb:${path}`]), "nobody\n");
  t.same(standAlone(instance, `btree:${path}`), {
    status: 0,
    said: `target file '${path}.lmdb' already exists, skipping this request\n`,
  });
  writeFileSync(`${path}.lmdb`, "");
  t.same(standAlone(instance, `btree:${path}`), done, "an empty one does not count");
  for (const bad of ["hash:relative", path, "hash:"])
    t.same(standAlone(instance, bad), {
      status: 1,
      said: `fatal: stand-alone mode called with bad argument: '${bad}'\n`,
    });
  for (const words of [[], [`hash:${path}`, `hash:${path}`]])
    t.same(standAlone(instance, ...words), {
      status: 1,
      said: "fatal: stand-alone mode requires one type:/path argument\n",
    });
  const missing = join(tables, "missing");
  const name = `hash:${missing}`;
  t.same(
    standAlone(instance, name),
    failed(name, `look up status for legacy indexed file '${missing}.db': No such file or directory`),
  );
  writeFileSync(`${missing}.db`, "");
  t.same(
    standAlone(instance, name),
    failed(name, `look up status for source file '${missing}': No such file or directory`),
  );
});

t.test("TAB-02 what is refused", NEEDS_ROOT, async (t) => {
  const { instance, tables } = await stage(t);
  const path = join(tables, "map");
  const name = `hash:${path}`;
  const refused = (table: string, reason: string, what: string): void => {
    const { status, said } = standAlone(instance, table);
    t.equal(status, 1, what);
    t.match(said, `failed: ${reason}`, what);
    t.notOk(existsSync(`${table.slice(table.indexOf(":") + 1)}.lmdb`), `${what}: nothing was built`);
  };
  const other = (legacy: string, part: string, uid = 0) =>
    `legacy indexed file '${legacy}.db' is owned by uid '${uid}', but ${part} is owned or writable by other user; to allow automatic indexing, correct the ownership or permissions\n`;
  const source = other(path, `source file '${path}'`);
  const parent = other(path, `parent directory '${tables}'`);
  const unexpected = (table: string, who: string, setting: string) =>
    `table ${table} has an unexpected pathname; to allow automatic indexing as ${who}, append its parent directory to the '${setting}' setting`;

  table(path, "a b\n");
  refused(`cdb:${path}`, "request to map from non-Berkeley-DB type: 'cdb'\n", "another type");
  refused(`nonsense:${path}`, "request to map from non-Berkeley-DB type: 'nonsense'\n", "no type");
  for (const mode of [0o664, 0o646]) {
    chmodSync(path, mode);
    refused(name, source, "source writable by others");
  }
  chmodSync(path, 0o644);
  chownSync(path, NOBODY, 0);
  refused(name, source, "source of another owner");
  chownSync(path, 0, 0);
  for (const mode of [0o775, 0o1757]) {
    chmodSync(tables, mode);
    refused(name, parent, "directory writable by others");
  }
  chmodSync(tables, 0o755);
  chownSync(tables, NOBODY, 0);
  refused(name, parent, "directory of another owner");
  chownSync(tables, 0, 0);
  chownSync(`${path}.db`, NOBODY, 0);
  refused(
    name,
    unexpected(path, "non-root", "non_bdb_migration_allow_user_prefixes"),
    "a user's index in root's place",
  );
  chownSync(`${path}.db`, 0, 0);

  const outside = mkdtempSync("/var/lib/posthaste-nbdb-");
  t.teardown(() => rmSync(outside, { recursive: true }));
  chmodSync(outside, 0o755);
  for (const place of [outside, `${tables}2`, `${tables}/../${tables.split("/").pop()}`]) {
    if (place === `${tables}2`) {
      mkdirSync(place);
      t.teardown(() => rmSync(place, { recursive: true }));
    }
    table(`${place}/map`, "a b\n");
    refused(
      `hash:${place}/map`,
      unexpected(`${place}/map`, "root", "non_bdb_migration_allow_root_prefixes"),
      place,
    );
  }

  const upper = join(tables, "upper");
  mkdirSync(join(upper, "lower"), { recursive: true });
  table(join(upper, "lower/map"), "a b\n");
  const above = other(join(upper, "lower/map"), `parent directory '${upper}/lower'`);
  chmodSync(upper, 0o777);
  refused(`hash:${upper}/lower/map`, above, "a directory further up");
  symlinkSync(join(upper, "lower"), join(tables, "link"));
  refused(
    `hash:${tables}/link/map`,
    other(join(tables, "link/map"), `parent directory '${tables}/link'`),
    "a link to where others can write",
  );
  chmodSync(upper, 0o755);
  t.equal(standAlone(instance, `hash:${tables}/link/map`).status, 0, "a link to a safe place");

  rmSync(path);
  mkdirSync(path);
  refused(name, `open source file '${path}': not a regular file\n`, "a directory");
});

t.test("TAB-02 the command has the owner's rights, and its output is cut", NEEDS_ROOT, async (t) => {
  const { instance, tables } = await stage(t, (directory) => `command_directory = ${directory}/bin\n`);
  const user = join(tables, "user");
  const path = join(user, "map");
  mkdirSync(user);
  chownSync(user, NOBODY, 0);
  mkdirSync(join(tables, "bin"));
  table(path, "a b\n", NOBODY, 1);
  const command = (text: string): void =>
    writeFileSync(join(tables, "bin/postmap"), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  const explained = (said: string) =>
    failed(
      `hash:${path}`,
      `could not execute command 'postmap lmdb:${path}': ${said}; alternatively, execute the failed command by hand`,
    );
  const run = () => standAlone(instance, `hash:${path}`);

  command(`(id; env | sort; echo "$@") >${user}/seen; echo x >${path}.lmdb; echo one; echo two >&2; exit 1`);
  t.same(run(), explained("one; two"));
  t.notOk(existsSync(`${path}.lmdb`), "half an index is removed");
  const seen = readFileSync(join(user, "seen"), "latin1");
  t.match(seen, /^uid=65534\(\w+\) gid=1\(\w+\) groups=1\(\w+\)$/m);
  t.match(seen, `MAIL_CONFIG=${instance.config}\n`);
  t.match(seen, new RegExp(`\\nlmdb:${path}\\n$`));
  t.equal(statSync(join(user, "seen")).uid, NOBODY);

  command("i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done; exit 1");
  const { status, said } = run();
  t.equal(status, 1);
  t.match(said, "line 0; line 1; line 2;");
  t.match(said, "...; alternatively, execute");
  t.ok(said.length < 1500, "cut");
  command("exit 1");
  t.same(run(), explained("(postmap failure reason unavailable: Application error)"));
  command("kill -9 $$");
  t.same(run(), explained("(postmap failure reason unavailable: killed by signal 9)"));
  rmSync(join(tables, "bin/postmap"));
  t.same(run(), explained("(postmap failure reason unavailable: execvp postmap: No such file or directory)"));
});

t.test("a daemon's table is indexed when it is opened", NEEDS_ROOT, async (t) => {
  const { instance, tables } = await stage(
    t,
    (directory) => `virtual_alias_maps = hash:${directory}/virtual\n`,
    {
      masterCf: `nbdb_reindex unix y n n - 1 nbdb_reindexd
nbdb_off unix y n n - 1 nbdb_reindexd -o non_bdb_migration_level=enable-redirect
`,
    },
  );
  table(join(tables, "virtual"), "someone@localhost nobody@localhost\n");
  instance.start();
  await sendMail(instance.smtpPort, "a@example.org", "someone@localhost", "Subject: x\r\n\r\nx\r\n");
  await logged(instance, new RegExp(`successfully executed 'postmap lmdb:${tables}/virtual' as uid 0`));
  await logged(instance, /orig_to=<someone@localhost>, .*status=sent/);

  const converse = (service: string, request: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(join(instance.queue, "private", service), () => socket.write(request, "latin1"));
      let heard = "";
      socket.on("data", (chunk) => {
        heard += chunk.toString("latin1");
      });
      socket.on("error", reject);
      socket.on("close", () => resolve(heard));
    });
  const greeting = "protocol\0nbdb_reindex\0\0";
  const virtual = `nbdb_type\0hash\0nbdb_path\0${tables}/virtual\0\0`;
  t.equal(await converse("nbdb_reindex", virtual), `${greeting}status\x000\0reason\0\0\0`);
  t.equal(
    await converse("nbdb_off", virtual),
    `${greeting}status\x001\0reason\0the nbdb_off service is disabled\0\0`,
  );
  t.equal(await converse("nbdb_reindex", "nbdb_type\0hash\0wrong\0x\0\0"), greeting);
  t.match(
    await converse("nbdb_reindex", "nbdb_type\0hash\0nbdb_path\0etc/passwd\0\0"),
    /status\x001\0reason\0look up status for legacy indexed file 'etc\/passwd\.db'/,
  );
});

t.test("start and check index alias_maps once", NEEDS_ROOT, async (t) => {
  const { instance, tables } = await stage(
    t,
    (directory) =>
      `alias_maps = lmdb:${directory}/aliases, lmdb:${directory}/unsafe lmdb:${directory}/unused, hash:${directory}/x\n`,
  );
  const done = join(instance.config, "check-alias-maps-migration-done");
  table(join(tables, "aliases"), "someone: nobody\n");
  table(join(tables, "unsafe"), "someone: nobody\n");
  chmodSync(join(tables, "unsafe"), 0o666);
  writeFileSync(join(tables, "unused"), "a: b\n");
  const { status, stderr } = instance.run("postfix", ["check"]);
  t.equal(status, 0);
  const said = stderr.toString("latin1");
  t.match(said, `successfully executed 'postalias lmdb:${tables}/aliases' as uid 0`);
  t.match(said, `request to re-index 'hash:${tables}/unsafe' failed: legacy indexed file`);
  t.match(said, "See https://www.postfix.org/NON_BERKELEYDB_README.html for suggestions");
  t.notMatch(said, "unused");
  t.ok(existsSync(done));
  rmSync(join(tables, "aliases.lmdb"));
  t.notMatch(instance.run("postfix", ["check"]).stderr.toString("latin1"), "aliases");
  t.notOk(existsSync(join(tables, "aliases.lmdb")), "not a second time");
  rmSync(done);
  instance.start();
  t.ok(existsSync(join(tables, "aliases.lmdb")), "start does it, too");
});

t.test("postmap or postalias", async (t) => {
  const { formatOf } = await import("../../cmd/nbdb_reindexd/format.ts");
  for (const [text, program] of [
    ["", "postmap"],
    ["a b\nc: d\n", "postmap"],
    ["a: b\nc d\n", "postmap"],
    ["a: b\nc: d\ne f\n", "postalias"],
    ["# x: y\na b\n", "postmap"],
    ["a\n", "postmap"],
    ["a:\n", "postmap"],
    ["a b\n x: y\n", "postmap"],
    ['"a b": c\n', "postalias"],
    ["a@b: c d\n", "postalias"],
    ["http://x: y z\n", "postalias"],
    ["a:b\n", "postalias"],
    ["a :b\n", "postmap"],
    ["a b: c\n", "postmap"],
    ['"a b" c\n', "postmap"],
    [": x\n", "postmap"],
    ["k v\n".repeat(10) + "a: v\n".repeat(30), "postmap"],
  ] as const)
    t.equal(formatOf(text), program, text.slice(0, 40));
});
