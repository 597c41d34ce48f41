/** What an installation consists of: postfix-files, or our own list where there is none. */

import { configuration } from "../../lib/config/configuration.ts";
import { isParameterName } from "../../lib/config/parameter_rows.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { existsSync, readdirSync, readFileSync } from "../../lib/sys/fs.ts";
import { readOctal } from "../../lib/sys/numbers.ts";

export interface InstalledObject {
  readonly path: string;
  readonly type: "directory" | "file";
  readonly owner: string;
  /** undefined: leave the group alone. */
  readonly group: string | undefined;
  readonly mode: number;
  /** c: create when missing; u: correct at an upgrade; r: owner and group of everything below, too; 1: may be missing in another instance. */
  readonly flags: string;
  /** Name of the parameter with which the object's name begins. */
  readonly base: string;
}

const QUEUES = [
  "active",
  "bounce",
  "corrupt",
  "defer",
  "deferred",
  "flush",
  "hold",
  "incoming",
  "saved",
  "spare",
  "tlstrace",
  "trace",
];

const COMMANDS = "postalias postcat postconf postfix postkick postlock postmap postmulti postsuper";
const SUBMITTERS = "postdrop postqueue postlog";
const DAEMONS =
  "anvil bounce cleanup discard dnsblog error flush lmtp local master nbdb_reindexd oqmgr pickup pipe postfix-wrapper postlogd postscreen proxymap qmgr qmqpd scache showq smtp smtpd spawn tlsmgr tlsproxy trivial-rewrite verify virtual";

/** Our own list, in the form of postfix-files. */
const OWN_LIST: ReadonlyArray<string> = [
  "$config_directory:d:root:-:755:u",
  "$data_directory:d:$mail_owner:-:700:uc",
  "$daemon_directory:d:root:-:755:u",
  "$queue_directory:d:root:-:755:uc",
  ...QUEUES.map((name) => `$queue_directory/${name}:d:$mail_owner:-:700:ucr`),
  "$queue_directory/maildrop:d:$mail_owner:$setgid_group:730:uc",
  "$queue_directory/private:d:$mail_owner:-:700:uc",
  "$queue_directory/public:d:$mail_owner:$setgid_group:710:uc",
  "$queue_directory/pid:d:root:-:755:uc",
  ...DAEMONS.split(" ").map((name) => `$daemon_directory/${name}:f:root:-:755`),
  ...COMMANDS.split(" ").map((name) => `$command_directory/${name}:f:root:-:755`),
  ...SUBMITTERS.split(" ").map((name) => `$command_directory/${name}:f:root:$setgid_group:2755:u`),
  "$sendmail_path:f:root:-:755",
];

export interface Installation {
  readonly objects: ReadonlyArray<InstalledObject>;
  /** The list is that of the package: what it names has to be there. */
  readonly strict: boolean;
}

/** The objects of $meta_directory/postfix-files and postfix-files.d, else of our own list. `settings` override parameters. */
export function installedObjects(settings: ReadonlyMap<string, string>): Installation {
  const lines = packageLines(settingOf("meta_directory", settings));
  const objects = (lines ?? OWN_LIST).flatMap((line) => {
    const object = readObject(line, settings);
    return object === undefined ? [] : [object];
  });
  return { objects, strict: lines !== undefined };
}

function packageLines(directory: string): string[] | undefined {
  const main = `${directory}/postfix-files`;
  if (!existsSync(pathOf(main))) return undefined;
  const more = `${directory}/postfix-files.d`;
  const extra = existsSync(pathOf(more)) ? readdirSync(pathOf(more), { encoding: "latin1" }).sort() : [];
  return [main, ...extra.map((name) => `${more}/${name}`)].flatMap((path) =>
    readFileSync(pathOf(path), "latin1").split("\n"),
  );
}

export const settingOf = (name: string, settings: ReadonlyMap<string, string>): string =>
  settings.get(name) ?? (isParameterName(name) ? String(configuration().get(name)) : "");

const expand = (text: string, settings: ReadonlyMap<string, string>): string =>
  text.replace(/\$([a-z_]+)|\$\{([a-z_]+)\}/g, (_, bare?: string, braced?: string) =>
    settingOf(bare ?? braced ?? "", settings),
  );

/** The object of a line; undefined for comments, links, what is obsolete, and what is not installed. */
function readObject(line: string, settings: ReadonlyMap<string, string>): InstalledObject | undefined {
  if (!line.startsWith("$")) return undefined;
  const [name = "", type, owner = "", group = "-", mode = "", flags = ""] = line.split(":");
  if ((type !== "d" && type !== "f") || flags.includes("o")) return undefined;
  const base = /^\$\{?([a-z_]+)/.exec(name)?.[1] ?? "";
  if (settingOf(base, settings) === "no") return undefined;
  const permissions = readOctal(mode);
  if (permissions === undefined) return undefined;
  const path = expand(name, settings);
  const open =
    settings.get("maildrop_world_writable") ??
    (configuration().get("maildrop_world_writable") ? "yes" : "no");
  const queue = settingOf("queue_directory", settings);
  return {
    path,
    type: type === "d" ? "directory" : "file",
    owner: expand(owner, settings),
    group: group === "-" || group === "" ? undefined : expand(group, settings),
    mode: open === "yes" ? openMode(path.slice(queue.length), permissions) : permissions,
    flags,
    base,
  };
}

/**
 * Modes for mail submission without a set-gid program. The sockets in public stay out of reach: cleanup believes its clients, and pickup
 * watches the directory by itself.
 */
const openMode = (below: string, mode: number): number => (below === "/maildrop" ? 0o1733 : mode);
