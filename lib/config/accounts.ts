/** The accounts that main.cf names must exist, be unprivileged, and be different ones. */

import { pathOf } from "../sys/bytes.ts";
import { existsSync, readFileSync, statSync } from "../sys/fs.ts";
import {
  type Group,
  lookupGroup,
  lookupGroupById,
  lookupUser,
  lookupUserById,
  type User,
} from "../sys/identity.ts";
import { readDecimal } from "../sys/numbers.ts";
import { type Configuration, ConfigurationError } from "./settings.ts";

/** The user and group database. */
export interface Accounts {
  userByName(name: string): Account | undefined;
  userById(uid: number): Account | undefined;
  groupByName(name: string): Group | undefined;
  groupById(gid: number): Group | undefined;
}

type Account = Pick<User, "name" | "uid" | "gid">;

/** Mail accounts are local ones nearly always: the files are asked first, which costs every command less than the C library does. */
export const systemAccounts: Accounts = {
  userByName: (name) => userOf(fileEntry("/etc/passwd", 0, name)) ?? lookupUser(name),
  userById: (uid) => userOf(fileEntry("/etc/passwd", 2, String(uid))) ?? lookupUserById(uid),
  groupByName: (name) => groupOf(fileEntry("/etc/group", 0, name)) ?? lookupGroup(name),
  groupById: (gid) => groupOf(fileEntry("/etc/group", 2, String(gid))) ?? lookupGroupById(gid),
};

const ID_LIMIT = 0xffff_ffff;

/** The fields of the first line that has this text in a field. */
function fileEntry(path: string, field: number, text: string): ReadonlyArray<string> | undefined {
  if (!existsSync(path)) return undefined;
  for (const line of readFileSync(path, "latin1").split("\n")) {
    const fields = line.split(":");
    if (fields[field] === text) return fields;
  }
  return undefined;
}

function userOf(fields: ReadonlyArray<string> | undefined): Account | undefined {
  const [name = "", , uidText = "", gidText = ""] = fields ?? [];
  const uid = readDecimal(uidText, ID_LIMIT);
  const gid = readDecimal(gidText, ID_LIMIT);
  return name === "" || uid === undefined || gid === undefined ? undefined : { name, uid, gid };
}

function groupOf(fields: ReadonlyArray<string> | undefined): Group | undefined {
  const [name = "", , gidText = ""] = fields ?? [];
  const gid = readDecimal(gidText, ID_LIMIT);
  return name === "" || gid === undefined ? undefined : { name, gid };
}

/**
 * Whether this is an instance of a user's own: the process is not root, mail_owner is its own user, and the queue was made by that user (the
 * one of the whole system is root's). Nothing can be dropped then, and the group of setgid_group plays no part.
 */
export function isOwnInstance(configuration: Configuration, accounts: Accounts = systemAccounts): boolean {
  const uid = process.geteuid?.() ?? 0;
  if (uid === 0 || accounts.userByName(configuration.get("mail_owner"))?.uid !== uid) return false;
  const queue = statSync(pathOf(configuration.get("queue_directory")), { throwIfNoEntry: false });
  return queue === undefined || queue.uid === uid;
}

/** Throws ConfigurationError over the first fault. `file` names main.cf in the texts. */
export function checkAccounts(
  configuration: Configuration,
  file: string,
  accounts: Accounts = systemAccounts,
): void {
  const own = isOwnInstance(configuration, accounts);
  const fail = (text: string): never => {
    throw new ConfigurationError(`${file}: ${text}`);
  };
  const user = (parameter: "default_privs" | "mail_owner"): Account => {
    const name = configuration.get(parameter);
    const account =
      accounts.userByName(name) ?? fail(`parameter ${parameter}: unknown user name value: ${name}`);
    if (account.uid === 0) fail(`parameter ${parameter}: user ${name} has privileged user ID`);
    if (account.gid === 0 && !own) fail(`parameter ${parameter}: user ${name} has privileged group ID`);
    return { ...account, name };
  };
  const privs = user("default_privs");
  const owner = user("mail_owner");
  const first = accounts.userById(owner.uid);
  if (first !== undefined && first.name !== owner.name)
    fail(`parameter mail_owner: user ${owner.name} has the same user ID ${owner.uid} as user ${first.name}`);
  if (own) return;
  const group = submissionGroup(configuration, accounts, fail);
  if (privs.name === owner.name)
    fail(`parameters default_privs and mail_owner specify the same user ${owner.name}`);
  if (privs.uid === owner.uid)
    fail(
      `parameters default_privs and mail_owner: users ${privs.name} and ${owner.name} have the same user ID: ${owner.uid}`,
    );
  if (privs.gid === owner.gid)
    fail(
      `parameters default_privs and mail_owner: users ${privs.name} and ${owner.name} have the same group ID: ${owner.gid}`,
    );
  for (const [parameter, account] of [
    ["default_privs", privs],
    ["mail_owner", owner],
  ] as const)
    if (account.gid === group.gid)
      fail(
        `parameters ${parameter} and setgid_group: user ${account.name} and group ${group.name} have the same group ID: ${group.gid}`,
      );
}

function submissionGroup(
  configuration: Configuration,
  accounts: Accounts,
  fail: (text: string) => never,
): Group {
  const name = configuration.get("setgid_group");
  const group = accounts.groupByName(name) ?? fail(`parameter setgid_group: unknown group name: ${name}`);
  if (group.gid === 0) fail(`parameter setgid_group: group ${name} has privileged group ID`);
  const first = accounts.groupById(group.gid);
  if (first !== undefined && first.name !== name)
    fail(`parameter setgid_group: group ${name} has the same group ID ${group.gid} as group ${first.name}`);
  return { name, gid: group.gid };
}
