/** postfix-wrapper(5): a command of postfix(1) for the default instance and each one that it lists, one after another; postmulti(1) does that and more. */
import { configuration, parameter } from "../../lib/config/configuration.ts";
import { splitList } from "../../lib/config/lists.ts";
import { command, configureCommand } from "../../lib/daemon/command.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { fatal, setFatalStatus } from "../../lib/log/log.ts";
import { trimSpace } from "../../lib/sys/bytes.ts";
import { currentEnvironment } from "../../lib/sys/environment.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { outputOf, runProgram, statusOf } from "../../lib/sys/program_end.ts";
import type { Start } from "../../lib/sys/spawn.ts";

/** The default instance goes down last. */
const REVERSED: ReadonlySet<string> = new Set(["stop", "quick-stop", "abort", "drain"]);
/** An instance that is not enabled has nothing to do with these. */
const NEEDS_RUNNING: ReadonlySet<string> = new Set(["stop", "abort", "drain", "flush", "reload"]);
const DIRECT_CALL = 2;

const definition = { program: "postfix-wrapper", log: { fallback: true } };

export const main = command({ ...definition, run });

async function run(invocation: Invocation): Promise<void> {
  if (!invocation.environment.has("command_directory")) {
    setFatalStatus(DIRECT_CALL);
    fatal("do not invoke this command directly");
  }
  configureCommand(definition, invocation, "keep");
  const words = invocation.args;
  const directories = [configuration().directory, ...splitList(parameter("multi_instance_directories"))];
  if (REVERSED.has(words[0] ?? "")) directories.reverse();
  let status = 0;
  for (const directory of directories) status = control(directory, words) || status;
  process.exit(status);
}

/** Carries the command out for one instance; its status. */
function control(directory: string, words: ReadonlyArray<string>): number {
  const [word = ""] = words;
  if (NEEDS_RUNNING.has(word) && !isEnabled(directory)) return 0;
  const command = word === "start" && !isEnabled(directory) ? ["check"] : words;
  return withProgram("postfix", ["-c", directory, ...command], (start) => statusOf(runProgram(start)));
}

const isEnabled = (directory: string): boolean =>
  withProgram("postconf", ["-c", directory, "-h", "multi_instance_enable"], (start) =>
    trimSpace(outputOf(start).output),
  ) === "yes";

function withProgram<T>(name: string, args: ReadonlyArray<string>, run: (start: Start) => T): T {
  const path = `${parameter("command_directory")}/${name}`;
  try {
    return run({ path, argv: [path, ...args], environment: currentEnvironment() });
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return fatal(`${path}: ${errorText(error)}`);
  }
}
