/**
 * One machine twice, with the real commands and with ours: the same paths, in mount and process namespaces of their own. A session of shell
 * commands runs in both; what each command says and returns, the log, and every file left must be the same.
 */
import { spawn } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PROGRAMS } from "../../system/support/harness.ts";
import type { Reference } from "./reference.ts";

export interface Session {
  readonly name: string;
  /** Shell commands whose output is of no interest, on a fresh machine. */
  readonly before?: string;
  /** Shell commands, in the folder of the machine. */
  readonly commands: ReadonlyArray<string>;
}

/** Copies of the real programs, without what Debian does with its jail afterwards, which is no concern of ours. */
export function plainPrograms(real: Reference, folder: string): void {
  cpSync(real.libexec, join(folder, "libexec"), { recursive: true });
  cpSync(real.sbin, join(folder, "sbin"), { recursive: true });
  for (const name of ["post-install", "postfix-script"]) {
    const script = join(folder, "libexec", name);
    const text = readFileSync(script, "latin1").replaceAll("/usr/lib/postfix/configure-instance.sh", "true");
    writeFileSync(script, text, "latin1");
  }
}

const QUEUES = "active bounce corrupt defer deferred flush hold incoming saved tlstrace trace".split(" ");
export const POSTFIX_FILES = [
  "$config_directory:d:root:-:755:u",
  "$data_directory:d:$mail_owner:-:700:uc",
  "$daemon_directory:d:root:-:755:u",
  "$queue_directory:d:root:-:755:uc",
  ...QUEUES.map((name) => `$queue_directory/${name}:d:$mail_owner:-:700:ucr`),
  "$queue_directory/maildrop:d:$mail_owner:$setgid_group:730:uc",
  "$queue_directory/private:d:$mail_owner:-:700:uc",
  "$queue_directory/public:d:$mail_owner:$setgid_group:710:uc",
  "$queue_directory/pid:d:root:-:755:uc",
  "$config_directory/main.cf:f:root:-:644:p",
  "$config_directory/master.cf:f:root:-:644:p",
  "$meta_directory/postfix-files:f:root:-:644",
  "",
].join("\n");

const SERVICES = `pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
flush     unix  n       -       n       1000?   0       flush
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
local     unix  -       n       n       -       -       local
postlog   unix-dgram n  -       n       -       1       postlogd
`;

const mainCf = (view: string): string => `compatibility_level = 3.11
queue_directory = ${view}/spool
command_directory = ${view}/sbin
daemon_directory = ${view}/libexec
data_directory = ${view}/data
meta_directory = /etc/postfix
sendmail_path = ${view}/sbin/sendmail
newaliases_path = ${view}/sbin/newaliases
mailq_path = ${view}/sbin/mailq
html_directory = no
manpage_directory = ${view}/man
sample_directory = /etc/postfix
readme_directory = no
shlib_directory = no
mail_owner = postfix
setgid_group = postdrop
default_database_type = lmdb
default_cache_db_type = lmdb
alias_maps =
alias_database =
maillog_file = ${view}/log/mail.log
maillog_file_prefixes = ${view}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
`;

export class Administration {
  readonly #root = mkdtempSync(join(tmpdir(), "posthaste-administration-"));
  readonly #view = join(this.#root, "view");
  #count = 0;

