/** Which instance this is: a user's own one, a secondary one, or the default. */

import { isOwnInstance } from "../../lib/config/accounts.ts";
import { configuration } from "../../lib/config/configuration.ts";
import { DEFAULT_DIRECTORY } from "../../lib/config/directory.ts";
import { splitList } from "../../lib/config/lists.ts";
import { parseMainCf } from "../../lib/config/main_cf.ts";
import { Configuration, ConfigurationError } from "../../lib/config/settings.ts";
import { errorCode } from "../../lib/sys/errno.ts";
import { readFileSync } from "../../lib/sys/fs.ts";

const refuse = (text: string): never => {
  throw new ConfigurationError(text);
};

/** The settings of a configuration directory, undefined when they cannot be read. */
function peek(directory: string): Configuration | undefined {
  let text: string;
  try {
    text = readFileSync(`${directory}/main.cf`, "latin1");
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return undefined;
  }
  const parsed = parseMainCf(text, `${directory}/main.cf`);
  if (!parsed.ok) return undefined;
  const { entries } = parsed;
  return new Configuration({
    directory,
    entries,
    processName: "postfix",
    serviceName: "postfix",
    owner: 0,
    die: refuse,
  });
}

/** Whether a user who is not root may control this instance: its mail owner is that user. */
export function ownsInstance(directory: string | undefined): boolean {
  try {
    const settings = peek(directory ?? DEFAULT_DIRECTORY);
    return settings !== undefined && isOwnInstance(settings);
  } catch (error) {
    if (error instanceof ConfigurationError) return false;
    throw error;
  }
}

/** An instance of a user who is not root: owners of files are taken as they are. */
export const isOwn = (): boolean => isOwnInstance(configuration());

/** The directories that the default instance lists as other instances. */
function otherInstances(): ReadonlyArray<string> {
  try {
    return splitList(peek(DEFAULT_DIRECTORY)?.get("multi_instance_directories") ?? "");
  } catch (error) {
    if (error instanceof ConfigurationError) return [];
    throw error;
  }
}

/** An instance beside the default one, with which it shares programs and their directories. */
export const isSecondary = (): boolean => {
  const { directory } = configuration();
  return directory !== DEFAULT_DIRECTORY && otherInstances().includes(directory);
};

export const hasOtherInstances = (): boolean => otherInstances().length > 0;
