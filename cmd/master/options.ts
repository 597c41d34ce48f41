/** The command line of master. */

import { offerHelp, optionLetters } from "../../lib/daemon/help.ts";
import { complain, parseOptions } from "../../lib/daemon/options.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { fatal, setVerbosity } from "../../lib/log/log.ts";
import { setEnvironmentVariable } from "../../lib/sys/environment.ts";
import { closeSync, writeSync } from "../../lib/sys/fs.ts";
import { readDecimal } from "../../lib/sys/numbers.ts";
import { HELP } from "./help.ts";

export interface MasterOptions {
  /** -D: run debugger_command on this process. */
  readonly debug: boolean;
  /** -d: stay on the terminal. */
  readonly foreground: boolean;
  /** -i: this is process 1 of a container. */
  readonly init: boolean;
  /** -s: keep standard output. */
  readonly keepStdout: boolean;
  readonly test: boolean;
  readonly wait: boolean;
  /** -e: seconds after which master ends by itself; 0 = never. */
  readonly exitTime: number;
  readonly verbose: boolean;
  /** Tells the parent of `master -w` that the system is up. */
  readonly initialized: () => void;
}

/** Set in the environment of the child of `master -w`: the descriptor of the monitor pipe. */
export const MONITOR_VARIABLE = "MASTER_MONITOR";
export const MONITOR_DESCRIPTOR = 3;

const USAGE =
  "usage: master [-c config_dir] [-D (debug)] [-d (don't detach from terminal)] [-e exit_time] [-t (test)] [-v] [-w (wait for initialization)]";

export function readOptions(invocation: Invocation): MasterOptions {
  offerHelp(HELP, invocation);
  const parsed = parseOptions(invocation.args, optionLetters(HELP));
  if (!parsed.ok) complain(invocation.processName, parsed);
  if (!parsed.ok || parsed.operands.length > 0) return fatal(USAGE);
  const given = new Map(parsed.options.map(({ option, value }) => [option, value]));
  const directory = given.get("c");
  if (directory !== undefined) setEnvironmentVariable("MAIL_CONFIG", directory);
  const verbose = given.has("v") || invocation.environment.has("MAIL_VERBOSE");
  if (verbose) setVerbosity(1);
  if (given.has("t") && given.has("w")) fatal("the -t and -w options cannot be used together");
  if (given.has("i")) {
    if (process.pid !== 1) fatal("-i is allowed only for PID 1 process");
    if (given.has("D") || given.has("d") || given.has("w"))
      fatal("the -i option cannot be used with -D, -d, or -w");
  }
  const monitored = invocation.environment.get(MONITOR_VARIABLE) === String(process.ppid);
  return {
    debug: given.has("D"),
    foreground: given.has("d"),
    init: given.has("i"),
    keepStdout: given.has("s") || given.has("i"),
    test: given.has("t"),
    wait: given.has("w"),
    exitTime: exitTime(given.get("e")),
    verbose,
    initialized: () => {
      if (!monitored) return;
      writeSync(MONITOR_DESCRIPTOR, "\0");
      closeSync(MONITOR_DESCRIPTOR);
    },
  };
}

function exitTime(text: string | undefined): number {
  if (text === undefined) return 0;
  return readDecimal(text, 2147483647) ?? fatal(USAGE);
}
