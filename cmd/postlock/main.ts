/** postlock(1): runs a command while a mail folder is locked. */
import { parameter } from "../../lib/config/configuration.ts";
import { command, configureCommand } from "../../lib/daemon/command.ts";
import { optionLetters } from "../../lib/daemon/help.ts";
import { complain, parseOptions } from "../../lib/daemon/options.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { closeMailbox, openMailbox, parseLockMethods } from "../../lib/delivery/mailbox_lock.ts";
import { fatal, logFatal, setFatalDelay, setVerbosity, verbosity, warning } from "../../lib/log/log.ts";
import { currentEnvironment, setEnvironmentVariable } from "../../lib/sys/environment.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { runProgram } from "../../lib/sys/program_end.ts";
import { HELP } from "./help.ts";

/** sysexits.h: try again later. */
const EX_TEMPFAIL = 75;
/** Does not log: lines go to standard error only, under the name by which we were called. */
const definition = {
  program: "postlock",
  help: HELP,
  fatalStatus: EX_TEMPFAIL,
  label: (invocation: Invocation) => invocation.argv0,
  log: { ownFile: true },
};

export const main = command({ ...definition, run });

async function run(invocation: Invocation): Promise<void> {
  setFatalDelay(0);
  const usage = `usage: ${invocation.argv0} [-c config_dir] [-l lock_style] [-v] folder command...`;
  const parsed = parseOptions(invocation.args, optionLetters(HELP));
  if (!parsed.ok) {
    complain(invocation.argv0, parsed);
    return fatal(usage);
  }
  let style: string | undefined;
  for (const { option, value } of parsed.options) {
    if (option === "c") setEnvironmentVariable("MAIL_CONFIG", value);
    else if (option === "l") style = value;
    else setVerbosity(verbosity() + 1);
  }
  const [folder, ...words] = parsed.operands;
  if (folder === undefined || words.length === 0) return fatal(usage);
  configureCommand(definition, invocation, "update");
  const locked = await openMailbox(
    {
      path: folder,
      locks: parseLockMethods("mailbox_delivery_lock", style ?? parameter("mailbox_delivery_lock")),
      dotlockOptional: false,
      defaultStatus: "4.2.0",
      attempts: parameter("deliver_lock_attempts"),
      delay: parameter("deliver_lock_delay"),
      staleTime: parameter("stale_lock_time"),
    },
    (step) => step(),
  );
  if (locked.kind !== "open")
    return fatal(`open file ${folder}: ${locked.kind === "failed" ? locked.dsn.reason : "it is locked"}`);
  const status = runLocked(words);
  closeMailbox(locked.mailbox);
  process.exit(status);
}

/** The command's status; 1 when a signal ended it or when it cannot be executed. The lock is the caller's to release. */
function runLocked(words: ReadonlyArray<string>): number {
  const [path = ""] = words;
  const attempts = parameter("fork_attempts");
  for (let attempt = 1; ; attempt++) {
    try {
      const end = runProgram({ path, argv: words, environment: currentEnvironment() });
      return end.kind === "exit" ? end.status : 1;
    } catch (error) {
      const code = errorCode(error);
      if (code !== "EAGAIN" && code !== "ENOMEM") return cannotExecute(path, error);
      warning(`fork ${path}: ${errorText(error)}`);
      if (attempt >= attempts) return EX_TEMPFAIL;
      Bun.sleepSync(parameter("fork_delay") * 1000);
    }
  }
}

/** What Postfix's child does when execvp() fails: a fatal line, a second, and status 1. */
function cannotExecute(program: string, error: unknown): number {
  logFatal(`execvp ${program}: ${errorText(error)}`);
  Bun.sleepSync(1000);
  return 1;
}
