/** Start-up of a command-line program (tools.md 1). */

import { configuration, installConfiguration, loadConfiguration } from "../config/configuration.ts";
import { cleanEnvironment, updateEnvironment } from "../config/environment.ts";
import { setFatalStatus, setVerbosity } from "../log/log.ts";
import { type LogSetup, setupLogging } from "../log/setup.ts";
import { toBytes } from "../sys/bytes.ts";
import { currentEnvironment, installEnvironment } from "../sys/environment.ts";
import { writeSync } from "../sys/fs.ts";
import { baseName } from "../sys/paths.ts";
import { ignoreSignal } from "../sys/process.ts";
import { type CommandHelp, offerHelp } from "./help.ts";
import type { Invocation, Main } from "./program.ts";

export interface CommandDefinition {
  /** Name under which it logs; default the process name. */
  readonly program?: string;
  /** Name on standard error; default the last component of argv[0]. */
  readonly label?: (invocation: Invocation) => string;
  /** Exit status of fatal errors; default 1. */
  readonly fatalStatus?: number;
  readonly log?: Partial<LogSetup>;
  /** Its options and their meaning; gives it `--help`. */
  readonly help?: CommandHelp;
  readonly run: (invocation: Invocation) => Promise<void>;
}

/** The main function of a command: logging on standard error and to the mail log, then `run`; it ends with status 0 unless `run` ends it otherwise. */
export const command =
  (definition: CommandDefinition): Main =>
  async (invocation) => {
    if (definition.help !== undefined) offerHelp(definition.help, invocation);
    ignoreSignal(13);
    setVerbosity(invocation.environment.has("MAIL_VERBOSE") ? 1 : 0);
    if (definition.fatalStatus !== undefined) setFatalStatus(definition.fatalStatus);
    setupLogging(logSetup(definition, invocation));
    await definition.run(invocation);
    process.exit(0);
  };

const logSetup = (definition: CommandDefinition, invocation: Invocation): LogSetup => ({
  program: definition.program ?? invocation.processName,
  standardError: definition.label?.(invocation) ?? baseName(invocation.argv0),
  ...definition.log,
});

/** Reads main.cf and makes it this process's configuration; directs the log accordingly; applies import_environment. */
export function configureCommand(
  definition: Omit<CommandDefinition, "run">,
  invocation: Invocation,
  environment: "clean" | "update" | "keep",
): void {
  const program = definition.program ?? invocation.processName;
  installConfiguration(loadConfiguration({ processName: program }));
  setupLogging(logSetup({ ...definition, run: async () => undefined }, invocation), configuration());
  if (environment === "keep") return;
  const change = environment === "clean" ? cleanEnvironment : updateEnvironment;
  installEnvironment(
    change("import_environment", configuration().get("import_environment"), currentEnvironment()),
  );
}

/** Writes a byte string to standard output. */
export function print(text: string): void {
  let bytes: Uint8Array = toBytes(text);
  while (bytes.length > 0) bytes = bytes.subarray(writeSync(1, bytes));
}
