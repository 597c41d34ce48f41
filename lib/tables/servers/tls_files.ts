/** Certificates and keys of the settings of a table, read when it is opened: a jail does not have them. */

import { join } from "node:path";
import { pathOf } from "../../sys/bytes.ts";
import { errorCode, errorText } from "../../sys/errno.ts";
import { readdirSync, readFileSync } from "../../sys/fs.ts";
import { TableOpenError } from "../table.ts";

/** The text of a PEM file; undefined when none is named. Throws TableOpenError. */
export function pemFile(path: string | undefined): string | undefined {
  if (path === undefined || path === "") return undefined;
  try {
    return readFileSync(pathOf(path), "latin1");
  } catch (failure) {
    if (errorCode(failure) === undefined) throw failure;
    throw new TableOpenError(`open ${path}: ${errorText(failure)}`);
  }
}

/** OpenSSL's names for the certificates of a directory: the hash of the subject and a number. */
const HASHED = /^[0-9a-f]{8}\.[0-9]+$/;

/** The authorities of a directory that OpenSSL could use. Throws TableOpenError. */
export function authorityDirectory(path: string | undefined): string[] {
  if (path === undefined || path === "") return [];
  try {
    return readdirSync(pathOf(path), "latin1")
      .filter((name) => HASHED.test(name))
      .map((name) => readFileSync(join(path, name), "latin1"));
  } catch (failure) {
    if (errorCode(failure) === undefined) throw failure;
    throw new TableOpenError(`open ${path}: ${errorText(failure)}`);
  }
}
