/** postlog(1): logs lines from scripts. */

import { configuration } from "../../lib/config/configuration.ts";
import { command, configureCommand } from "../../lib/daemon/command.ts";
import { optionLetters } from "../../lib/daemon/help.ts";
import { complain, parseOptions } from "../../lib/daemon/options.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import type { Level } from "../../lib/log/event.ts";
import { fatal, logRecord, setVerbosity, verbosity } from "../../lib/log/log.ts";
import { setupLogging } from "../../lib/log/setup.ts";
import { lowerAscii, printable } from "../../lib/sys/bytes.ts";
import { setEnvironmentVariable } from "../../lib/sys/environment.ts";
import { errorCode } from "../../lib/sys/errno.ts";
import { readSync } from "../../lib/sys/fs.ts";
import { effectiveUid } from "../../lib/sys/identity.ts";
import { isTerminal } from "../../lib/sys/process.ts";
import { HELP } from "./help.ts";

const SEVERITIES = new Map<string, Level>([
  ["info", "info"],
  ["warn", "warning"],
  ["warning", "warning"],
  ["error", "error"],
  ["err", "error"],
  ["fatal", "fatal"],
  ["crit", "fatal"],
  ["panic", "panic"],
]);
const USAGE = "usage: postlog [-c config_dir] [-i] [-p priority] [-t tag] [-v] [text]";
/** Input lines longer than this are cut: the log would cut them anyway. */
const LINE_LIMIT = 65536;

const definition = { program: "postlog", help: HELP, label: () => "postlog", log: { fallback: true } };

export const main = command({ ...definition, run });

async function run(invocation: Invocation): Promise<void> {
  const parsed = parseOptions(invocation.args, optionLetters(HELP));
  if (!parsed.ok) {
    complain("postlog", parsed);
    return fatal(USAGE);
  }
  let tag: string | undefined;
  let level: Level = "info";
  for (const { option, value } of parsed.options) {
    if (option === "c") setEnvironmentVariable("MAIL_CONFIG", value);
    else if (option === "p") level = SEVERITIES.get(lowerAscii(value)) ?? fatal(`bad severity: "${value}"`);
    else if (option === "t") tag = printable(value);
    else if (option === "v" && effectiveUid() === 0) setVerbosity(verbosity() + 1);
  }
  configureCommand(definition, invocation, "clean");
  const shownTag = tag ?? `${configuration().get("syslog_name")}/postlog`;
  const standardError = isTerminal(2) ? shownTag : "postlog";
  setupLogging(
    { program: "postlog", fallback: true, standardError, ...(tag === undefined ? {} : { tag }) },
    configuration(),
  );

  // somebody else's errors do not end this process, however many they are
  const record = (text: string): void => logRecord({ level, event: "postlog", text, fields: {} });
  if (parsed.operands.length > 0) record(parsed.operands.join(" "));
  else for (const line of inputLines()) record(line);
  if (level === "fatal" || level === "panic") Bun.sleepSync(1000);
}

/** Lines of the standard input; the last one may lack its newline. */
function* inputLines(): Generator<string> {
  const buffer = Buffer.alloc(65536);
  let rest = "";
  for (;;) {
    let count: number;
    try {
      count = readSync(0, buffer);
    } catch (error) {
      if (errorCode(error) === "EAGAIN") {
        Bun.sleepSync(10);
        continue;
      }
      throw error;
    }
    if (count === 0) break;
    const lines = (rest + buffer.toString("latin1", 0, count)).split("\n");
    rest = (lines.pop() ?? "").slice(0, LINE_LIMIT);
    yield* lines;
  }
  if (rest !== "") yield rest;
}
