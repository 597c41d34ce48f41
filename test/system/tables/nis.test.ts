/** nis tables with a real ypserv and ypbind, in namespaces of their own: port, domain and files are the machine's otherwise. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { Instance } from "../../../packaging/instance.ts";
import { freePort, isRoot, PROGRAMS, ROOT } from "../support/harness.ts";
import { Postmap } from "./servers/postmap.ts";

t.setTimeout(180_000);
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

t.test(
  "nis in a mail system",
  possible ? {} : { skip: "needs root, ypserv, ypbind, rpcbind and namespaces" },
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), "table-nis-mail-"));
    chmodSync(directory, 0o755);
    t.teardown(() => rmSync(directory, { recursive: true, force: true }));
    const port = await freePort();
    const ways = ["nis:mail.access", "proxy:nis:mail.access"];
    // the namespaces end with all that runs in them
    const instance = new Instance({
      directory: join(directory, "instance"),
      programs: PROGRAMS.multicall,
      smtpPort: await freePort(),
      mainCf: `smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
relay_domains = tables.test
smtpd_restriction_classes = way0 way1
${ways.map((table, way) => `way${way} = check_recipient_access ${table}`).join("\n")}
smtpd_recipient_restrictions = check_sender_access inline:{ {way0@tables.test = way0} {way1@tables.test = way1} }
smtpd_error_sleep_time = 0
proxy_read_maps = proxy:nis:mail.access
`,
      masterCf: `127.0.0.1:${port} inet n - y - - smtpd\n`,
    });
    const questions = ways.map((_, way) => ({
      sender: `way${way}@tables.test`,
      recipients: ["ann@tables.test", "nobody@tables.test"],
    }));
    const ask = `${process.execPath} --import=tsx ${join(import.meta.dirname, "servers/recipients.ts")} ${port} '${JSON.stringify(questions)}'`;
    const bound = `n=0; until ${instance.program("postmap")} -c ${instance.config} -q ann@tables.test nis:mail.access >/dev/null 2>&1 || [ $n -gt 20 ]; do n=$((n + 1)); done`;
    const commands = [
      bound,
      `${instance.program("postfix")} -c ${instance.config} start >/dev/null 2>&1`,
      ask,
      "kill $(pidof ypserv); while pidof ypserv >/dev/null; do sleep 0.05; done",
      ask,
      "ypserv",
      bound,
      ask,
    ];
    const run = spawnSync(
      "unshare",
      [...NAMESPACES, join(import.meta.dirname, "servers/nis.sh"), directory],
      {
        input: `${commands.join("\n")}\n`,
        encoding: "latin1",
        timeout: 120_000,
        cwd: ROOT,
      },
    );
    if (run.status !== 0) t.comment(`${run.stdout}${run.stderr}${instance.maillog()}`);
    const answers = [...run.stdout.matchAll(/^\[\[.*\]\]$/gm)].map(([text]) => JSON.parse(text));
    const right = ["554 5.7.1 <ann@tables.test>: Recipient address rejected: by NIS", "250 2.1.5 Ok"];
    t.same(
      [answers[0], answers[2]],
      [
        [right, right],
        [right, right],
      ],
      "in a jail, through proxymap, and when the server is back",
    );
    for (const answer of answers[1]?.flat() ?? ["none"])
      t.match(answer, /^451 4\.3\.[05] /, "TAB-05 while the server is gone");
  },
);
