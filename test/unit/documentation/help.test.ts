/** Options are declared once: what the parser takes, what `--help` shows. */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { optionLetters } from "../../../lib/daemon/help.ts";
import { SERVICE_OPTIONS } from "../../../lib/daemon/service_options.ts";
import { commandHelps } from "../../../packaging/man.ts";
import { PROGRAMS } from "../../../packaging/programs.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const bun = join(root, "node_modules/bun/bin/bun.exe");
const runner = join(root, "test/unit/documentation/run.ts");

/** What the programs of Postfix give to getopt(). */
const LETTERS: Readonly<Record<string, string>> = {
  master: "c:Dde:istvw",
  postalias: "Nc:d:fijnopq:rsuvw",
  postcat: "bc:defhoqrs:v",
  postconf: "aAbc:C:deEfFhHjlmMno:pPqtT:vxX#",
  postdrop: "c:rv",
  postfix: "c:Dv",
  postkick: "c:v",
  postlock: "c:l:v",
  postlog: "c:ip:t:v",
  postmap: "bc:d:fFhijmnNopq:rsuUvw",
  postmulti: "ae:g:i:G:I:jlpRvx",
  postqueue: "c:fi:jps:v",
  postsuper: "c:d:e:f:h:H:pr:sSv",
  qshape: "b:c:lm:N:n:pst:w:",
  "smtp-sink": "468aA:b:B:cCd:D:eEf:Fh:H:Ln:m:M:NpPq:Q:r:R:s:S:t:T:u:vw:W:",
  "smtp-source": "46AcC:df:F:l:Lm:M:Nor:R:s:S:t:T:vw:",
  sendmail: "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:q:tvx",
};

const sorted = (letters: string): string[] => (letters.match(/.:?/g) ?? []).sort();

t.test("the declared options are those of Postfix", async (t) => {
  const helps = await commandHelps();
  for (const [name, letters] of Object.entries(LETTERS)) {
    const help = helps.get(name);
    if (help === undefined) t.fail(`${name} has no help`);
    else t.same(sorted(optionLetters(help)), sorted(letters), name);
  }
  t.same(sorted(optionLetters({ options: SERVICE_OPTIONS })), sorted("cdDi:lm:n:o:r:s:St:uvVz"), "daemons");
});

t.test("every command of section 1 declares its options, and no program has letters beside", async (t) => {
  const helps = await commandHelps();
  for (const { name, directory } of PROGRAMS)
    if (directory === "sbin") t.ok(helps.has(name), `${name} has cmd/${name}/help.ts`);
  for (const folder of ["cmd", "lib/table_maker", "lib/daemon"])
    for (const file of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })) {
      if (!file.endsWith(".ts")) continue;
      const text = readFileSync(join(root, folder, file), "utf8");
      if (/parseOptions\([^)]*"|new Getopt\([^)]*"/.test(text))
        t.fail(`${folder}/${file} has option letters`);
    }
});

t.test("--help shows every option and names the page", async (t) => {
  for (const [name, help] of await commandHelps()) {
    const { status, stdout, stderr } = spawnSync(bun, ["run", runner, name, "--help"], { encoding: "utf8" });
    t.same({ status, stderr }, { status: 0, stderr: "" }, name);
    t.ok(stdout.startsWith(`Usage: ${name} `), name);
    const shown = stdout.split("\n").map((line) => /^ {2}(\S.*?)(?: {2}|$)/.exec(line)?.[1]);
    for (const [option] of help.options) t.ok(shown.includes(option.replace("|", "")), `${name} ${option}`);
    for (const [command] of help.commands ?? []) t.ok(shown.includes(command), `${name} ${command}`);
    t.match(stdout, `Manual page: ${name}(${help.section})\n`);
  }
});

t.test("anywhere else --help is refused as it always was", async (t) => {
  const { status, stdout, stderr } = spawnSync(bun, ["run", runner, "postqueue", "-v", "--help"], {
    encoding: "utf8",
  });
  t.equal(status, 69);
  t.equal(stdout, "");
  t.match(stderr, "postqueue: invalid option -- '-'\npostqueue: fatal: usage: postqueue -f | ");
});
