/** What master.cf says of a pipe service: `flags=... user=... argv=...` (pipe(8)). */
import { parameter } from "../../lib/config/configuration.ts";
import { fatal } from "../../lib/log/log.ts";
import { lowerAscii } from "../../lib/sys/bytes.ts";
import { lookupGroup, lookupUser } from "../../lib/sys/identity.ts";
import { readDecimal } from "../../lib/sys/numbers.ts";
import { type PipeFlags, parseFlags } from "./flags.ts";

export interface PipeAttributes {
  readonly flags: PipeFlags;
  readonly uid: number;
  readonly gid: number;
  /** Directory to run in; of the jail, when there is one. */
  readonly directory: string | undefined;
  readonly chroot: string | undefined;
  readonly endOfLine: string;
  /** What stands for the null sender. */
  readonly nullSender: string;
  /** Largest message in bytes; undefined (`size=0`): any. */
  readonly sizeLimit: number | undefined;
  readonly argv: ReadonlyArray<string>;
}

/** Reads the arguments of the service; what is wrong with them ends the process. */
export function readAttributes(words: ReadonlyArray<string>): PipeAttributes {
  const given = new Map<string, string>();
  let argv: ReadonlyArray<string> | undefined;
  for (const [index, word] of words.entries()) {
    const equals = word.indexOf("=");
    const name = lowerAscii(equals < 0 ? word : word.slice(0, equals));
    if (equals < 0 || !NAMES.has(name)) return fatal(`unknown attribute name: ${word}`);
    const value = word.slice(equals + 1);
    if (name === "argv") {
      argv = [value, ...words.slice(index + 1)];
      break;
    }
    given.set(name, value);
  }
  const flags = parseFlags(given.get("flags") ?? "");
  if (!flags.ok) return fatal(`unknown flag: ${flags.unknown} (ignored)`);
  const identity = given.get("user");
  const { uid, gid } = identity === undefined ? { uid: 0, gid: 0 } : readIdentity(identity);
  const sizeLimit = readSize(given.get("size"));
  if (identity === undefined) fatal("missing user= command-line attribute");
  if (argv === undefined) return fatal("missing argv= command-line attribute");
  refusePrivileges(uid, gid);
  return {
    flags: flags.flags,
    uid,
    gid,
    directory: given.get("directory"),
    chroot: given.get("chroot"),
    endOfLine: unescapeC(given.get("eol") ?? "\n"),
    nullSender: given.get("null_sender") ?? "MAILER-DAEMON",
    sizeLimit,
    argv,
  };
}

const NAMES: ReadonlySet<string> = new Set([
  "flags",
  "user",
  "directory",
  "chroot",
  "eol",
  "null_sender",
  "size",
  "argv",
]);

function readIdentity(text: string): { uid: number; gid: number } {
  const colon = text.indexOf(":");
  const userName = colon < 0 ? text : text.slice(0, colon);
  const groupName = colon < 0 ? "" : text.slice(colon + 1);
  const user = lookupUser(userName) ?? fatal(`get_service_attr: unknown username: ${userName}`);
  if (groupName === "") return user;
  const group = lookupGroup(groupName) ?? fatal(`get_service_attr: unknown group: ${groupName}`);
  return { uid: user.uid, gid: group.gid };
}

function readSize(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const size =
    readDecimal(text, Number.MAX_SAFE_INTEGER) ?? fatal(`get_service_attr: bad size= value: ${text}`);
  return size === 0 ? undefined : size;
}

function refusePrivileges(uid: number, gid: number): void {
  const ownerName = parameter("mail_owner");
  const owner = lookupUser(ownerName) ?? fatal(`unknown mail_owner: ${ownerName}`);
  const groupName = parameter("setgid_group");
  const group = lookupGroup(groupName) ?? fatal(`unknown setgid_group: ${groupName}`);
  const refuse = (what: string): never => fatal(`user= command-line attribute specifies ${what}`);
  if (uid === 0) refuse("root privileges");
  if (uid === owner.uid) refuse(`mail system owner ${ownerName}`);
  if (gid === 0) refuse("privileged group id 0");
  if (gid === owner.gid) refuse(`mail system owner ${ownerName} group id ${gid}`);
  if (gid === group.gid) refuse(`mail system ${groupName} group id ${gid}`);
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** C escapes: `\n`, `\r`, ..., up to three octal digits; any other character stands for itself, and one at the end for nothing. */
export const unescapeC = (text: string): string =>
  text.replace(/\\([0-7]{1,3}|.|$)/gs, (_all, escaped: string) =>
    /^[0-7]/.test(escaped)
      ? String.fromCharCode(Number.parseInt(escaped, 8) & 0xff)
      : (ESCAPES[escaped] ?? escaped),
  );
