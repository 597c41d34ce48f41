/** Reading main.cf: `name = value` logical lines into one table, later entries replacing earlier ones. */

import { fatal, warning } from "../log/log.ts";
import { fromBytes, isSpaceCode, pathOf, trimSpace } from "../sys/bytes.ts";
import { errorText } from "../sys/errno.ts";
import { closeSync, fstatSync, openSync, readFileSync } from "../sys/fs.ts";
import { logicalLines } from "./lines.ts";

export type NameValue =
  | { readonly ok: true; readonly name: string; readonly value: string }
  | { readonly ok: false; readonly problem: "missing attribute name" | "missing '=' after attribute name" };

/** Splits `name = value`. */
export function splitNameValue(text: string): NameValue {
  const start = skipSpace(text, 0);
  if (start === text.length || text.charAt(start) === "=")
    return { ok: false, problem: "missing attribute name" };
  let end = start;
  while (end < text.length && text.charAt(end) !== "=" && !isSpaceCode(text.charCodeAt(end))) end++;
  const equals = skipSpace(text, end);
  if (text.charAt(equals) !== "=") return { ok: false, problem: "missing '=' after attribute name" };
  return { ok: true, name: text.slice(start, end), value: trimSpace(text.slice(equals + 1)) };
}

function skipSpace(text: string, start: number): number {
  let index = start;
  while (index < text.length && isSpaceCode(text.charCodeAt(index))) index++;
  return index;
}

export type MainCf =
  | { readonly ok: true; readonly entries: Map<string, string>; readonly warnings: ReadonlyArray<string> }
  | { readonly ok: false; readonly error: string; readonly warnings: ReadonlyArray<string> };

/** The table of a main.cf text. `initial` entries are replaced without a warning where the value is the same. */
export function parseMainCf(
  text: string,
  path: string,
  initial: ReadonlyMap<string, string> = new Map(),
): MainCf {
  const { lines, warnings: lineWarnings } = logicalLines(text, path);
  const entries = new Map(initial);
  const warnings = [...lineWarnings];
  for (const { text: line, line: number } of lines) {
    const pair = splitNameValue(line);
    if (!pair.ok)
      return { ok: false, error: `${path}, line ${number}: ${pair.problem}: "${line}"`, warnings };
    const earlier = entries.get(pair.name);
    if (earlier !== undefined && earlier !== pair.value)
      warnings.push(`${path}, line ${number}: overriding earlier entry: ${pair.name}=${earlier}`);
    entries.set(pair.name, pair.value);
  }
  return { ok: true, entries, warnings };
}

export interface HotFile {
  readonly text: string;
  /** Owner of the file. */
  readonly uid: number;
  /** Modification time, whole seconds. */
  readonly mtime: number;
}

const PAUSE_MS = 300;
const pause = (): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
};

/**
 * Reads a file that an editor may be writing at this moment: as long as its modification time is that of now, waits and reads again.
 * `read` sees every pass. Throws what node:fs throws when the file cannot be opened.
 */
export function readHotFile<T>(path: string, read: (file: HotFile) => T): T {
  for (;;) {
    const before = Math.floor(Date.now() / 1000);
    const fd = openSync(pathOf(path), "r");
    let file: HotFile;
    try {
      const text = fromBytes(readFileSync(fd));
      const stat = fstatSync(fd);
      file = { text, uid: stat.uid, mtime: Math.floor(stat.mtimeMs / 1000) };
    } finally {
      closeSync(fd);
    }
    const result = read(file);
    const after = Math.floor(Date.now() / 1000);
    if (file.mtime < before - 1 || file.mtime > after) return result;
    pause();
  }
}

export interface MainCfFile {
  readonly entries: Map<string, string>;
  /** Owner of the file; tables configured in a file that root does not own are not trusted. */
  readonly owner: number;
}

/** Reads DIRECTORY/main.cf. Every problem with it is fatal. */
export function readMainCf(directory: string, initial: ReadonlyMap<string, string>): MainCfFile {
  const path = `${directory}/main.cf`;
  try {
    const { parsed, owner } = readHotFile(path, (file) => ({
      parsed: parseMainCf(file.text, path, initial),
      owner: file.uid,
    }));
    // only now: half a file has problems that the whole one has not
    for (const text of parsed.warnings) warning(text);
    if (!parsed.ok) return fatal(parsed.error);
    return { entries: parsed.entries, owner };
  } catch (error) {
    return fatal(`open ${path}: ${errorText(error)}`);
  }
}
