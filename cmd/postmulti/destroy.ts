/** `postmulti -e destroy`: removes what the mail system made for an instance. What somebody else put there stays, and is named. */

import { parameter } from "../../lib/config/configuration.ts";
import { fatal, warning } from "../../lib/log/log.ts";
import { asUser } from "../../lib/privsep/identity.ts";
import { SPARE } from "../../lib/queue/spare_files.ts";
import { pathOf } from "../../lib/sys/bytes.ts";
import { unless } from "../../lib/sys/errno.ts";
import { type Dirent, existsSync, lstatSync, readdirSync, rmdirSync, unlinkSync } from "../../lib/sys/fs.ts";
import { lookupUser } from "../../lib/sys/identity.ts";
import type { Instance } from "./instances.ts";

const MESSAGE_DIRECTORIES = [
  "active",
  "bounce",
  "corrupt",
  "defer",
  "deferred",
  "flush",
  "hold",
  "incoming",
  "maildrop",
  "saved",
  "tlstrace",
  "trace",
];
const SOCKET_DIRECTORIES = ["private", "public"];
const GONE = ["ENOENT"];
/** Not empty, not a directory any more, or not ours to remove: it stays. */
const KEPT = ["ENOENT", "ENOTEMPTY", "EEXIST", "ENOTDIR", "EACCES", "EPERM", "EBUSY"];

export function removeInstance({ config, queue, data }: Instance): void {
  const owner = lookupUser(parameter("mail_owner"));
  if (owner === undefined) fatal(`unknown mail_owner: ${parameter("mail_owner")}`);
  // what its owner could exchange for a link is touched with the owner's rights alone
  asUser(owner, () => {
    for (const name of MESSAGE_DIRECTORIES) removeEmpty(`${queue}/${name}`);
    for (const name of SOCKET_DIRECTORIES) removeFiles(`${queue}/${name}`, isSocket);
    removeFiles(`${queue}/${SPARE}`, (entry) => entry.isFile());
    removeFiles(data, (entry) => entry.name === "master.lock");
  });
  removeFiles(`${queue}/pid`, (entry) => entry.isFile());
  for (const name of [...MESSAGE_DIRECTORIES, ...SOCKET_DIRECTORIES, SPARE, "pid"])
    removeDirectory(`${queue}/${name}`);
  removeDirectory(data);
  removeDirectory(queue);
  for (const file of ["main.cf", "master.cf"]) unless(GONE, () => unlinkSync(pathOf(`${config}/${file}`)));
  removeDirectory(config);
}

const isSocket = (entry: Dirent): boolean => entry.isSocket() || entry.isFIFO();

const entriesOf = (path: string): Dirent[] =>
  unless(KEPT, () => readdirSync(path, { withFileTypes: true, encoding: "latin1" })) ?? [];

/** Removes empty directories below a directory, and nothing else. */
function removeEmpty(path: string): void {
  if (unless(KEPT, () => lstatSync(pathOf(path)))?.isDirectory() !== true) return;
  for (const entry of entriesOf(path)) {
    if (!entry.isDirectory()) continue;
    const child = `${path}/${entry.name}`;
    removeEmpty(child);
    unless(KEPT, () => rmdirSync(pathOf(child)));
  }
}

function removeFiles(path: string, isOurs: (entry: Dirent) => boolean): void {
  if (unless(KEPT, () => lstatSync(pathOf(path)))?.isDirectory() !== true) return;
  for (const entry of entriesOf(path))
    if (isOurs(entry)) unless(KEPT, () => unlinkSync(pathOf(`${path}/${entry.name}`)));
}

function removeDirectory(path: string): void {
  unless(KEPT, () => rmdirSync(pathOf(path)));
  if (existsSync(pathOf(path))) warning(`${path}: please verify contents and remove by hand`);
}
