/** Who could have arranged that a table is here: a command must not run as a user with what another user made. */

import { parameter } from "../../lib/config/configuration.ts";
import { splitList } from "../../lib/config/lists.ts";
import { warning } from "../../lib/log/log.ts";
import { fromBytes, pathOf } from "../../lib/sys/bytes.ts";
import { realpathSync, statSync } from "../../lib/sys/fs.ts";

/** Why a table at this path is not indexed as this user; undefined when the administrator allows it. */
export function allowedByPath(path: string, uid: number): string | undefined {
  const [kind, name] =
    uid === 0
      ? (["root", "non_bdb_migration_allow_root_prefixes"] as const)
      : (["non-root", "non_bdb_migration_allow_user_prefixes"] as const);
  const setting = parameter(name);
  const prefixes = splitList(setting).filter(isPlain);
  if (isPlain(path) && prefixes.some((prefix) => isBelow(path, prefix))) return undefined;
  return `table ${path} has an unexpected pathname; to allow automatic indexing as ${kind}, append its parent directory to the '${name}' setting (current setting is: "${setting}")`;
}

/** Absolute, and without a way up. */
function isPlain(path: string): boolean {
  if (!path.startsWith("/")) warning(`request to allowlist prefix with relative pathname: '${path}'`);
  else if (`${path}/`.includes("/../")) warning(`request to allowlist prefix with '/../': '${path}'`);
  else return true;
  return false;
}

/** Whole components: /etc/postfix does not allow /etc/postfix2. */
const isBelow = (path: string, prefix: string): boolean => {
  const parts = partsOf(path);
  return partsOf(prefix).every((part, index) => part === parts[index]);
};

const partsOf = (path: string): string[] => path.split("/").filter((part) => part !== "" && part !== ".");

/** What of the source file and the directories above it somebody else owns or can write to, in words. */
export function untrustedPart(path: string, uid: number): string | undefined {
  const isTrusted = (name: string): boolean => {
    const { uid: owner, mode } = statSync(pathOf(name));
    return (owner === 0 || owner === uid) && (mode & 0o022) === 0;
  };
  if (!isTrusted(path)) return `source file '${path}'`;
  const parent = path.slice(0, path.lastIndexOf("/")) || "/";
  // as it is written, and where links in it lead
  for (const written of [parent, realPath(parent), realPath(path).replace(/\/[^/]*$/, "")])
    for (const directory of upward(written)) if (!isTrusted(directory)) return `parent directory '${parent}'`;
  return undefined;
}

const realPath = (path: string): string => fromBytes(realpathSync(pathOf(path), { encoding: "buffer" }));

/** /a/b, /a, / */
function upward(path: string): string[] {
  const parts = partsOf(path);
  return Array.from(
    { length: parts.length + 1 },
    (_, up) => `/${parts.slice(0, parts.length - up).join("/")}`,
  );
}
