/** nis tables with a real ypserv and ypbind, in namespaces of their own: port, domain and files are the machine's otherwise. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { isRoot, PROGRAMS } from "../support/harness.ts";
import { Postmap } from "./servers/postmap.ts";

const NAMESPACES = ["-n", "-u", "-m", "-p", "--fork", "--kill-child", "--mount-proc"];
const possible =
  isRoot &&
  ["/usr/sbin/ypserv", "/usr/sbin/ypbind", "/usr/sbin/rpcbind"].every((path) => existsSync(path)) &&
  spawnSync("unshare", [...NAMESPACES, "true"]).status === 0;

t.test("nis", possible ? {} : { skip: "needs root, ypserv, ypbind, rpcbind and namespaces" }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "table-nis-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const postmap = new Postmap(t);
  const program = `${join(PROGRAMS.multicall, "sbin", "postmap")} -c ${postmap.directory}/conf`;
  const commands = [
    // ypbind looks for its server in the background
    `n=0; until ${program} -q ann nis:mail.aliases 2>/dev/null || [ $n -gt 20 ]; do n=$((n + 1)); done`,
    `${program} -q BOB nis:mail.aliases`,
    `${program} -q nobody nis:mail.aliases`,
    `${program} -q ann nis:nosuchmap`,
    `${program} -d ann nis:mail.aliases`,
    `${program} -s nis:mail.aliases`,
    "kill $(pidof ypserv); while pidof ypserv >/dev/null; do sleep 0.05; done",
    `${program} -q ann nis:mail.aliases`,
    "kill $(pidof ypbind); while pidof ypbind >/dev/null; do sleep 0.05; done",
    `${program} -q ann nis:mail.aliases`,
    `domainname '(none)'; ${program} -q ann nis:mail.aliases`,
  ];
  const run = spawnSync("unshare", [...NAMESPACES, join(import.meta.dirname, "servers/nis.sh"), directory], {
    input: `${commands.join("\n")}\n`,
    encoding: "latin1",
    timeout: 60_000,
  });
  const trouble = (map: string, text: string): string =>
    `postmap: warning: lookup ann, NIS domain test.nis, map ${map}: ${text}\npostmap: fatal: table nis:${map}: query error`;
  const answers = run.stdout
    .split(/^status /m)
    .map((text) =>
      text
        .replace(/^\d+\n/, "")
        .replace(/(query error): .*\n/, "$1")
        .trim(),
    )
    .filter((_, index) => index < commands.length);
  const statuses = [...run.stdout.matchAll(/^status (\d+)$/gm)].map((match) => Number(match[1]));
  t.same(answers, [
    "Ann <ann@store>",
    "bob@store",
    "",
    trouble("nosuchmap", "no such map in server's domain"),
    "postmap: fatal: nis:mail.aliases map requires O_RDONLY access mode",
    "postmap: fatal: table nis:mail.aliases: sequence operation is not supported",
    "",
    // TAB-05: trouble is never "not found"
    trouble("mail.aliases", "can't bind to server on this domain"),
    "",
    trouble("mail.aliases", "can't communicate with ypbind"),
    "postmap: warning: dict_nis_init: NIS domain name not set - NIS lookups disabled",
  ]);
  t.same(statuses, [0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1]);
});
