/** Where a cache database may be: what the mail system writes must lie in a directory of the mail owner's (tables.md 18). */

import { parameter } from "../config/configuration.ts";
import { fatal, warning } from "../log/log.ts";
import { pathOf } from "../sys/bytes.ts";
import { errorCode } from "../sys/errno.ts";
import { statSync } from "../sys/fs.ts";
import {
  effectiveGid,
  effectiveUid,
  lookupUser,
  setEffectiveGid,
  setEffectiveUid,
  type User,
} from "../sys/identity.ts";
import { baseName, directoryOf } from "../sys/paths.ts";

const FILE_TYPES: ReadonlySet<string> = new Set(["hash", "btree", "dbm", "lmdb", "cdb", "sdbm", "dbz"]);

const mailOwner = (): User => {
  const name = parameter("mail_owner");
  return lookupUser(name) ?? fatal(`unknown mail_owner: ${name}`);
};

/** The table that is used for `spec`: the one in data_directory, with warnings, when its own directory belongs to somebody else. */
export function cacheLocation(spec: string): string {
  const colon = spec.indexOf(":");
  const type = colon < 0 ? parameter("default_database_type") : spec.slice(0, colon);
  const path = spec.slice(colon + 1);
  if (!FILE_TYPES.has(type)) return spec;
  const directory = directoryOf(path);
  const owner = ownerOf(directory);
  if (owner === undefined || owner === mailOwner().uid) return `${type}:${path}`;
  const data = parameter("data_directory");
  warning(`request to update table ${type}:${path} in non-${parameter("mail_owner")} directory ${directory}`);
  warning(`redirecting the request to ${parameter("mail_owner")}-owned data_directory ${data}`);
  return `${type}:${data}/${baseName(path)}`;
}

function ownerOf(directory: string): number | undefined {
  try {
    return statSync(pathOf(directory)).uid;
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return undefined;
  }
}

/** Runs work with the rights of the mail owner in all threads: at the start of a process, before it has clients. */
export async function asMailOwner<T>(work: () => Promise<T>): Promise<T> {
  if (effectiveUid() !== 0) return work();
  const { uid, gid } = mailOwner();
  const ownGid = effectiveGid();
  setEffectiveGid(gid);
  setEffectiveUid(uid);
  try {
    return await work();
  } finally {
    setEffectiveUid(0);
    setEffectiveGid(ownGid);
  }
}
