/** Looking into the queue files of a stopped or running instance, and changing their time stamps as though they were older. */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Instance } from "../../../packaging/instance.ts";

/** Path of a message or log file below a queue directory, at whatever hash depth; undefined when it is not there. */
export function findFile(instance: Instance, queue: string, id: string): string | undefined {
  const search = (folder: string): string | undefined => {
    if (!existsSync(folder)) return undefined;
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.name === id) return join(folder, entry.name);
      const found = entry.isDirectory() ? search(join(folder, entry.name)) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return search(join(instance.queue, queue));
}

/** The same, for a file that must be there. */
export function fileOf(instance: Instance, queue: string, id: string): string {
  const path = findFile(instance, queue, id);
  if (path === undefined) throw new Error(`${id} is not in ${queue}`);
  return path;
}

/** Seconds from now to the time at which a deferred message is tried again. */
export const untilRetry = (path: string): number => statSync(path).mtimeMs / 1000 - Date.now() / 1000;

/** Makes a message so many seconds old: the T record and create_time have ten digits before and after. */
export function makeOlder(path: string, seconds: number): void {
  const then = String(Math.floor(Date.now() / 1000) - seconds);
  replaceDigits(path, /create_time=(\d{10})/, then);
  replaceDigits(path, /T.(\d{10}) \d{1,6}/, then);
}

/** Moves the time of the delay warning (a W record of 15 columns). */
export const warnAt = (path: string, time: number): void =>
  replaceDigits(path, /W\x0f([ \d]{15})/, String(time).padStart(15));

function replaceDigits(path: string, pattern: RegExp, digits: string): void {
  const match = pattern.exec(readFileSync(path, "latin1"));
  const old = match?.[1];
  if (match === null || old === undefined || old.length !== digits.length)
    throw new Error(`${path}: no ${pattern}`);
  const fd = openSync(path, "r+");
  writeSync(fd, digits, match.index + match[0].indexOf(old), "latin1");
  closeSync(fd);
}
