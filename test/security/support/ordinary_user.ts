/** Acting as an ordinary user of the machine against an instance whose programs have borrowed group rights. */
import { execFileSync, type SpawnSyncReturns, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../system/support/harness.ts";

/** A system account of every Debian that is in no group of the mail system. */
export const USER = "games";

/** A copy of the programs, the set-gid ones installed as a package would. */
export function setgidPrograms(directory: string, programs: string, group: string): string {
  const folder = join(directory, "programs");
  mkdirSync(folder);
  execFileSync("cp", ["-al", join(programs, "sbin"), join(programs, "libexec"), folder]);
  const bun = join(ROOT, "node_modules/bun/bin/bun.exe");
  execFileSync(bun, ["run", join(ROOT, "packaging/setgid.ts"), `--programs=${folder}`, `--group=${group}`]);
  return folder;
}

export interface Action {
  /** Shell text, run by bash. */
  readonly script: string;
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly input?: string | Buffer;
}

/**
 * A user's view of a machine where /etc/postfix/main.cf lists the instance: an /etc of our own in a mount namespace, so that the machine's
 * own is left alone.
 */
export class OrdinaryUser {
  readonly home: string;
  readonly #etc: string;
  readonly #environment: Readonly<Record<string, string>>;

  constructor(directory: string, config: string) {
    this.home = join(directory, "home");
    this.#etc = join(directory, "etc");
    this.#environment = { PATH: "/usr/bin:/bin", HOME: this.home, MAIL_CONFIG: config };
    mkdirSync(this.home);
    execFileSync("chown", [USER, this.home]);
    mkdirSync(join(this.#etc, "postfix"), { recursive: true });
    for (const name of [
      "passwd",
      "group",
      "nsswitch.conf",
      "ld.so.cache",
      "hosts",
      "localtime",
      "services",
      "resolv.conf",
    ])
      if (existsSync(join("/etc", name))) copyFileSync(join("/etc", name), join(this.#etc, name));
    if (existsSync("/etc/alternatives"))
      cpSync("/etc/alternatives", join(this.#etc, "alternatives"), {
        recursive: true,
        verbatimSymlinks: true,
      });
    writeFileSync(join(this.#etc, "postfix/main.cf"), `alternate_config_directories = ${config}\n`);
    chmodSync(this.#etc, 0o755);
  }

  run(action: Action | string): SpawnSyncReturns<string> {
    const { script, cwd, environment, input } =
      typeof action === "string" ? ({ script: action } as Action) : action;
    const variables = Object.entries({ ...this.#environment, ...environment }).map(
      ([name, value]) => `${name}=${value}`,
    );
    // the variables meant for the program under attack must not act on the tools that lead to it
    const inside =
      'mount --bind "$1" /etc && cd "$2" && shift 2 && exec setpriv --reuid="$0" --regid="$0" --clear-groups env -i "$@"';
    const args = [
      "-m",
      "--propagation",
      "private",
      "sh",
      "-c",
      inside,
      USER,
      this.#etc,
      cwd ?? this.home,
      ...variables,
      "bash",
      "-c",
      script,
    ];
    return spawnSync("unshare", args, { input: input ?? "", encoding: "latin1", timeout: 30_000 });
  }
}
