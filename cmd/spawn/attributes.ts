/** What master.cf says of a spawn service: `user=name[:group] argv=...` (spawn(8)). */
import { parameter } from "../../lib/config/configuration.ts";
import { fatal } from "../../lib/log/log.ts";
import { lowerAscii } from "../../lib/sys/bytes.ts";
import { lookupGroup, lookupUser } from "../../lib/sys/identity.ts";

export interface SpawnAttributes {
  readonly uid: number;
  readonly gid: number;
  readonly argv: ReadonlyArray<string>;
}

/** Reads the arguments of the service; what is wrong with them ends the process. */
export function readAttributes(words: ReadonlyArray<string>): SpawnAttributes {
  let user: string | undefined;
  let argv: ReadonlyArray<string> | undefined;
  for (const [index, word] of words.entries()) {
    const equals = word.indexOf("=");
    const name = lowerAscii(equals < 0 ? word : word.slice(0, equals));
    const value = word.slice(equals + 1);
    if (equals >= 0 && name === "user") user = value;
    else if (equals >= 0 && name === "argv") {
      argv = [value, ...words.slice(index + 1)];
      break;
    } else fatal(`unknown attribute name: ${word}`);
  }
  if (user === undefined) return fatal("missing user= attribute");
  const identity = readIdentity(user);
  if (argv === undefined) return fatal("missing argv= attribute");
  refusePrivileges(identity);
  return { ...identity, argv };
}

interface Identity {
  readonly uid: number;
  readonly gid: number;
}

function readIdentity(text: string): Identity {
  const colon = text.indexOf(":");
  const userName = colon < 0 ? text : text.slice(0, colon);
  const groupName = colon < 0 ? "" : text.slice(colon + 1);
  const user = lookupUser(userName) ?? fatal(`unknown user name: ${userName}`);
  if (groupName === "") return { uid: user.uid, gid: user.gid };
  const group = lookupGroup(groupName) ?? fatal(`unknown group name: ${groupName}`);
  return { uid: user.uid, gid: group.gid };
}

/** (uid_t) -1: "leave it as it is" to the system calls. */
const NO_ID = 0xffffffff;

function refusePrivileges({ uid, gid }: Identity): void {
  const ownerName = parameter("mail_owner");
  const owner = lookupUser(ownerName) ?? fatal(`unknown mail_owner: ${ownerName}`);
  if (uid === 0) fatal("request to deliver as root");
  if (uid === owner.uid) fatal("request to deliver as mail system owner");
  if (gid === 0) fatal("request to use privileged group id 0");
  if (gid === owner.gid) fatal(`request to use mail system owner group id ${gid}`);
  if (uid === NO_ID) fatal("user must not have user ID -1");
  if (gid === NO_ID) fatal("user must not have group ID -1");
}
