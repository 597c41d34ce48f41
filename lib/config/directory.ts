/** Which configuration directories a program with borrowed rights may read. */

import { error, fatal } from "../log/log.ts";
import { pathOf, splitAny } from "../sys/bytes.ts";
import { errorText } from "../sys/errno.ts";
import { readFileSync } from "../sys/fs.ts";
import { logicalLines } from "./lines.ts";
import { splitNameValue } from "./main_cf.ts";
import { parameterRow } from "./parameter_rows.ts";

/** The built-in configuration directory. */
export const DEFAULT_DIRECTORY: string = parameterRow("config_directory")[1];

/** The process has rights that its user does not have (set-gid), so that environment and command line are not to be trusted. */
export function isUnsafeProcess(): boolean {
  const uid = process.getuid?.();
  const euid = process.geteuid?.();
  if (uid === 0 && euid === 0) return false;
  return euid !== uid || process.getgid?.() !== process.getegid?.();
}

/** An unsafe process reads another main.cf than the default one only when that one lists it. */
export function authorizeDirectory(directory: string, unsafe: boolean = isUnsafeProcess()): void {
  if (directory === DEFAULT_DIRECTORY || !unsafe) return;
  if (listedDirectories(`${DEFAULT_DIRECTORY}/main.cf`).includes(directory)) return;
  error(`unauthorized configuration directory name: ${directory}`);
  fatal(
    `specify "alternate_config_directories = ${directory}" or "multi_instance_directories = ${directory}" in ${DEFAULT_DIRECTORY}/main.cf`,
  );
}

/** Directories that a main.cf names for other instances: its raw text, without `$name` expansion. */
export function listedDirectories(path: string): string[] {
  let text: string;
  try {
    text = readFileSync(pathOf(path), "latin1");
  } catch (failure) {
    return fatal(`open file ${path}: ${errorText(failure)}`);
  }
  return logicalLines(text, path).lines.flatMap((line) => {
    const pair = splitNameValue(line.text);
    const lists =
      pair.ok && (pair.name === "alternate_config_directories" || pair.name === "multi_instance_directories");
    return lists ? splitAny(pair.value, ", \t\r\n") : [];
  });
}
