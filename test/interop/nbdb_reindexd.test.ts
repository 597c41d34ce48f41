/** nbdb_reindexd(8) and the programs that ask it, ours and the real ones each with the other: indexes are made, and refusals are understood. */
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { sendMail } from "../../packaging/smtp_hello.ts";
import { logged } from "../system/support/harness.ts";
import { command, type Mixture, mixedInstance } from "./support/mixed.ts";
import { dynamicMaps, reference } from "./support/reference.ts";

t.setTimeout(120_000);
t.jobs = 3;
const programs = reference();
const skip = "missing" in programs ? { skip: programs.missing } : {};
const GAMES = 5;

/** A table with its old index, as a system has it that comes from Berkeley DB. */
function table(path: string, text: string, owner = 0, mode = 0o644): void {
  for (const [name, content] of [
    [path, text],
    [`${path}.db`, ""],
  ] as const) {
    writeFileSync(name, content, { mode });
    chmodSync(name, mode);
    chownSync(name, owner, owner);
  }
}

const MIXTURES: Readonly<Record<string, Mixture>> = {
  "our service, real clients": { base: "real", swapped: ["nbdb_reindexd"] },
  "a real service, our clients": { base: "ours", swapped: ["nbdb_reindexd"] },
  "a real service and real clients": { base: "real", swapped: [] },
};

/** What each mixture says of the refused tables; all must say the same. */
const said = new Map<string, string>();
const runs = Object.entries(MIXTURES).map(([name, mixture]) =>
  t.test(name, { ...skip, buffered: true }, async (t) => {
    if ("missing" in programs) return;
    const tables = mkdtempSync("/var/lib/posthaste-nbdb-");
    chmodSync(tables, 0o755);
    t.teardown(() => rmSync(tables, { recursive: true }));
    const at = (name: string): string => join(tables, name);
    table(at("virtual"), "someone@localhost nobody@localhost\n");
    table(at("aliases"), "another: nobody\n");
    table(at("owned"), "key value\n", GAMES);
    table(at("unsafe"), "key value\n", 0, 0o666);
    table(at("asked"), "key value\n");
    const instance = await mixedInstance(
      t,
      programs,
      mixture,
      (directory) => `shlib_directory = ${programs.libraries}
meta_directory = ${directory}/config
default_database_type = lmdb
default_cache_db_type = lmdb
non_bdb_migration_level = enable-reindex
non_bdb_migration_allow_root_prefixes = ${tables}
non_bdb_migration_allow_user_prefixes = ${tables}
virtual_alias_maps = hash:${at("virtual")}
alias_maps = hash:${at("aliases")}
local_recipient_maps =
`,
      () => "nbdb_reindex unix y n n - 1 nbdb_reindexd\n",
      (instance) => {
        writeFileSync(join(instance.config, "dynamicmaps.cf"), dynamicMaps(programs.libraries));
        writeFileSync(join(instance.config, "postfix-files"), "");
      },
    );
    const text = "Subject: x\r\n\r\nx\r\n";
    await sendMail(instance.smtpPort, "a@example.org", "someone@localhost", text);
    await logged(instance, /orig_to=<someone@localhost>, .*status=sent/);
    await sendMail(instance.smtpPort, "a@example.org", "another@localhost", text);
    await logged(instance, /to=<nobody@\S+>, orig_to=<another@localhost>, .*status=sent/);
    await logged(instance, new RegExp(`successfully executed 'postmap lmdb:${at("virtual")}' as uid 0`));
    await logged(instance, new RegExp(`successfully executed 'postalias lmdb:${at("aliases")}' as uid 0`));

    const ask = (name: string) => command(instance, "postmap", ["-q", "key", `hash:${at(name)}`]);
    t.match(ask("asked"), { status: 0, stdout: "value\n" });
    const refused = ["owned", "unsafe", "nosuch"].map(ask);
    t.same(
      refused.map(({ status }) => status),
      [1, 1, 1],
    );
    t.notOk(existsSync(at("owned.lmdb")), "the owner may not write to root's directory");
    t.equal(statSync(at("asked.lmdb")).uid, 0);
    said.set(
      name,
      refused
        .map(({ stderr }) => stderr)
        .join("")
        .replaceAll(tables, "TABLES")
        .replaceAll(instance.directory, "INSTANCE")
        // which 3.12 adds
        .replaceAll("; alternatively, execute the failed command by hand", ""),
    );
  }),
);

await Promise.all(runs);
t.test("all say the same", skip, async (t) => {
  for (const text of said.values()) t.equal(text, said.get("a real service and real clients"));
});
