/** Completion, asked for as the shells do. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { buildDocumentation, commandHelps } from "../../../packaging/man.ts";

const out = mkdtempSync(join(tmpdir(), "completion-test-"));
t.teardown(() => rmSync(out, { recursive: true, force: true }));
await buildDocumentation(out);

/** Stand-ins for the programs that completion asks. */
const programs = join(out, "bin");
mkdirSync(programs);
function program(name: string, script: string): void {
  writeFileSync(join(programs, name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(programs, name), 0o755);
}
program("postqueue", `echo '{"queue_name": "deferred", "queue_id": "4ABCDEF12", "arrival_time": 1}'`);
program("postconf", `case $1 in -m) printf 'hash\\nlmdb\\n';; -H) printf 'myhostname\\nrelayhost\\n';; esac`);
const folder = join(out, "folder");
mkdirSync(join(folder, "subdirectory"), { recursive: true });
writeFileSync(join(folder, "subject"), "");

const environment = { ...process.env, PATH: `${programs}:${process.env.PATH}` };

/** What bash offers for the last word of a command line. */
function complete(...words: string[]): string[] {
  const [command = ""] = words;
  const script = `
source "$1"; shift
function=$(complete -p "$1" | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"$function" "$1" "\${!#}"
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const file = join(out, "completion/bash", command);
  const { stdout, stderr } = spawnSync("bash", ["--norc", "-c", script, "bash", file, ...words], {
    encoding: "utf8",
    cwd: folder,
    env: environment,
  });
  t.equal(stderr, "", words.join(" "));
  return stdout.split("\n").filter((word) => word !== "");
}

t.test("bash", async (t) => {
  for (const [name, help] of await commandHelps()) {
    if (help.section !== 1) continue;
    const offered = complete(name, "-");
    for (const [option] of help.options)
      t.ok(offered.includes(option.split(/[ |]/, 1)[0] ?? ""), `${name} ${option}`);
    t.ok(offered.includes("--help"), name);
  }
  t.same(complete("postfix", "st"), ["start", "start-fg", "stop", "status", "start_msg", "stop_msg"]);
  t.same(complete("postfix", "-c", "sub"), ["subdirectory"]);
  t.same(complete("postfix", "-vc", "sub"), ["subdirectory"], "letters may share a word");
  t.same(complete("postcat", "sub").sort(), ["subdirectory", "subject"]);
  t.same(complete("postsuper", "-d", ""), ["ALL", "-", "4ABCDEF12"]);
  t.same(complete("postqueue", "-i", "4"), ["4ABCDEF12"]);
  t.same(complete("postsuper", "-r", "ALL", "defer"), ["deferred", "defer"]);
  t.same(complete("postconf", "relay"), ["relayhost"]);
  t.same(complete("postmap", "lm"), ["lmdb:"]);
  t.same(complete("postmap", "lmdb", ":", "subj"), ["subject"], "readline takes a colon for a word");
  t.same(complete("postlog", "-p", "pa"), ["panic"]);
  t.same(complete("sendmail", "-R", "h"), ["hdrs"]);
  t.same(complete("postkick", "-v", "-c", "nothing"), []);
});

const zsh = spawnSync("zsh", ["--version"]).status === 0;
t.test("zsh", { skip: zsh ? false : "needs zsh" }, async (t) => {
  const directory = join(out, "completion/zsh");
  for (const file of readdirSync(directory)) {
    const { stderr, status } = spawnSync("zsh", ["-fn", join(directory, file)], { encoding: "utf8" });
    t.same({ stderr, status }, { stderr: "", status: 0 }, file);
  }
});
