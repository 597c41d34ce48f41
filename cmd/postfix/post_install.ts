/** What Postfix's post-install does: missing directories, permissions, and entries that an older configuration lacks. */
import { configuration } from "../../lib/config/configuration.ts";
import { splitNameValue } from "../../lib/config/main_cf.ts";
import { isParameterName } from "../../lib/config/parameter_rows.ts";
import { installedObjects } from "./installed_objects.ts";
import { isSecondary } from "./instance.ts";
import { applyPermissions, type PermissionScope } from "./permissions.ts";
import { commandPath, run } from "./programs.ts";
import { upgradeConfiguration } from "./upgrade.ts";

interface Work {
  createMissing: boolean;
  scope: PermissionScope;
  upgrade: boolean;
}

const PATH_PARAMETERS: ReadonlySet<string> = new Set([
  "command_directory",
  "config_directory",
  "daemon_directory",
  "data_directory",
  "html_directory",
  "mailq_path",
  "manpage_directory",
  "meta_directory",
  "newaliases_path",
  "queue_directory",
  "readme_directory",
  "sample_directory",
  "sendmail_path",
  "shlib_directory",
]);
const MAY_BE_NO: ReadonlySet<string> = new Set(["html_directory", "readme_directory", "shlib_directory"]);
const ACCOUNT_PARAMETERS: ReadonlySet<string> = new Set(["mail_owner", "setgid_group"]);

const USAGE =
  "Usage: post-install [name=value]... command... where a command is one of create-missing, set-permissions, upgrade-permissions, upgrade-configuration, upgrade-source, upgrade-package, first-install-reminder.";

function fail(text: string): 1 {
  process.stderr.write(`post-install: Error: ${text}\n`);
  return 1;
}

/** Runs the command words and settings; the exit status. */
export function runPostInstall(args: ReadonlyArray<string>): number {
  const settings = new Map<string, string>();
  const work: Work = { createMissing: false, scope: "none", upgrade: false };
  let words = 0;
  for (const argument of args) {
    if (/[ \t\n\v\f\r]/.test(argument)) return fail(`argument contains whitespace: '${argument}'`);
    if (argument.includes("=")) {
      const pair = splitNameValue(argument);
      if (!pair.ok) return fail(`bad setting: "${argument}".`);
      // packages give names here that only the installation from source knows
      if (isParameterName(pair.name)) settings.set(pair.name, pair.value);
    } else if (addWord(argument, work)) words++;
    else return fail(USAGE);
  }
  if (words === 0) return fail(USAGE);
  for (const [name, value] of settings)
    if (PATH_PARAMETERS.has(name) && !value.startsWith("/") && !(value === "no" && MAY_BE_NO.has(name)))
      return fail(`"${value}" should be ${MAY_BE_NO.has(name) ? '"no" or ' : ""}an absolute path name.`);
  if (!saveSettings(settings)) return 1;
  const secondary = isSecondary();
  const { objects, strict } = installedObjects(settings);
  const bases = ["config_directory", "queue_directory", "data_directory"];
  const concerned = secondary ? objects.filter(({ base }) => bases.includes(base)) : objects;
  if (
    !applyPermissions(concerned, { createMissing: work.createMissing, scope: work.scope, strict, secondary })
  )
    return 1;
  if (work.upgrade) upgradeConfiguration(configuration().directory);
  return 0;
}

function addWord(word: string, work: Work): boolean {
  const permissions = (scope: PermissionScope): true => {
    work.createMissing = true;
    work.scope = scope;
    return true;
  };
  if (word === "create-missing") {
    work.createMissing = true;
    return true;
  }
  if (word.startsWith("set-perm")) return permissions("all");
  if (word.startsWith("upgrade-perm")) return permissions("upgrade");
  if (word.startsWith("upgrade-conf")) {
    work.upgrade = true;
    return true;
  }
  if (word === "upgrade-source" || word === "upgrade-package") {
    work.upgrade = true;
    return permissions(word === "upgrade-source" ? "upgrade" : "all");
  }
  if (!word.startsWith("first-install")) return false;
  process.stdout.write(
    "    Before the mail system is started for the first time, main.cf has to be looked at (myhostname, mydestination, mynetworks),\n" +
      '    root\'s mail needs a reader (an alias in /etc/aliases), and the alias index is built with "newaliases".\n',
  );
  return true;
}

/** Settings that main.cf does not have yet are written to it. */
function saveSettings(settings: ReadonlyMap<string, string>): boolean {
  const known = [...settings].filter(([name]) => PATH_PARAMETERS.has(name) || ACCOUNT_PARAMETERS.has(name));
  const changed = known.filter(
    ([name, value]) =>
      name !== "config_directory" && isParameterName(name) && String(configuration().get(name)) !== value,
  );
  if (changed.length === 0) return true;
  const version = configuration().get("mail_version");
  const args = changed.map(([name, value]) => {
    const portable = value.endsWith(version) ? `${value.slice(0, -version.length)}\${mail_version}` : value;
    return `${name}=${portable}`;
  });
  return run(commandPath("postconf"), ["-c", configuration().directory, "-e", ...args]) === 0;
}
