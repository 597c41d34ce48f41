/** The manual pages: nothing is missing in them, and groff accepts them. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { RESTRICTIONS } from "../../../cmd/smtpd/access/registry.ts";
import { PARAMETERS } from "../../../lib/config/parameters.ts";
import { SERVICE_OPTIONS } from "../../../lib/daemon/service_options.ts";
import { buildDocumentation, commandHelps, manPages } from "../../../packaging/man.ts";
import { PROGRAMS } from "../../../packaging/programs.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const out = mkdtempSync(join(tmpdir(), "documentation-test-"));
t.teardown(() => rmSync(out, { recursive: true, force: true }));
await buildDocumentation(out);

/** A page without roff's marks. */
const plain = (path: string): string =>
  readFileSync(join(out, "man", path), "utf8")
    .replace(/\\f[BIR]|\\:/g, "")
    .replace(/\\-/g, "-")
    .replace(/\\e/g, "\\");

const files = ["man1", "man5", "man8"].flatMap((section) =>
  readdirSync(join(out, "man", section)).map((file) => `${section}/${file}`),
);

t.test("every program and each of its names has a page", async (t) => {
  for (const program of PROGRAMS)
    for (const name of [program.name, ...(program.links ?? [])])
      t.ok(
        ["1", "5", "8"].some((section) => existsSync(join(out, `man/man${section}`, `${name}.${section}`))),
        name,
      );
});

t.test("every file and table format has a page", async (t) => {
  const formats =
    "access aliases body_checks bounce canonical cidr_table generic header_checks ldap_table lmdb_table master memcache_table mongodb_table mysql_table pcre_table pgsql_table postconf postfix-wrapper regexp_table relocated socketmap_table sqlite_table tcp_table transport virtual";
  for (const name of formats.split(" ")) t.ok(existsSync(join(out, "man/man5", `${name}.5`)), name);
});

t.test("every option is in its program's page", async (t) => {
  for (const [name, { section, options, commands }] of await commandHelps()) {
    const page = plain(`man${section}/${name}.${section}`);
    for (const [option] of options)
      t.ok(page.includes(`\n${option.replace("|", "")}\n`), `${name} ${option}`);
    for (const [command] of commands ?? []) t.ok(page.includes(command), `${name} ${command}`);
  }
  for (const file of files.filter((candidate) => candidate.startsWith("man8/"))) {
    const page = plain(file);
    if (page.startsWith(".so ") || file === "man8/master.8") continue;
    for (const [option] of SERVICE_OPTIONS) t.ok(page.includes(`\n${option}\n`), `${file} ${option}`);
  }
});

t.test("smtpd(8) explains every restriction", async (t) => {
  const page = plain("man8/smtpd.8");
  for (const name of RESTRICTIONS.keys()) t.match(page, new RegExp(`\\b${name}\\b`), name);
});

t.test("postfix(1) knows the commands of the program", async (t) => {
  const code = readFileSync(join(root, "cmd/postfix/commands.ts"), "utf8");
  const table = /COMMANDS[^=]*= new Map[^[]*\[(.*?)\n\]\);/s.exec(code)?.[1] ?? "";
  const names = [...table.matchAll(/^ {2}\["([\w-]+)"/gm)].map((match) => match[1] ?? "");
  t.same(
    names.sort(),
    (await commandHelps())
      .get("postfix")
      ?.commands?.map(([name]) => name)
      .sort(),
  );
});

t.test("postconf(5) has every parameter, and a program's page those that it reads", async (t) => {
  const page = plain("man5/postconf.5");
  const absent = Object.keys(PARAMETERS).filter((name) => !page.includes(`\n${name} (default: `));
  t.same(absent, []);
  for (const [name, row] of Object.entries(PARAMETERS))
    for (const reader of row[5].split(",")) {
      const file = [1, 8]
        .map((section) => `man${section}/${reader}.${section}`)
        .find((path) => files.includes(path));
      if (file === undefined || plain(file).startsWith(".so ")) continue;
      if (!plain(file).includes(`\n${name} (default: `)) t.fail(`${file}: ${name}`);
    }
});

t.test("pages refer to pages", async (t) => {
  const sources = join(root, "packaging/man");
  const known = new Set(readdirSync(sources).map((file) => file.slice(0, -".page".length)));
  for (const { aliases } of await manPages())
    for (const { name, section } of aliases) known.add(`${name}.${section}`);
  for (const file of readdirSync(sources))
    for (const [, name, section] of readFileSync(join(sources, file), "utf8").matchAll(
      /\b([a-z][a-z_-]*)\(([158])\)/g,
    ))
      if (!known.has(`${name}.${section}`)) t.fail(`${file}: ${name}(${section})`);
});

const groff = spawnSync("groff", ["--version"]).status === 0;
t.test("groff has nothing to complain of", { skip: groff ? false : "needs groff" }, async (t) => {
  for (const file of files) {
    const { stderr, status } = spawnSync("groff", ["-man", "-ww", "-Tutf8", file], {
      cwd: join(out, "man"),
      encoding: "utf8",
    });
    t.same({ stderr, status }, { stderr: "", status: 0 }, file);
  }
});

const man = spawnSync("man", ["--version"]).status === 0;
t.test("man shows a page without warnings", { skip: man ? false : "needs man" }, async (t) => {
  for (const file of ["man1/sendmail.1", "man5/postconf.5", "man8/smtpd.8"]) {
    const { stdout, stderr } = spawnSync("man", ["--warnings", "-l", file], {
      cwd: join(out, "man"),
      encoding: "utf8",
      env: { ...process.env, MANWIDTH: "80" },
      maxBuffer: 8 << 20,
    });
    t.equal(stderr, "", file);
    t.match(stdout, /^NAME\n {7}/m);
  }
});
