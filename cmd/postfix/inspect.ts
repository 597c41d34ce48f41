/** `postfix check`: owners, modes and contents that should not be as they are; each finding is a warning. */

import { configuration } from "../../lib/config/configuration.ts";
import { warning } from "../../lib/log/log.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { unless } from "../../lib/sys/errno.ts";
import { existsSync, lstatSync, readdirSync, readFileSync, type Stats, statSync } from "../../lib/sys/fs.ts";
import { lookupGroup, lookupUser } from "../../lib/sys/identity.ts";
import { isOwn } from "./instance.ts";
import { commandPath } from "./programs.ts";

interface Found {
  readonly path: string;
  readonly stat: Stats;
}

/** The object and everything below it, as find(1) lists them; what vanishes meanwhile is left out. */
function* walk(path: string): Generator<Found> {
  const stat = unless(["ENOENT"], () => lstatSync(pathOf(path)));
  if (stat === undefined) return;
  yield { path, stat };
  if (!stat.isDirectory()) return;
  const names = unless(["ENOENT", "EACCES"], () => readdirSync(pathOf(path), { encoding: "latin1" })) ?? [];
  for (const name of names) yield* walk(`${path}/${name}`);
}

function one(path: string): Found[] {
  const stat = unless(["ENOENT"], () => lstatSync(pathOf(path)));
  return stat === undefined ? [] : [{ path, stat }];
}

const isWritableByOthers = ({ stat }: Found): boolean => (stat.mode & 0o022) !== 0;
const ROOT = 0;

function warnOwner(
  objects: Iterable<Found>,
  uid: number,
  name: string,
  shown = (path: string): string => path,
): void {
  for (const { path, stat } of objects) if (stat.uid !== uid) warning(`not owned by ${name}: ${shown(path)}`);
}

function warnWritable(objects: Iterable<Found>): void {
  for (const object of objects)
    if (isWritableByOthers(object)) warning(`group or other writable: ${object.path}`);
}

const QUEUES = [
  "saved",
  "spare",
  "incoming",
  "active",
  "defer",
  "deferred",
  "bounce",
  "hold",
  "trace",
  "corrupt",
  "public",
  "private",
  "flush",
];
const JAIL = ["bin", "etc", "lib", "sbin", "usr"];

export function inspect(secondary: boolean): void {
  const settings = configuration();
  const queue = settings.get("queue_directory");
  const owner = settings.get("mail_owner");
  const ownerUid = lookupUser(owner)?.uid ?? -1;
  // In a user's own instance everything has one owner, and no other group has a part in it.
  const own = isOwn();
  const roots = own ? ownerUid : ROOT;
  const rootName = own ? owner : "root";

  const places = [...one(`${queue}/.`), ...one(`${queue}/pid`)];
  warnOwner(places, roots, rootName);
  warnWritable(places);

  const shared = secondary || own ? [] : (["daemon_directory", "meta_directory", "shlib_directory"] as const);
  const directories = [
    settings.directory,
    ...shared.map((name) => settings.get(name)).filter((path) => path !== "no"),
  ];
  const trees = [...new Set(directories.map((path) => `${path}/.`))]
    .sort()
    .flatMap((path) => [...walk(path)]);
  warnOwner(trees, roots, rootName);
  warnWritable(trees);

  const data = [...walk(`${settings.get("data_directory")}/.`)];
  warnOwner(data, ownerUid, owner);
  warnWritable(data);

  for (const name of QUEUES)
    for (const { path, stat } of walk(`${queue}/${name}`))
      if (stat.uid !== ownerUid && !stat.isFIFO() && !stat.isSocket())
        warning(`not owned by ${owner}: ${path}`);
  warnOwner(one(`${queue}/maildrop`), ownerUid, owner);
  if (!own && !settings.get("maildrop_world_writable")) inspectSubmission(queue, secondary);

  inspectJail(queue, roots, rootName);
  for (const { path, stat } of walk(`${queue}/corrupt`))
    if (stat.isFile()) warning(`damaged message: ${path.slice(queue.length + 1)}`);
  if (!secondary && !own) compareSendmails();
}

const SUBMISSION_MODE = 0o2111;

/** The set-gid submission of mail: directories and programs of its group. */
function inspectSubmission(queue: string, secondary: boolean): void {
  const group = configuration().get("setgid_group");
  const gid = lookupGroup(group)?.gid ?? -1;
  const programs = secondary ? [] : [commandPath("postqueue"), commandPath("postdrop")];
  for (const path of [`${queue}/public`, `${queue}/maildrop`, ...programs])
    for (const { stat } of one(path)) if (stat.gid !== gid) warning(`not owned by group ${group}: ${path}`);
  for (const path of programs)
    for (const { stat } of one(path))
      if ((stat.mode & SUBMISSION_MODE) !== SUBMISSION_MODE)
        warning(`not set-gid or not owner+group+world executable: ${path}`);
}

/** Files that daemons in the chroot jail see in place of the system's. */
function inspectJail(queue: string, uid: number, name: string): void {
  const files = JAIL.flatMap((directory) => [...walk(`${queue}/${directory}`)]);
  warnOwner(files, uid, name);
  for (const { path, stat } of files) {
    const original = path.slice(queue.length);
    if (stat.isFile() && existsSync(original) && !sameContent(path, original))
      warning(`${path} and ${original} differ`);
  }
}

function sameContent(one: string, other: string): boolean {
  const [a, b] = [statSync(pathOf(one)), statSync(pathOf(other))];
  if (a.ino === b.ino && a.dev === b.dev) return true;
  return a.size === b.size && readFileSync(pathOf(one)).equals(readFileSync(pathOf(other)));
}

function compareSendmails(): void {
  const [usual, old] = ["/usr/sbin/sendmail", "/usr/lib/sendmail"];
  if (
    usual === undefined ||
    old === undefined ||
    !existsSync(usual) ||
    !existsSync(old) ||
    sameContent(usual, old)
  )
    return;
  warning(`${old} and ${usual} differ`);
  warning("Replace one by a symbolic link to the other");
}
