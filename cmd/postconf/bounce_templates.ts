/** postconf -b and -t: the bounce daemon shows its templates. */

import { loadConfiguration } from "../../lib/config/configuration.ts";
import { fatal } from "../../lib/log/log.ts";
import { currentEnvironment } from "../../lib/sys/environment.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { runProgram } from "../../lib/sys/program_end.ts";

/** Runs `bounce` with an option that makes it print, and ends with its status. */
export function runBounceTemplates(option: string, files: ReadonlyArray<string>): void {
  if (files.length > 1) fatal("options -b and -t require at most one template file");
  const daemon = `${loadConfiguration({ processName: "postconf" }).get("daemon_directory")}/bounce`;
  const settings = files.flatMap((file) => ["-o", `bounce_template_file=${file}`]);
  try {
    const end = runProgram({
      path: daemon,
      argv: ["bounce", option, ...settings, "-o", "queue_directory=."],
      environment: currentEnvironment(),
    });
    process.exit(end.kind === "exit" ? end.status : 1);
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    fatal(`execvp ${daemon}: ${errorText(error)}`);
  }
}