  constructor(readonly real: Reference) {
    chmodSync(this.#root, 0o755);
    mkdirSync(this.#view);
    plainPrograms(real, join(this.#root, "real"));
  }

  remove(): void {
    rmSync(this.#root, { recursive: true, force: true });
  }

  /** What both say, real first. */
  async both(session: Session): Promise<readonly [string, string]> {
    const machines = await Promise.all([
      this.#run(join(this.#root, "real"), session),
      this.#run(PROGRAMS.multicall.replace(/\/$/, ""), session),
    ]);
    return machines;
  }

  async #run(programs: string, { before = "", commands }: Session): Promise<string> {
    const home = join(this.#root, String(this.#count++));
    const view = this.#view;
    for (const name of [
      "etc/postfix",
      "view/spool",
      "view/data",
      "view/log",
      "view/sbin",
      "view/libexec",
      "said",
    ])
      mkdirSync(join(home, name), { recursive: true });
    for (const name of ["nsswitch.conf", "ld.so.cache", "hosts", "localtime", "services", "alternatives"])
      if (existsSync(`/etc/${name}`))
        cpSync(`/etc/${name}`, join(home, "etc", name), { recursive: true, verbatimSymlinks: true });
    writeFileSync(
      join(home, "etc/passwd"),
      "root:x:0:0::/root:/bin/sh\npostfix:x:8025:8025::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\ntestuser:x:1001:1001::/:/bin/sh\n",
    );
    writeFileSync(
      join(home, "etc/group"),
      "root:x:0:\npostfix:x:8025:\npostdrop:x:8026:\nnogroup:x:65534:\ntestuser:x:1001:\n",
    );
    for (const name of ["main.cf", "main.cf.proto"])
      writeFileSync(join(home, "etc/postfix", name), mainCf(view));
    for (const name of ["master.cf", "master.cf.proto"])
      writeFileSync(join(home, "etc/postfix", name), SERVICES);
    writeFileSync(join(home, "etc/postfix/postfix-files"), POSTFIX_FILES);
    const aged = "touch -d 2023-11-14 /etc/postfix/*.cf */*.cf */*/*.cf 2>/dev/null";
    const script = [
      `mount --bind ${home}/etc /etc; mount --bind ${home}/view ${view}`,
      `mount --bind ${programs}/sbin ${view}/sbin; mount --bind ${programs}/libexec ${view}/libexec`,
      "ip link set lo up",
      `cd ${view}; PATH=${view}/sbin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH`,
      "chown 8025 data; umask 022",
      `{ ${before === "" ? ":" : before}\n} >${home}/before 2>&1; ${aged}`,
      ...commands.flatMap((command, index) => [
        `( ${command}\n) </dev/null >${home}/said/${index}.out 2>${home}/said/${index}.err; echo $? >${home}/said/${index}.status`,
        aged,
      ]),
      "sleep 0.3",
      `find /etc/postfix* ${view} \\( -path ${view}/sbin -o -path ${view}/libexec \\) -prune -o -printf '%y %m %U:%G %p %l\\n' | sort -k4 >${home}/files`,
      `for file in $(find /etc/postfix* ${view}/*/ \\( -path ${view}/sbin -o -path ${view}/libexec \\) -prune -o -name '*.cf' -print | sort); do echo "=== $file"; cat $file; done >${home}/texts`,
    ].join("\n");
    const child = spawn(
      "unshare",
      [
        "-m",
        "-p",
        "-n",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
      ],
      { cwd: this.#root, env: { TZ: "UTC", LANG: "C" }, stdio: ["ignore", "inherit", "inherit"] },
    );
    await new Promise((resolve) => child.on("close", resolve));
    const read = (name: string): string =>
      existsSync(join(home, name)) ? readFileSync(join(home, name), "latin1") : "(none)\n";
    const said = commands.map(
      (command, index) =>
        `$ ${command}\n${read(`said/${index}.out`)}${read(`said/${index}.err`).replace(/^(?=.)/gm, "! ")}? ${read(`said/${index}.status`)}`,
    );
    const text = `${said.join("")}--- log\n${read("view/log/mail.log")}--- files\n${read("files")}--- texts\n${read("texts")}`;
    rmSync(home, { recursive: true, force: true });
    return normalized(text.replaceAll(view, "VIEW"));
  }
}

/** What both are to say alike: no times and process ids, no noise of a shell. Prose is our own: usages, and what packages say once. */
const normalized = (text: string): string =>
  text
    // 3.11 begins the line with more than 3.12 does
    .replace(/^! \S+\/postlog: /gm, "! postlog: ")
    .replace(/^! \S+\/post-install: /gm, "! post-install: ")
    .replace(/(?<=^! post-install: Error: Usage: ).*\n(?:! {5}.*\n)*/gm, "...\n")
    .replace(/^! mkdir: cannot create directory '(.*)': /gm, "! post-install: $1: ")
    .replace(/^! (?:VIEW\/libexec\/\S+: \d+: |rmdir: |\/bin\/sh: ).*\n/gm, "")
    // a script says each time what postconf says, ours once
    .replace(/^\$ .*\n(?:!.*\n)*/gm, (said) => [...new Set(said.split(/(?<=\n)/))].join(""))
    .replace(/^! postlog: waiting for the Postfix mail system to terminate\n/gm, "")
    .replace(/PID: \d+/g, "PID: N")
    .replace(/\d{8}-\d{6}/g, "DATE")
    .replace(/^(.*\n)\1+/gm, "$1")
    .replace(/(?<=^--- log\n)[\s\S]*(?=^--- files\n)/m, fatalLines)
    .replace(/^d 700 8025:\d+ VIEW\S*\/spare \n/gm, "")
    // what an editor prints as it changes master.cf, which a service just added need not be
    .replace(/^Editing \S+, making the flush service public\n/gm, "")
    .replace(/(?<=^Editing .*\n)\d+\n(?:.*\n){2}\d+\n/gm, "")
    .replace(/^\d+\n(?:flush|verify) .*\n.*\n\d+\n/gm, "")
    // columns of master.cf
    .replace(/(?<=^\S+)[ \t]+(?:inet|unix|pass)[ \t].*$/gm, (fields) => fields.replace(/[ \t]+/g, " "));

/** Of the log, what nobody's timing changes, each once: a real system loses lines while postlogd does not run. */
const fatalLines = (log: string): string =>
  [...new Set(log.match(/(?<= )(?:postmulti|postfix)\[\d+\]: fatal: .*/gm) ?? [])]
    .map((line) => `${line.replace(/\[\d+\]/, "")}\n`)
    .sort()
    .join("");
