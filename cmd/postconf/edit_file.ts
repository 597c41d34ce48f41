/** Replacing a configuration file: a locked temporary file beside it takes its place when it is complete. */

import { fatal } from "../../lib/log/log.ts";
import { fromBytes, pathOf, toBytes } from "../../lib/sys/bytes.ts";
import { errorText, unless } from "../../lib/sys/errno.ts";
import { lockWaiting } from "../../lib/sys/files.ts";
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from "../../lib/sys/fs.ts";

/** Rewrites PATH by way of PATH.tmp. When `edit` ends the program the temporary file stays, empty, and PATH is as it was. */
export function editFile(path: string, edit: (text: string) => string): void {
  const temporary = `${path}.tmp`;
  const fd = openLocked(temporary);
  const text = edit(readConfiguration(path));
  try {
    let bytes: Uint8Array = toBytes(text);
    while (bytes.length > 0) bytes = bytes.subarray(writeSync(fd, bytes));
    fchmodSync(fd, 0o644);
    fsyncSync(fd);
    renameSync(pathOf(temporary), pathOf(path));
    closeSync(fd);
  } catch (error) {
    fatal(`write ${temporary}: ${errorText(error)}`);
  }
}

function readConfiguration(path: string): string {
  try {
    return fromBytes(readFileSync(pathOf(path)));
  } catch (error) {
    return fatal(`open ${path} for reading: ${errorText(error)}`);
  }
}

/** The temporary file, ours alone: another editor's is waited for, and one that somebody else prepared is not used. */
function openLocked(path: string): number {
  for (;;) {
    let fd: number;
    try {
      fd = openSync(pathOf(path), constants.O_CREAT | constants.O_WRONLY | constants.O_NOFOLLOW, 0o600);
    } catch (error) {
      return fatal(`open ${path}: ${errorText(error)}`);
    }
    lockWaiting(fd, "exclusive");
    const opened = fstatSync(fd);
    const named = unless(["ENOENT"], () => statSync(pathOf(path)));
    if (named === undefined || named.ino !== opened.ino || named.dev !== opened.dev) {
      closeSync(fd);
    } else if (!isOurs(opened)) {
      unlinkSync(pathOf(path));
      closeSync(fd);
    } else {
      ftruncateSync(fd, 0);
      return fd;
    }
  }
}

const isOurs = (stat: Stats): boolean => stat.isFile() && stat.nlink === 1 && (stat.mode & 0o7777) === 0o600;
