/** What has to be in order before the mail system is started. */

import { configuration } from "../../lib/config/configuration.ts";
import { complainAndPause } from "../../lib/daemon/script_log.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { readFileSync, statSync } from "../../lib/sys/fs.ts";
import { runPostInstall } from "./post_install.ts";
import { commandPath, run } from "./programs.ts";

/** Makes what is missing and looks for what cannot be made; false: the mail system must not start. */
export async function checkFatal(): Promise<boolean> {
  const { directory } = configuration();
  const masterCf = `${directory}/master.cf`;
  const hasMasterCf = statSync(pathOf(masterCf), { throwIfNoEntry: false })?.isFile() === true;
  if (runPostInstall(["create-missing"]) !== 0)
    return complainAndPause("unable to create missing queue directories");
  if (!hasMasterCf) return complainAndPause(`no ${masterCf} file found`);
  if (configuration().get("maillog_file") !== "" && !hasPostlog(masterCf))
    return complainAndPause("missing 'postlog' service in master.cf - run 'postfix upgrade-configuration'");
  return run(commandPath("postsuper"), []) === 0;
}

const hasPostlog = (path: string): boolean =>
  /^postlog[ \t]+unix-dgram[ \t]/m.test(readFileSync(pathOf(path), "latin1"));
