/** `postfix logrotate`: the log file gets another name, postlogd begins a new one, and the old one is compressed. */
import { spawnSync } from "node:child_process";
import { renameSync } from "node:fs";
import { configuration } from "../../lib/config/configuration.ts";
import { fatal } from "../../lib/log/log.ts";
import { decodeUtf8, pathOf, trimSpace } from "../../lib/sys/bytes.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { isRunning, signalMaster } from "./master_process.ts";

const unicode = (text: string): string => decodeUtf8(text) ?? text;

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
    const child = spawnSync(unicode(program), words.map(unicode), { encoding: "latin1" });
    if (child.error !== undefined)
      return fatal(`logfile '${file}' rotation failed: ${program}: ${errorText(child.error)}`);
    if (child.status !== 0)
      return fatal(`logfile '${file}' rotation failed: ${trimSpace(`${child.stdout}${child.stderr}`)}`);
    return trimSpace(child.stdout);
  };
  const rotated = `${file}.${run("date", [`+${suffix}`])}`;
  try {
    renameSync(pathOf(file), pathOf(rotated));
  } catch (error) {
    fatal(`logfile '${file}' rotation failed: ${errorText(error)}`);
  }
  if (isRunning()) signalMaster("HUP");
  await new Promise((resolve) => setTimeout(resolve, 1000));
  run(compressor, [rotated]);
}
