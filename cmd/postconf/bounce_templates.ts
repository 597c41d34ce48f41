/** postconf -b and -t: the bounce daemon shows its templates. */
import { spawnSync } from "node:child_process";
import { readConfiguration } from "../../lib/config/configuration.ts";
import { fatal } from "../../lib/log/log.ts";
import { decodeUtf8 } from "../../lib/sys/bytes.ts";
import { errorText } from "../../lib/sys/errno.ts";

const unicode = (text: string): string => decodeUtf8(text) ?? text;

/** Runs `bounce` with an option that makes it print, and ends with its status. */
export function runBounceTemplates(option: string, files: ReadonlyArray<string>): void {
  if (files.length > 1) fatal("options -b and -t require at most one template file");
  const daemon = `${readConfiguration({ processName: "postconf" }).get("daemon_directory")}/bounce`;
  const settings = files.flatMap((file) => ["-o", `bounce_template_file=${unicode(file)}`]);
  const child = spawnSync(unicode(daemon), [option, ...settings, "-o", "queue_directory=."], {
    stdio: "inherit",
    argv0: "bounce",
  });
  if (child.error !== undefined) fatal(`execvp ${daemon}: ${errorText(child.error)}`);
  process.exit(child.status ?? 1);
}
