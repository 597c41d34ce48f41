/**
 * A private instance of the mail system in a directory of its own: what `npm start` shows, and what the tests run. Runs on Node and Bun alike.
 * Without root it belongs to the user who makes it; with root the daemons run as the system's `daemon` user.
 */
import { execFileSync, type SpawnSyncReturns, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";

export interface InstanceOptions {
  /** Directory of the instance; made when missing. */
  readonly directory: string;
  /** Where the programs are: a folder with libexec/ and sbin/. */
  readonly programs: string;
  /** Ports on 127.0.0.1. */
  readonly smtpPort: number;
  /** Lines of main.cf after the instance's own. */
  readonly mainCf?: string;
  /** Lines of master.cf that replace the entries of the same name and type, or come on top. */
  readonly masterCf?: string;
}

export interface Identities {
  readonly mailOwner: string;
  readonly setgidGroup: string;
  /** Who gets the mail of the local domain. */
  readonly recipient: string;
}

const isRoot = (): boolean => process.getuid?.() === 0;

/** With root: accounts that every Debian has. Without: the user alone. */
export function identities(): Identities {
  if (isRoot()) return { mailOwner: "daemon", setgidGroup: "mail", recipient: "nobody" };
  const { username } = userInfo();
  const group = execFileSync("id", ["-gn"], { encoding: "utf8" }).trim();
  return { mailOwner: username, setgidGroup: group, recipient: username };
}

/** The stock services, as Postfix ships them, with the SMTP server on a private port. */
const masterCfOf = (smtpPort: number): ReadonlyArray<readonly [string, string]> => [
  ["127.0.0.1:smtp inet", `127.0.0.1:${smtpPort} inet n - n - - smtpd`],
  ["pickup unix", "pickup unix n - n 60 1 pickup"],
  ["cleanup unix", "cleanup unix n - n - 0 cleanup"],
  ["qmgr unix", "qmgr unix n - n 300 1 qmgr"],
  ["rewrite unix", "rewrite unix - - n - - trivial-rewrite"],
  ["bounce unix", "bounce unix - - n - 0 bounce"],
  ["defer unix", "defer unix - - n - 0 bounce"],
  ["trace unix", "trace unix - - n - 0 bounce"],
  ["verify unix", "verify unix - - n - 1 verify"],
  ["flush unix", "flush unix n - n 1000? 0 flush"],
  ["proxymap unix", "proxymap unix - - n - - proxymap"],
  ["proxywrite unix", "proxywrite unix - - n - 1 proxymap"],
  ["smtp unix", "smtp unix - - n - - smtp"],
  ["relay unix", "relay unix - - n - - smtp"],
  ["showq unix", "showq unix n - n - - showq"],
  ["error unix", "error unix - - n - - error"],
  ["retry unix", "retry unix - - n - - error"],
  ["discard unix", "discard unix - - n - - discard"],
  ["local unix", "local unix - n n - - local"],
  ["virtual unix", "virtual unix - n n - - virtual"],
  ["lmtp unix", "lmtp unix - - n - - lmtp"],
  ["anvil unix", "anvil unix - - n - 1 anvil"],
  ["scache unix", "scache unix - - n - 1 scache"],
  ["postlog unix-dgram", "postlog unix-dgram n - n - 1 postlogd"],
];

export class Instance {
  readonly directory: string;
  readonly config: string;
  readonly queue: string;
  readonly mail: string;
  readonly log: string;
  readonly smtpPort: number;
  readonly who: Identities = identities();
  readonly #programs: string;

  constructor(options: InstanceOptions) {
    this.directory = options.directory;
    this.config = join(options.directory, "config");
    this.queue = join(options.directory, "queue");
    this.mail = join(options.directory, "mail");
    this.log = join(options.directory, "maillog");
    this.smtpPort = options.smtpPort;
    this.#programs = options.programs;
    this.#write(options);
  }

  #write(options: InstanceOptions): void {
    for (const name of [this.directory, this.config, this.queue, join(this.directory, "data"), this.mail])
      mkdirSync(name, { recursive: true, mode: 0o755 });
    if (isRoot()) {
      const [uid, gid] = ["-u", "-g"].map((flag) =>
        Number(execFileSync("id", [flag, this.who.mailOwner], { encoding: "utf8" })),
      );
      chownSync(join(this.directory, "data"), uid ?? 0, gid ?? 0);
    }
    chmodSync(this.mail, 0o1777);
    writeFileSync(
      join(this.config, "aliases"),
      `postmaster ${this.who.recipient}\nroot ${this.who.recipient}\n`,
    );
    writeFileSync(join(this.config, "main.cf"), this.#mainCf(options));
    const given = (options.masterCf ?? "").split("\n").filter((line) => line.trim() !== "");
    const replaced = new Set(
      given.filter((line) => !/^\s/.test(line)).map((line) => line.split(/\s+/, 2).join(" ")),
    );
    const stock = masterCfOf(options.smtpPort).filter(([name]) => !replaced.has(name));
    writeFileSync(
      join(this.config, "master.cf"),
      [...stock.map(([, line]) => line), ...given, ""].join("\n"),
    );
    // programs wait while main.cf is younger than a second, since somebody may be editing it
    const past = new Date(Date.now() - 10_000);
    for (const name of ["main.cf", "master.cf", "aliases"]) utimesSync(join(this.config, name), past, past);
  }

  /** The instance's own settings but for those that the caller replaces, then the caller's. */
  #mainCf(options: InstanceOptions): string {
    const given = options.mainCf ?? "";
    const replaced = new Set(given.split("\n").map((line) => /^([A-Za-z_][^\s=]*)\s*=/.exec(line)?.[1]));
    const own = this.#ownSettings()
      .split("\n")
      .filter((line) => !replaced.has(line.split(" =", 1)[0]));
    return `${own.join("\n")}\n${given}\n`;
  }

  #ownSettings(): string {
    return `compatibility_level = 3.11
queue_directory = ${this.queue}
data_directory = ${join(this.directory, "data")}
command_directory = ${join(this.#programs, "sbin")}
daemon_directory = ${join(this.#programs, "libexec")}
meta_directory = ${this.config}
shlib_directory = no
sendmail_path = ${join(this.#programs, "sbin/sendmail")}
mailq_path = ${join(this.#programs, "sbin/mailq")}
newaliases_path = ${join(this.#programs, "sbin/newaliases")}
mail_owner = ${this.who.mailOwner}
setgid_group = ${this.who.setgidGroup}
default_privs = nobody
maillog_file = ${this.log}
maillog_file_prefixes = /
maillog_file_permissions = 0644
myhostname = mail.posthaste.test
mydomain = posthaste.test
mydestination = $myhostname, localhost
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
default_database_type = texthash
alias_maps = texthash:${join(this.config, "aliases")}
alias_database =
mail_spool_directory = ${this.mail}
maildrop_world_writable = yes
biff = no`;
  }

  /** Path of an installed program. */
  program(name: string): string {
    const command = join(this.#programs, "sbin", name);
    return existsSync(command) ? command : join(this.#programs, "libexec", name);
  }

  /** Environment for this instance's commands. */
  get environment(): Record<string, string> {
    return {
      PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin",
      TZ: process.env.TZ ?? "UTC",
      MAIL_CONFIG: this.config,
    };
  }

  /** Runs a command of the mail system. */
  run(name: string, args: ReadonlyArray<string> = [], input: string | Buffer = ""): SpawnSyncReturns<Buffer> {
    return spawnSync(this.program(name), [...args], {
      env: this.environment,
      input,
      timeout: 120_000,
      maxBuffer: 1 << 28,
    });
  }

  /** Runs a command that must succeed; its output. */
  must(name: string, args: ReadonlyArray<string> = [], input: string | Buffer = ""): string {
    const result = this.run(name, args, input);
    if (result.status !== 0)
      throw new Error(
        `${name} ${args.join(" ")}: status ${result.status ?? result.signal}\n${result.stdout}${result.stderr}`,
      );
    return result.stdout.toString("latin1");
  }

  start(): void {
    this.must("postfix", ["start"]);
  }
  stop(): void {
    this.must("postfix", ["stop"]);
  }

  /** The mail log so far. */
  maillog(): string {
    return existsSync(this.log) ? readFileSync(this.log, "latin1") : "";
  }
}
