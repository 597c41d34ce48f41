/** Owners, groups and modes of what is installed. */
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fstatSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
} from "node:fs";
import { configuration } from "../../lib/config/configuration.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { errorCode, errorText } from "../../lib/sys/errno.ts";
import { lookupGroup, lookupUser } from "../../lib/sys/identity.ts";
import type { InstalledObject } from "./installed_objects.ts";
import { isOwn } from "./instance.ts";

/** Whose permissions are set: nobody's but those of new directories, those flagged for upgrades, all. */
export type PermissionScope = "none" | "upgrade" | "all";

export interface PermissionWork {
  readonly createMissing: boolean;
  readonly scope: PermissionScope;
  /** A listed file that is missing is an error. */
  readonly strict: boolean;
  readonly secondary: boolean;
}

/** Does the work object by object; the first failure is said on standard error and ends it with false. */
export function applyPermissions(objects: ReadonlyArray<InstalledObject>, work: PermissionWork): boolean {
  const own = isOwn();
  for (const object of objects) {
    try {
      applyTo(object, work, own);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      process.stderr.write(`post-install: ${object.path}: ${errorText(error)}\n`);
      return false;
    }
  }
  return true;
}

function applyTo(object: InstalledObject, work: PermissionWork, own: boolean): void {
  const missing = !existsSync(pathOf(object.path));
  if (missing && object.type === "directory" && object.flags.includes("c")) {
    if (!work.createMissing) return;
    mkdirSync(pathOf(object.path));
    setPermissions(object, own);
    return;
  }
  if (work.scope === "none" || (work.scope === "upgrade" && !object.flags.includes("u"))) return;
  if (missing && (!work.strict || own || (object.flags.includes("1") && work.secondary))) return;
  setPermissions(object, own);
}

function setPermissions(object: InstalledObject, own: boolean): void {
  const { path, mode, flags } = object;
  const recursive = flags.includes("r");
  if (!own) {
    const uid = lookupUser(object.owner)?.uid ?? unknown(path, `unknown user: ${object.owner}`);
    const gid = object.group === undefined ? undefined : lookupGroup(object.group)?.gid;
    if (object.group !== undefined && gid === undefined) unknown(path, `unknown group: ${object.group}`);
    changeOwner(path, uid, gid, recursive);
  } else if (object.type === "file") return;
  const safe = (mode & 0o6000) !== 0 && isRuntime(path) ? refuseSetId(path, mode) : mode;
  if (recursive) changeDirectoryModes(path, safe);
  else chmodSync(pathOf(path), safe);
}

function unknown(path: string, text: string): never {
  process.stderr.write(`post-install: ${path}: ${text}\n`);
  return process.exit(1);
}

function changeOwner(path: string, uid: number, gid: number | undefined, recursive: boolean): void {
  const stat = lstatSync(pathOf(path));
  // A link is followed only when it is the listed object itself, which lies where nobody but root can write.
  const change = recursive ? lchownSync : chownSync;
  change(pathOf(path), uid, gid ?? stat.gid);
  if (!recursive || !stat.isDirectory()) return;
  for (const name of readdirSync(pathOf(path), { encoding: "latin1" }))
    changeOwner(`${path}/${name}`, uid, gid, true);
}

function changeDirectoryModes(path: string, mode: number): void {
  chmodSync(pathOf(path), mode);
  for (const name of readdirSync(pathOf(path), { encoding: "latin1" }))
    if (lstatSync(pathOf(`${path}/${name}`)).isDirectory()) changeDirectoryModes(`${path}/${name}`, mode);
}

const TRAILER = "---- Bun! ----";
const TAIL = 64;

/** An executable that is the language runtime itself: whoever starts it with the right environment makes it run anything. */
function isRuntime(path: string): boolean {
  const fd = openSync(pathOf(path), "r");
  try {
    const { size } = fstatSync(fd);
    const tail = Buffer.alloc(TAIL);
    const length = readSync(fd, tail, 0, TAIL, Math.max(0, size - TAIL));
    return tail.subarray(0, length).includes(TRAILER);
  } finally {
    closeSync(fd);
  }
}

function refuseSetId(path: string, mode: number): number {
  const hint = configuration().get("maildrop_world_writable")
    ? ""
    : "; install its set-gid starter, or set maildrop_world_writable = yes";
  process.stderr.write(`post-install: warning: ${path} must not be set-gid itself${hint}\n`);
  return mode & ~0o6000;
}
