/** postfix-wrapper(5): a command of postfix(1) for the default instance and each one that it lists, one after another; postmulti(1) does that and more. */
import { spawnSync } from "node:child_process";
import { constants } from "node:os";
import { configuration, parameter } from "../../lib/config/configuration.ts";
import { splitList } from "../../lib/config/lists.ts";
import { command, configureCommand } from "../../lib/daemon/command.ts";
import type { Invocation } from "../../lib/daemon/program.ts";
import { fatal, setFatalStatus } from "../../lib/log/log.ts";
import { decodeUtf8, trimSpace } from "../../lib/sys/bytes.ts";
import { errorText } from "../../lib/sys/errno.ts";

/** The default instance goes down last. */
const REVERSED: ReadonlySet<string> = new Set(["stop", "quick-stop", "abort", "drain"]);
/** An instance that is not enabled has nothing to do with these. */
const NEEDS_RUNNING: ReadonlySet<string> = new Set(["stop", "abort", "drain", "flush", "reload"]);
const DIRECT_CALL = 2;

const definition = { program: "postfix-wrapper", log: { fallback: true } };

export const main = command({ ...definition, run });

async function run(invocation: Invocation): Promise<void> {
  if (process.env.command_directory === undefined) {
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
  return runProgram("postfix", ["-c", directory, ...command], "inherit").status;
}

const isEnabled = (directory: string): boolean =>
  runProgram("postconf", ["-c", directory, "-h", "multi_instance_enable"], "pipe").output === "yes";

const unicode = (text: string): string => decodeUtf8(text) ?? text;

function runProgram(
  name: string,
  args: ReadonlyArray<string>,
  stdout: "inherit" | "pipe",
): { readonly status: number; readonly output: string } {
  const path = `${parameter("command_directory")}/${name}`;
  const child = spawnSync(unicode(path), args.map(unicode), { stdio: ["inherit", stdout, "inherit"] });
  if (child.error !== undefined) return fatal(`${path}: ${errorText(child.error)}`);
  return {
    status: child.status ?? 128 + (child.signal === null ? 0 : constants.signals[child.signal]),
    output: trimSpace(child.stdout?.toString("latin1") ?? ""),
  };
}
