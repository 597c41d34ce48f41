/**
 * A machine with one Postfix installed in the usual place: an /etc of our own in a mount namespace, where /etc/postfix is the default
 * configuration and the accounts postfix and postdrop exist. The real machine's /etc is left alone. Needs root.
 */
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { PROGRAMS, ROOT } from "./harness.ts";

const COPIED = ["nsswitch.conf", "ld.so.cache", "hosts", "localtime", "services", "resolv.conf"];
export const POSTFIX = { uid: 8025, gid: 8025 } as const;
export const POSTDROP_GID = 8026;
/** An ordinary user, as the recorded sessions have it. */
export const TESTUSER = { name: "testuser", uid: 1001 } as const;

export interface MachineOptions {
  /** Folder with libexec/ and sbin/; default the multi-call layout. */
  readonly programs?: string;
  /** Lines after main.cf's own. */
  readonly mainCf?: string;
  /** postdrop, postqueue and postlog with the rights of the group postdrop, as a package installs them. */
  readonly setgid?: boolean;
}

export class Machine {
  readonly directory: string;
  programs: string;

  constructor(t: Pick<Test, "teardown">, options: MachineOptions = {}) {
    this.directory = mkdtempSync(join(tmpdir(), "posthaste-machine-"));
    chmodSync(this.directory, 0o755);
    t.teardown(() => rmSync(this.directory, { recursive: true, force: true }));
    this.programs = options.programs ?? PROGRAMS.multicall;
    const etc = join(this.directory, "etc");
    mkdirSync(join(etc, "postfix"), { recursive: true });
    for (const name of COPIED)
      if (existsSync(join("/etc", name))) copyFileSync(join("/etc", name), join(etc, name));
    if (existsSync("/etc/alternatives"))
      cpSync("/etc/alternatives", join(etc, "alternatives"), { recursive: true, verbatimSymlinks: true });
    const accounts = `postfix:x:${POSTFIX.uid}:${POSTFIX.gid}::/nonexistent:/bin/false\n${TESTUSER.name}:x:${TESTUSER.uid}:${TESTUSER.uid}::/:/bin/sh\n`;
    // somebody else may have the user's number
    const others = readFileSync("/etc/passwd", "utf8").replace(
      new RegExp(`^.*:x:${TESTUSER.uid}:.*\\n`, "m"),
      "",
    );
    writeFileSync(join(etc, "passwd"), others + accounts);
    const groups = `postfix:x:${POSTFIX.gid}:\npostdrop:x:${POSTDROP_GID}:\n${TESTUSER.name}:x:${TESTUSER.uid}:\n`;
    writeFileSync(join(etc, "group"), readFileSync("/etc/group", "utf8") + groups);
    if (options.setgid === true) this.programs = this.#copyPrograms();
    for (const name of ["spool", "data"]) mkdirSync(join(this.directory, name));
    chownSync(join(this.directory, "data"), POSTFIX.uid, POSTFIX.gid);
    this.write("main.cf", `${this.mainCf()}${options.mainCf ?? ""}`);
    this.write("master.cf", MASTER_CF);
    this.write("main.cf.proto", this.mainCf());
    this.write("master.cf.proto", MASTER_CF);
  }

  #copyPrograms(): string {
    const folder = join(this.directory, "programs");
    mkdirSync(folder);
    execFileSync("cp", ["-al", join(this.programs, "sbin"), join(this.programs, "libexec"), folder]);
    const bun = join(ROOT, "node_modules/bun/bin/bun.exe");
    const script = [bun, "run", join(ROOT, "packaging/setgid.ts"), `--programs=${folder}`];
    execFileSync("unshare", [...NAMESPACE, join(this.directory, "etc"), ...script]);
    return folder;
  }

  /** A file of the default configuration, as somebody wrote it a while ago. */
  write(name: string, text: string): void {
    const path = this.path(`/etc/postfix/${name}`);
    // a program that starts meanwhile sees the old file or the new one, and need not wait for either
    writeFileSync(`${path}.new`, text);
    utimesSync(`${path}.new`, 1_700_000_000, 1_700_000_000);
    renameSync(`${path}.new`, path);
  }

  read(name: string): string {
    return readFileSync(this.path(`/etc/postfix/${name}`), "latin1");
  }

  /** Where a file of the machine is: its /etc is a folder of ours. */
  path(name: string): string {
    return name.startsWith("/etc/") || name === "/etc" ? join(this.directory, name) : name;
  }

  private mainCf(): string {
    const { directory, programs } = this;
    return `compatibility_level = 3.12
queue_directory = ${directory}/spool
command_directory = ${programs}/sbin
daemon_directory = ${programs}/libexec
data_directory = ${directory}/data
mail_owner = postfix
unknown_local_recipient_reject_code = 550
debug_peer_level = 2
debugger_command =
	 PATH=/bin:/usr/bin:/usr/local/bin:/usr/X11R6/bin
	 ddd $daemon_directory/$process_name $process_id & sleep 5
sendmail_path = ${programs}/sbin/sendmail
newaliases_path = ${programs}/sbin/newaliases
mailq_path = ${programs}/sbin/mailq
setgid_group = postdrop
meta_directory = /etc/postfix
inet_protocols = ipv4
`;
  }

  /** Runs a program that is found through the PATH, with the commands of the mail system first. */
  async run(argv: ReadonlyArray<string>, options: RunOptions = {}): Promise<Outcome> {
    const child = spawn(
      "unshare",
      [
        ...NAMESPACE,
        join(this.directory, "etc"),
        ...(options.user === undefined ? [] : asUser(options.user)),
        ...argv,
      ],
      {
        cwd: this.directory,
        env: {
          PATH: `${this.programs}/sbin:/usr/sbin:/usr/bin:/sbin:/bin`,
          TZ: "UTC",
          LANG: "C",
          ...options.environment,
        },
      },
    );
    const outcome = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      child[name].setEncoding("latin1").on("data", (text: string) => (outcome[name] += text));
    // a command may end without reading its input
    child.stdin.on("error", () => undefined).end(options.input ?? "");
    const status = await new Promise<number | null>((resolve, reject) =>
      child.on("error", reject).on("close", resolve),
    );
    this.age("/etc/postfix");
    return { status, ...outcome };
  }

  /** Programs wait while main.cf is younger than a second, since somebody may be editing it: here nobody is. */
  age(config: string): void {
    for (const name of ["main.cf", "master.cf"]) {
      const path = join(this.path(config), name);
      if (existsSync(path)) utimesSync(path, 1_700_000_000, 1_700_000_000);
    }
  }
}

const NAMESPACE = ["-m", "--propagation", "private", "sh", "-c", 'mount --bind "$0" /etc && exec "$@"'];
const asUser = (uid: number): string[] => ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];

export interface RunOptions {
  /** Default root. */
  readonly user?: number;
  readonly input?: string | Buffer;
  readonly environment?: Readonly<Record<string, string>>;
}

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The services that the commands insist on; nothing listens on a network. */
const MASTER_CF = `pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
local     unix  -       n       n       -       -       local
virtual   unix  -       n       n       -       -       virtual
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
`;
