/** `postfix logrotate`: the log file gets another name, postlogd begins a new one, and the old one is compressed. */

import { configuration } from "../../lib/config/configuration.ts";
import { fatal } from "../../lib/log/log.ts";
import { pathOf, trimSpace } from "../../lib/sys/bytes.ts";
import { currentEnvironment } from "../../lib/sys/environment.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { renameSync } from "../../lib/sys/fs.ts";
import { outputOf, statusOf } from "../../lib/sys/program_end.ts";
import { isRunning, signalMaster } from "./master_process.ts";

export async function rotateLog(args: ReadonlyArray<string>): Promise<void> {
  if (args.length > 0) fatal("usage postfix logrotate (no arguments)");
  const setting = (
    name: "maillog_file" | "maillog_file_compressor" | "maillog_file_rotate_suffix",
  ): string => {
    const value = configuration().get(name);
    return value === "" ? fatal(`empty '${name}' parameter value - logfile rotation failed`) : value;
  };
  const file = setting("maillog_file");
  const compressor = setting("maillog_file_compressor");
  const suffix = setting("maillog_file_rotate_suffix");
  if (file.startsWith("/dev/")) fatal(`not rotating '${file}'`);
  const run = (program: string, words: ReadonlyArray<string>): string => {
    try {
      const start = { path: program, argv: [program, ...words], environment: currentEnvironment() };
      const { end, output } = outputOf(start, { errors: true });
      if (statusOf(end) === 0) return trimSpace(output);
      return fatal(`logfile '${file}' rotation failed: ${trimSpace(output)}`);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      return fatal(`logfile '${file}' rotation failed: ${program}: ${errorText(error)}`);
    }
  };
  const rotated = `${file}.${run("date", [`+${suffix}`])}`;
  try {
    renameSync(pathOf(file), pathOf(rotated));
  } catch (error) {
    fatal(`logfile '${file}' rotation failed: ${errorText(error)}`);
  }
  const problem = isRunning() ? signalMaster("HUP") : undefined;
  if (problem !== undefined) fatal(`logfile '${file}' rotation failed: ${problem.text}`);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  run(compressor, [rotated]);
}
