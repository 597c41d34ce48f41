/** postfix(1): controls the mail system of one instance. */

import { isBelowLevel } from "../../lib/config/compatibility.ts";
import { configuration, installConfiguration, loadConfiguration } from "../../lib/config/configuration.ts";
import { importEnvironment } from "../../lib/config/environment.ts";
import { NEWEST_LEVEL } from "../../lib/config/level.ts";
import type { ParameterName } from "../../lib/config/parameters.ts";
import { offerHelp, optionLetters } from "../../lib/daemon/help.ts";
import { parseOptions } from "../../lib/daemon/options.ts";
import type { Invocation, Main } from "../../lib/daemon/program.ts";
import { error, fatal, info, setVerbosity } from "../../lib/log/log.ts";
import { setupLogging } from "../../lib/log/setup.ts";
import { decodeUtf8, splitAny } from "../../lib/sys/bytes.ts";
import { environmentVariable, setEnvironmentVariable } from "../../lib/sys/environment.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { changeDirectory } from "../../lib/sys/files.ts";
import { realUid } from "../../lib/sys/identity.ts";
import { baseName } from "../../lib/sys/paths.ts";
import { ignoreSignal } from "../../lib/sys/process.ts";
import { runCommand } from "./commands.ts";
import { HELP } from "./help.ts";
import { ownsInstance } from "./instance.ts";
import { run } from "./programs.ts";

const unicode = (text: string): string => decodeUtf8(text) ?? text;

export const main: Main = async (invocation) => {
  offerHelp(HELP, invocation);
  process.umask(0o022);
  const standardError = baseName(invocation.argv0);
  const logging = { program: "postfix", tag: "postfix", standardError, fallback: true };
  setupLogging(logging);
  const { directory, words } = readOptions(invocation, standardError);
  requireOwner(directory);
  const single = environmentVariable("MAIL_CONFIG") !== undefined;
  installConfiguration(loadConfiguration({ processName: "postfix" }));
  configuration().select(PATHS);
  importEnvironment(configuration(), "clean");
  setupLogging(logging, configuration());
  adviseLevel();
  exportSettings();
  enterDirectories();
  ignoreSignal(1);
  if (!single && configuration().get("multi_instance_directories") !== "") return runWrapper(words);
  await runCommand(words);
};

/** Parameters that only this program insists on. */
const PATHS: ReadonlyArray<ParameterName> = [
  "sendmail_path",
  "mailq_path",
  "newaliases_path",
  "manpage_directory",
  "sample_directory",
  "readme_directory",
  "html_directory",
];

function readOptions(
  invocation: Invocation,
  name: string,
): { directory: string | undefined; words: ReadonlyArray<string> } {
  if (process.geteuid?.() !== process.getuid?.()) {
    if (realUid() !== 0) refuseUser();
    fatal("the postfix command must not run as a set-uid process");
  }
  const parsed = parseOptions(invocation.args, optionLetters(HELP));
  let verbose = 0;
  for (const { option, value } of parsed.options) {
    if (option === "c") {
      if (!value.startsWith("/")) {
        if (realUid() !== 0) refuseUser();
        fatal("-c requires absolute pathname");
      }
      setEnvironmentVariable("MAIL_CONFIG", value);
    } else if (option === "D") setEnvironmentVariable("MAIL_DEBUG", "");
    else {
      setVerbosity(++verbose);
      setEnvironmentVariable("MAIL_VERBOSE", "");
    }
  }
  if (!parsed.ok) {
    if (realUid() === 0) process.stderr.write(`${name}: ${unicode(parsed.problem)}\n`);
    else requireOwner(undefined);
    return fatal("usage: postfix [-c config_dir] [-Dv] command");
  }
  return { directory: environmentVariable("MAIL_CONFIG"), words: parsed.operands };
}

/** Root, or the user whose own instance this is. */
function requireOwner(directory: string | undefined): void {
  if (realUid() !== 0 && !ownsInstance(directory)) refuseUser();
}

function refuseUser(): never {
  error("to submit mail, use the Postfix sendmail command");
  return fatal("the postfix command is reserved for the superuser");
}

function adviseLevel(): void {
  if (!isBelowLevel(configuration(), NEWEST_LEVEL)) return;
  info("Postfix is using backwards-compatible default settings");
  info("See https://www.postfix.org/COMPATIBILITY_README.html for details");
  info(
    `To disable backwards compatibility use "postconf compatibility_level=${NEWEST_LEVEL}" and "postfix reload"`,
  );
}

/** Settings that scripts run by us find in their environment. */
const EXPORTED: ReadonlyArray<ParameterName> = [
  "command_directory",
  "daemon_directory",
  "data_directory",
  "meta_directory",
  "queue_directory",
  "config_directory",
  "shlib_directory",
  "mail_owner",
  "setgid_group",
  ...PATHS,
];

function exportSettings(): void {
  setEnvironmentVariable("PATH", "/bin:/usr/bin:/sbin:/usr/sbin");
  setEnvironmentVariable("MAIL_CONFIG", configuration().directory);
  setEnvironmentVariable("MAIL_LOGTAG", configuration().get("syslog_name"));
  for (const name of EXPORTED) setEnvironmentVariable(name, String(configuration().get(name)));
}

function enterDirectories(): void {
  for (const name of ["command_directory", "daemon_directory", "queue_directory"] as const) {
    const directory = configuration().get(name);
    try {
      changeDirectory(directory);
    } catch (failure) {
      fatal(`chdir(${directory}): ${errorText(failure)}`);
    }
  }
}

/** Several instances: the wrapper runs us once for each. */
function runWrapper(words: ReadonlyArray<string>): never {
  const [wrapper, ...args] = splitAny(configuration().get("multi_instance_wrapper"), " \t\r\n");
  if (wrapper === undefined)
    return fatal("multi-instance support is requested, but multi_instance_wrapper is empty");
  return process.exit(run(wrapper, [...args, ...words]));
}
