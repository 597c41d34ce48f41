/** sendmail(1), mailq(1), newaliases(1): submits mail, or runs the command that does what was asked (tools.md 2). */

import { parameter } from "../../lib/config/configuration.ts";
import { authorizeDirectory, isUnsafeProcess } from "../../lib/config/directory.ts";
import { command, configureCommand } from "../../lib/daemon/command.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { exportedEnvironment } from "../../lib/delivery/exported_environment.ts";
import { fatal, logFatal, setFatalDelay, setVerbosity, warning } from "../../lib/log/log.ts";
import { splitAny, toBytes } from "../../lib/sys/bytes.ts";
import { currentEnvironment, setEnvironmentVariable } from "../../lib/sys/environment.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { replaceProcess } from "../../lib/sys/exec.ts";
import { changeDirectory } from "../../lib/sys/files.ts";
import { writeSync } from "../../lib/sys/fs.ts";
import { Getopt } from "../../lib/sys/getopt.ts";
import { effectiveUid, realGid, realUid, setGid, setUid } from "../../lib/sys/identity.ts";
import { baseName, directoryOf } from "../../lib/sys/paths.ts";
import { startProgram } from "../../lib/sys/spawn.ts";
import { HELP } from "./help.ts";
import { OPTION_LETTERS, readOptions, type Settings } from "./options.ts";

/** Every fatal error ends with EX_TEMPFAIL: the caller keeps the message and tries again. */
const definition = { program: "sendmail", help: HELP, fatalStatus: 75 };

export const main = command({ ...definition, run });

async function run(invocation: Invocation): Promise<void> {
  setFatalDelay(0);
  const name = invocation.processName;
  const complain = (text: string): void => {
    writeSync(2, toBytes(`${name}: ${text}\n`));
  };
  // first of all: a user's configuration is then read with the user's rights
  dropSetUid();
  chooseConfiguration(invocation, complain);
  configureCommand(definition, invocation, "update");
  const directory = parameter("queue_directory");
  try {
    changeDirectory(directory);
  } catch (error) {
    fatal(`chdir ${directory}: ${errorText(error)}`);
  }
  if (invocation.environment.has("MAIL_DEBUG") && !isUnsafeProcess()) {
    const { startDebugger } = await import("../../lib/daemon/debugger.ts");
    startDebugger();
  }
  const settings = readOptions(name, invocation.args, complain);
  if (settings.mode !== "enqueue") setVerbosity(settings.verbose);
  if (settings.interval && settings.mode !== "daemon") return;
  await act(settings, invocation);
}

/** The first look at the options finds -C alone: main.cf decides what the others mean. */
function chooseConfiguration(invocation: Invocation, complain: (text: string) => void): void {
  const options = new Getopt(invocation.args, OPTION_LETTERS);
  for (;;) {
    if (options.word === "-q") {
      options.skip();
      continue;
    }
    const option = options.next();
    if (option.kind === "end") return;
    if (option.kind === "invalid") complain(option.text);
    else if (option.letter === "C") {
      const directory =
        baseName(option.argument) === "main.cf" ? directoryOf(option.argument) : option.argument;
      authorizeDirectory(directory, effectiveUid() !== 0);
      setEnvironmentVariable("MAIL_CONFIG", directory);
    }
  }
}

function dropSetUid(): void {
  if (effectiveUid() !== 0 || realUid() === 0) return;
  warning("the Postfix sendmail command has set-uid root file permissions");
  warning("or the command is run from a set-uid root process");
  warning("the Postfix sendmail command must be installed without set-uid root file permissions");
  setGid(realGid());
  setUid(realUid());
}

async function act(settings: Settings, invocation: Invocation): Promise<void> {
  const verbose = Array.from({ length: settings.verbose }, () => "-v");
  const noOperands = (mode: string): void => {
    if (settings.operands.length > 0) fatal(`${mode} requires no recipient`);
  };
  switch (settings.mode) {
    case "enqueue":
      if (settings.site !== undefined) {
        noOperands("flush site");
        execute("postqueue", ["-s", settings.site, ...verbose]);
      }
      if (settings.queueId !== undefined) {
        noOperands("flush queue_id");
        execute("postqueue", ["-i", settings.queueId, ...verbose]);
      }
      await submit(settings, invocation);
      return;
    case "mailq":
      noOperands("display queue mode");
      return execute("postqueue", ["-p", ...verbose]);
    case "flush":
      noOperands("flush queue mode");
      return execute("postqueue", ["-f", ...verbose]);
    case "daemon":
      noOperands("daemon mode");
      startMailSystem(verbose);
      return;
    case "newaliases": {
      noOperands("alias initialization mode");
      const files =
        settings.aliasFile === undefined
          ? splitAny(parameter("alias_database"), ", \t\r\n")
          : [settings.aliasFile];
      if (files.length > 0) execute("postalias", [...verbose, "--", ...files]);
      return;
    }
    case "smtpd": {
      noOperands("stand-alone mode");
      const { checkSubmitAccess } = await import("./enqueue.ts");
      await checkSubmitAccess();
      return execute("smtpd", ["-S", ...verbose], parameter("daemon_directory"));
    }
    case "ignore":
      return;
  }
}

async function submit(settings: Settings, invocation: Invocation): Promise<void> {
  const { enqueue } = await import("./enqueue.ts");
  const environment = exportedEnvironment();
  await enqueue(settings, { environment, nameVariable: invocation.environment.get("NAME") });
}

function execute(
  program: string,
  args: ReadonlyArray<string>,
  directory = parameter("command_directory"),
): never {
  const path = `${directory}/${program}`;
  try {
    replaceProcess(path, [program, ...args], currentEnvironment());
  } catch (error) {
    fatal(`execv ${path}: ${errorText(error)}`);
  }
}

/** Nobody waits for the outcome, as with the daemon that this option used to start. */
function startMailSystem(verbose: ReadonlyArray<string>): void {
  const path = `${parameter("command_directory")}/postfix`;
  try {
    startProgram({ path, argv: ["postfix", ...verbose, "start"], environment: currentEnvironment() });
  } catch (error) {
    // the words of the child, which nobody waits for
    logFatal(`execv ${path}: ${errorText(error)}`);
  }
}
