/** Owners, groups and modes of what is installed. */

import { configuration } from "../../lib/config/configuration.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { errorCode, errorText, unless } from "../../lib/sys/errno.ts";
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lchownSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  type Stats,
  statSync,
} from "../../lib/sys/fs.ts";
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

const isDirectory = (path: string): boolean =>
  existsSync(pathOf(path)) && statSync(pathOf(path)).isDirectory();

function applyTo(object: InstalledObject, work: PermissionWork, own: boolean): void {
  const missing = !existsSync(pathOf(object.path));
  if (object.type === "directory" && object.flags.includes("c") && !isDirectory(object.path)) {
    if (!work.createMissing) return;
    // where a file has its name, this says so
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
  const owner = own ? undefined : ownerOf(object);
  // the listed object itself lies where nobody but root can write: a link that has its name is root's
  if (owner !== undefined) chownSync(pathOf(path), owner.uid, owner.gid ?? statSync(pathOf(path)).gid);
  else if (object.type === "file") return;
  const safe = (mode & 0o6000) !== 0 && isRuntime(path) ? refuseSetId(path, mode) : mode;
  changeMode(pathOf(path), safe, statSync(pathOf(path)));
  if (recursive) correctBelow(path, path, owner, safe);
}

interface Owner {
  readonly uid: number;
  /** undefined: the group stays. */
  readonly gid: number | undefined;
}

function ownerOf({ path, owner, group }: InstalledObject): Owner {
  const uid = lookupUser(owner)?.uid ?? unknown(path, `unknown user: ${owner}`);
  if (group === undefined) return { uid, gid: undefined };
  return { uid, gid: lookupGroup(group)?.gid ?? unknown(path, `unknown group: ${group}`) };
}

function unknown(path: string, text: string): never {
  process.stderr.write(`post-install: ${path}: ${text}\n`);
  return process.exit(1);
}

/** As chmod(1) does it: a directory keeps its set-id bits, which packages of some systems set on `public`. */
function changeMode(path: string | Buffer, mode: number, now: Stats): void {
  const wanted = now.isDirectory() ? mode | (now.mode & 0o6000) : mode;
  if ((now.mode & 0o7777) !== wanted) chmodSync(path, wanted);
}

const O_PATH = 0o10000000;
const byDescriptor = (fd: number): string => `/proc/self/fd/${fd}`;

/**
 * Corrects everything below a directory: owners and groups (`owner` undefined: as they are), modes of directories. Whoever owns what is below
 * may change it meanwhile, so that no name is looked up twice: each object is opened in its open directory, without following links.
 */
function correctBelow(directory: string, path: string, owner: Owner | undefined, mode: number): void {
  for (const name of readdirSync(directory, { encoding: "latin1" })) {
    const fd = unless(["ENOENT"], () =>
      openSync(pathOf(`${directory}/${name}`), O_PATH | constants.O_NOFOLLOW),
    );
    if (fd === undefined) continue;
    try {
      // its owner may remove it at any moment
      unless(["ENOENT"], () => correctOne(fd, `${directory}/${name}`, `${path}/${name}`, owner, mode));
    } finally {
      closeSync(fd);
    }
  }
}

function correctOne(fd: number, place: string, path: string, owner: Owner | undefined, mode: number): void {
  const stat = fstatSync(fd);
  if (owner !== undefined && (stat.uid !== owner.uid || (owner.gid ?? stat.gid) !== stat.gid)) {
    if (stat.isFile() && stat.nlink > 1) {
      process.stderr.write(
        `post-install: warning: ${path}: file has ${stat.nlink} hard links, left as it is\n`,
      );
      return;
    }
    if (stat.isSymbolicLink()) lchownSync(pathOf(place), owner.uid, owner.gid ?? stat.gid);
    else chownSync(byDescriptor(fd), owner.uid, owner.gid ?? stat.gid);
  }
  if (!stat.isDirectory()) return;
  changeMode(byDescriptor(fd), mode, stat);
  correctBelow(byDescriptor(fd), path, owner, mode);
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
