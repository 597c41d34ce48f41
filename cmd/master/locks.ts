/** The lock files that say that the mail system runs: pid/master.pid and the data directory's master.lock. */

import { parameter } from "../../lib/config/configuration.ts";
import { fatal } from "../../lib/log/log.ts";
import { asUser } from "../../lib/privsep/identity.ts";
import { errorText } from "../../lib/sys/errno.ts";
import { safeOpen, tryLock } from "../../lib/sys/files.ts";
import { constants, writeSync } from "../../lib/sys/fs.ts";
import { lookupUser, realUid } from "../../lib/sys/identity.ts";

const PID_FILE = "pid/master.pid";
/** 4 * sizeof(long), right-aligned, and a newline: 33 bytes in all. */
const PID_WIDTH = 32;

type Locked = { readonly ok: true; readonly fd: number } | { readonly ok: false; readonly reason: string };

function lockFile(path: string): Locked {
  const opened = safeOpen(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  if (!opened.ok) return opened;
  try {
    if (tryLock(opened.fd, "exclusive")) return { ok: true, fd: opened.fd };
    return { ok: false, reason: "unable to set exclusive lock: Resource temporarily unavailable" };
  } catch (error) {
    return { ok: false, reason: `unable to set exclusive lock: ${errorText(error)}` };
  }
}

/** `master -t`: status 0 when the mail system does not run, 1 when it does. */
export function testLock(): never {
  const opened = safeOpen(PID_FILE, constants.O_RDWR, 0);
  if (!opened.ok) {
    if (opened.code === "ENOENT") process.exit(0);
    return fatal(`open lock file ${PID_FILE}: ${opened.reason}`);
  }
  process.exit(tryLock(opened.fd, "exclusive") ? 0 : 1);
}

/** Takes both locks for the life of this process; fatal when another master holds one. */
export function holdLocks(): void {
  const pidLock = lockFile(PID_FILE);
  if (!pidLock.ok) fatal(`open lock file ${PID_FILE}: ${pidLock.reason}`);
  writeSync(pidLock.fd, `${String(process.pid).padStart(PID_WIDTH)}\n`, 0);

  const owner = lookupUser(parameter("mail_owner"));
  if (owner === undefined) fatal(`unknown mail_owner: ${parameter("mail_owner")}`);
  const path = `${parameter("data_directory")}/master.lock`;
  const take = (): Locked => lockFile(path);
  const dataLock = realUid() === 0 ? asUser({ uid: owner.uid, gid: owner.gid }, take) : take();
  if (!dataLock.ok) fatal(`open lock file ${path}: ${dataLock.reason}`);
}
