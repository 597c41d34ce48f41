/** Running debugger_command on this process (option -D, or MAIL_DEBUG in the environment). */

import { configuration } from "../config/configuration.ts";
import { info, warning } from "../log/log.ts";
import { currentEnvironment } from "../sys/environment.ts";
import { errorText } from "../sys/errno.ts";
import { runProgram } from "../sys/program_end.ts";

/**
 * Runs the command to its end, so that one like `gdb ... & sleep 5` is attached before the work begins. It is given $process_name and
 * $process_id by expansion.
 */
export function startDebugger(): void {
  const command = configuration().get("debugger_command");
  if (command === "") return;
  info(`running: ${command}`);
  try {
    runProgram({
      path: "/bin/sh",
      argv: ["sh", "-c", command],
      environment: currentEnvironment(),
      descriptors: ["null", 1, 2],
    });
  } catch (error) {
    warning(`debugger_command: ${errorText(error)}`);
  }
}
